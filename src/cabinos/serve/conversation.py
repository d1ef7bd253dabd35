"""A conversation is a process: how responses begin one, go on with it, and branch off from it.

The id of a response holds its process and its turn: `resp_PID_TURN_STORE`. Every turn is noted in
the journal, before what is said in it, with its terms and with how many pages there were when it
began, which is where the turn before it ended. Going on from the last turn is going on with the
process; going on from an earlier one forks the process as it was then.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cabinos.kernel.kernel import Kernel, ProcessHandle, Spawn
from cabinos.kernel.machine import BY_PERSON
from cabinos.kernel.process import Process, State
from cabinos.serve.clients import change, deliver, fork_at
from cabinos.serve.errors import NEVER_AGAIN, ApiError
from cabinos.serve.response_items import Input
from cabinos.serve.service import Service
from cabinos.serve.turn import Turn, is_idle

__all__ = ["Begun", "begin", "find", "go_on", "unknown"]

ID = re.compile(r"resp_(\d{1,18})_(\d{1,9})_([0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn that has begun."""

    id: str
    turn: Turn
    handle: ProcessHandle


async def begin(service: Service, spawn: Spawn, echo: Mapping[str, Any]) -> Begun:
    """A new conversation; `echo` is what is kept of the request. Raises ApiError or KernelError."""
    [handle] = await service.kernel.spawn_many([spawn])
    _note_turn(service.kernel, handle.process, 1, echo)
    return _begun(service, handle, 1, stays=spawn.stay)


async def go_on(
    service: Service, previous: str, said: Input, spawn: Spawn, echo: Mapping[str, Any]
) -> Begun:
    """The next turn after the response `previous`, on the terms of `spawn`.

    Raises ApiError if there is no such response, or it waits for something else than what is said.
    """
    kernel = service.kernel
    pid, turn = find(kernel, previous)
    process = kernel.table.get(pid)
    async with service.alone(pid):
        turns = _turns(kernel, pid)
        if turn > len(turns) + 1 or process.image != "chat":
            raise unknown(previous)
        last = turn == len(turns) + 1
        if last and process.state != State.EXITED:
            await _idle(service, process)
            _speak(kernel, process, said, spawn, turn + 1, echo)
            return await _set_going(_begun(service, kernel.process(pid), turn + 1, stays=True))
        if last and not process.image_state.get("stay"):
            raise ApiError(
                400,
                f"{previous} was made with store: false; give its items as input instead.",
                code="previous_response_not_found",
                param="previous_response_id",
            )
        child = fork_at(kernel, process, len(process.pages) if last else turns[turn - 1])
        _speak(kernel, child, said, spawn, 1, echo)
        return await _set_going(_begun(service, kernel.process(child.pid), 1, stays=True))


async def _set_going(begun: Begun) -> Begun:
    """Lets the process answer as soon as what was said is on disk."""
    kernel, process = begun.handle.kernel, begun.handle.process
    try:
        await kernel.store.commit()
        if process.state == State.STOPPED:
            await kernel.cont(process.pid)
        elif process.state == State.READY:
            kernel.start(process)
    except BaseException:
        begun.turn.leave()
        raise
    return begun


def _begun(service: Service, handle: ProcessHandle, turn: int, *, stays: bool) -> Begun:
    name = f"resp_{handle.pid}_{turn}_{service.kernel.id}"
    return Begun(name, Turn(service, handle, stays=stays), handle)


def _note_turn(kernel: Kernel, process: Process, number: int, echo: Mapping[str, Any]) -> None:
    """Stages that a turn begins. What is nothing in `echo` is left out."""
    kept = {name: value for name, value in echo.items() if value not in (None, [], {})}
    pages = len(process.pages)
    kernel.journal.append(process.pid, "turn", number=number, pages=pages, echo=kept)


def _speak(
    kernel: Kernel,
    process: Process,
    said: Input,
    spawn: Spawn,
    number: int,
    echo: Mapping[str, Any],
) -> None:
    """Stages what the client says. Raises ApiError, before anything is staged."""
    records = process.pending.get("calls", {})
    open_calls = {c for c, r in records.items() if "client" in r and r.get("s") != "done"}
    results = {call.rpartition("_")[2]: text for call, text in said.results.items()}
    if strangers := [call for call in said.results if call.rpartition("_")[2] not in open_calls]:
        raise ApiError(400, f"no call {strangers[0]!r} waits for an output.", param="input")
    if missing := open_calls - set(results):
        names = ", ".join(f"call_{process.pid}_{call}" for call in sorted(missing))
        raise ApiError(400, f"there is no output of the call {names}.", param="input")
    asks = {ask.id: ask for ask in kernel.open_asks(process.pid)}
    if unknown := set(said.approvals) - set(asks):
        raise ApiError(400, f"question {min(unknown)} is not open.", param="input")
    if not said.messages and not results and not said.approvals:
        raise ApiError(400, "the input is empty.", param="input")
    if any(message.role == "assistant" for message in said.messages):
        raise ApiError(400, "with previous_response_id, only you can speak.", param="input")
    _note_turn(kernel, process, number, echo)
    change(kernel, process, spawn)
    for call, text in results.items():
        deliver(kernel, process, call, text)
    for ask, yes in said.approvals.items():
        kernel.reply(ask, "approved" if yes else "denied")
    questions = [ask for ask in asks.values() if ask.kind == "question"]
    for message in said.messages:
        if questions and message.role == "user":
            kernel.reply(questions.pop(0).id, message.text)
        else:
            kernel.post(process.pid, message.text, role=message.role)


async def _idle(service: Service, process: Process) -> None:
    """Waits until the turn before has ended; another client may follow it."""
    if process.state == State.STOPPED and process.waiting == BY_PERSON:
        message = f"process {process.pid} was stopped {BY_PERSON}, and goes on when it is let."
        raise ApiError(409, message, code="process_stopped", headers=NEVER_AGAIN)
    if is_idle(process):
        return
    turn = Turn(service, service.kernel.process(process.pid), stays=True)
    try:
        async for _ in turn.events():
            pass
    except ApiError:
        if service.closing:
            raise  # otherwise it has stopped, and goes on from there
    finally:
        turn.ended = True  # it is not ours to stop
        turn.leave()


def _turns(kernel: Kernel, pid: int) -> list[int]:
    """How many pages there were when the second turn began, the third, and so on."""
    rows = kernel.store.rows(
        "SELECT json_extract(body, '$.pages') FROM journal WHERE pid = ? AND kind = 'turn' "
        "AND json_extract(body, '$.number') > 1 ORDER BY seq",
        (pid,),
    )
    return [row[0] for row in rows]


def find(kernel: Kernel, response: str) -> tuple[int, int]:
    """The pid and the turn of a response. Raises ApiError if it was deleted, or never there."""
    match = ID.fullmatch(response)
    if match is None or match[3] != kernel.id:
        raise unknown(response)
    pid, turn = int(match[1]), int(match[2])
    known = kernel.store.rows("SELECT 1 FROM process WHERE pid = ?", (pid,))
    deleted = kernel.store.rows(
        "SELECT 1 FROM journal WHERE pid = ? AND kind = 'delete' "
        "AND json_extract(body, '$.number') = ?",
        (pid, turn),
    )
    if deleted or not known:
        raise unknown(response)
    return pid, turn


def unknown(response: str) -> ApiError:
    """The error for a response that is not there."""
    return ApiError(
        404,
        f"there is no response {response!r}.",
        code="previous_response_not_found",
        param="previous_response_id",
    )
