"""/v1/processes: everything that can be seen of processes, and done to them, for programs."""

import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from itertools import islice
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response

from cabinos.kernel.kernel import Kernel, ProcessHandle, Spawn
from cabinos.kernel.process import Process, State
from cabinos.serve.body import Body, read_body, read_json
from cabinos.serve.encode import Json
from cabinos.serve.errors import ApiError
from cabinos.serve.service import CABIN, CLOSING, service_of
from cabinos.serve.sse import EventStream, sse

__all__ = [
    "answer_ask",
    "get_events",
    "get_journal",
    "get_process",
    "list_asks",
    "list_processes",
    "send",
    "signal",
    "spawn",
]

MOST_ENTRIES = 1000  # of the journal in one answer
MOST = 2**63 - 1  # a number that SQLite can hold
VERDICTS = {"approve": "approved", "deny": "denied"}


class NewProcess(Body):
    """A process to be started, with Cabin's tools."""

    request: str = ""
    code: str = ""
    model: str | None = None
    stay: bool = False
    plan: bool | None = None
    grants: tuple[dict[str, Any], ...] = ()


class Words(Body):
    """A message, or an answer."""

    text: str


async def list_processes(request: Request) -> Response:
    """Those that have not ended; with ?all=1, every one."""
    every = request.query_params.get("all", "0") not in ("", "0")
    rows = [asdict(row) for row in service_of(request).kernel.ps(exited=every)]
    for row in rows:
        row["account"] = json.loads(row["account"])
    return Json({"object": "list", "data": rows})


async def spawn(request: Request) -> Response:
    """Starts a process on a request, or a program."""
    service = service_of(request)
    asked = read_body(NewProcess, await read_json(request), ignored=frozenset(), refused={})
    if bool(asked.request.strip()) == bool(asked.code.strip()):
        raise ApiError(400, "give a request, or code.", param="request")
    service.require_open()
    chosen = service.choose(asked.model or CABIN)
    spawn = Spawn(
        request=asked.request,
        code=asked.code,
        model=chosen.name,
        stay=asked.stay,
        plan=asked.plan,
        grants=asked.grants,
        **service.allowed(replace(chosen, cabin=True)),
    )
    (handle,) = await service.kernel.spawn_many([spawn])
    return Json(_described(service.kernel, handle.process), 201)


async def get_process(request: Request) -> Response:
    """One process."""
    handle = _handle(request)
    return Json(_described(handle.kernel, handle.process))


async def signal(request: Request) -> Response:
    """kill, stop or cont."""
    handle = _handle(request)
    verb: Literal["kill", "stop", "cont"] = request.path_params["verb"]
    if verb == "kill":
        await handle.kill()
    elif verb == "stop":
        await handle.stop()
    elif verb == "cont":
        await handle.cont()
    else:
        raise ApiError(404, f"there is no signal {verb!r}: there are kill, stop and cont.")
    return Json(_described(handle.kernel, handle.process))


async def send(request: Request) -> Response:
    """A message from the user."""
    handle = _handle(request)
    words = read_body(Words, await read_json(request), ignored=frozenset(), refused={})
    await handle.send(words.text)
    return Json(_described(handle.kernel, handle.process))


async def get_events(request: Request) -> Response:
    """What happens to a process from now on, as server-sent events, until it has ended."""
    handle = _handle(request)

    async def events() -> AsyncGenerator[str]:
        async for event in handle.events():
            yield sse({"pid": event.pid, "kind": event.kind, **event.data}, event.kind)
            if event.data.get("state") == CLOSING:
                return

    return EventStream(events(), AsyncExitStack())


async def get_journal(request: Request) -> Response:
    """Rows of a process's journal; ?after=SEQ goes on from one."""
    handle = _handle(request)
    after = request.query_params.get("after", "0")
    if not after.isdecimal():
        raise ApiError(400, "after must be the number of a row.", param="after")
    entries = handle.kernel.journal.entries(handle.pid, after=min(int(after), MOST))
    rows = [asdict(entry) for entry in islice(entries, MOST_ENTRIES)]
    return Json({"object": "list", "data": rows, "has_more": len(rows) == MOST_ENTRIES})


async def list_asks(request: Request) -> Response:
    """The open questions to people."""
    asks = service_of(request).kernel.open_asks()
    return Json({"object": "list", "data": [asdict(ask) for ask in asks]})


async def answer_ask(request: Request) -> Response:
    """approve, deny, or answer with {"text": …}; each question is answered once."""
    kernel = service_of(request).kernel
    verdict = request.path_params["verdict"]
    if verdict in VERDICTS:
        answer = VERDICTS[verdict]
    elif verdict == "answer":
        words = read_body(Words, await read_json(request), ignored=frozenset(), refused={})
        answer = words.text
    else:
        raise ApiError(404, f"{verdict!r} is none of approve, deny, answer.")
    ask = await kernel.answer(request.path_params["ask"], answer)
    return Json({**asdict(ask), "answer": answer})


def _handle(request: Request) -> ProcessHandle:
    """The process of the path. Raises NoSuchProcess."""
    return service_of(request).kernel.process(min(request.path_params["pid"], MOST))


def _described(kernel: Kernel, process: Process) -> dict[str, Any]:
    value, ok = kernel.answer_of(process) if process.state == State.EXITED else (None, True)
    return {
        "pid": process.pid,
        "parent": process.parent,
        "state": process.state.value,
        "title": process.title,
        "image": process.image,
        "model": process.model,
        "nice": process.nice,
        "label": process.label,
        "account": process.account.to_json(),
        "step": process.step,
        "pages": len(process.pages),
        "created": process.created,
        "ended": process.ended,
        "waiting": process.waiting,
        "status": (process.status or {}).get("code"),
        "ok": ok,
        "answer": value,
    }
