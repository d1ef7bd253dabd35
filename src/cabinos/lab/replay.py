"""Replay: a chat runs once more over the results in the journal, and must ask for the same calls.

The chat image is a pure function, so its whole course follows from what it was told. Whoever
changed a result, or the image itself, finds a step that comes out differently.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cabinos.kernel.errors import KernelError
from cabinos.kernel.image import Exit, Result, Syscall
from cabinos.kernel.images.chat import Chat
from cabinos.kernel.process import Process, State
from cabinos.kernel.settle import value_of
from cabinos.kernel.table import ProcessTable
from cabinos.store.database import Store
from cabinos.store.journal import Entry, Journal
from cabinos.store.pages import Pages

__all__ = ["Replay", "replay"]

GIVEN = (
    "schema",
    "stay",
    "max_steps",
    "think",
    "hand_back",
    "whole",
    "plan",
)  # parts of the state that no step changes


@dataclass(slots=True)
class Replay:
    """What came of it: each step's calls, and where the first difference is ("" if nowhere)."""

    pid: int
    steps: list[dict[str, str]] = field(default_factory=list)  # name by call id
    difference: str = ""


def replay(store: Store, pid: int) -> Replay:
    """Runs process `pid` again, up to where it is now. Nothing is thought, called or written.

    Raises NoSuchProcess, or KernelError if it runs a program: what a program was is not kept.
    """
    table, journal, pages = ProcessTable(store), Journal(store), Pages(store)
    process = table.get(pid)
    if process.image != "chat":
        raise KernelError(f"process {pid} runs a program: only a chat can be replayed.")
    outcome = Replay(pid)
    image, settled = Chat(), list(_history(table, journal, process))
    ended, before = None, None
    state: dict[str, Any] = {"phase": "start"}
    state |= {key: process.image_state[key] for key in GIVEN if key in process.image_state}
    action: Syscall | Exit
    state, action = image.resume(state, None)
    while True:
        number = len(outcome.steps) + 1
        if isinstance(action, Exit):
            ended = action
            if not settled:
                break
            state, action = {**state, "phase": "recv"}, Syscall.one("recv")  # taken up by a fork
            continue
        outcome.steps.append({call: c.name for call, c in action.calls.items()})
        results = _take(pages, action, settled)
        if results is None:
            asked = {(id_, call.name) for id_, call in action.calls.items()}
            first = next((e for e in settled if (_call(e), e.kind) not in asked), None)
            if first is not None:
                outcome.difference = (
                    f"step {number}: it asks for {_named(action)}, but row {first.seq} of the "
                    f"journal is {first.kind} ({_call(first)})."
                )
            break
        before = state
        state, action = image.resume(state, results)
    if not outcome.difference and process.image_state not in (state, before):
        outcome.difference = f"its last state is {state}, the process's {process.image_state}."
    if not outcome.difference and ended is not None:
        outcome.difference = _end(pages, process, ended)
    return outcome


def _history(table: ProcessTable, journal: Journal, process: Process) -> Iterator[Entry]:
    """The settled calls of a process and, before its fork, of the one it was forked from."""
    entries = list(journal.entries(process.pid))
    forked = next((entry for entry in entries if entry.kind == "fork"), None)
    if forked is not None and "original" in forked.body:
        original = table.get(forked.body["original"])
        for entry in _history(table, journal, original):
            if entry.seq < forked.seq:
                yield entry
    yield from (entry for entry in entries if "ok" in entry.body)


def _take(pages: Pages, action: Syscall, settled: list[Entry]) -> Mapping[str, Result] | None:
    """The results of a step's calls, in any order; None if the next rows are not all of them."""
    alone = next(iter(action.calls.values()))
    if alone.name == "recv" and alone.arguments and [e.kind for e in settled[:1]] != ["recv"]:
        return {"0": Result(None)}  # it did not wait, and no mail is no news
    rows = {_call(entry): entry for entry in settled[: len(action.calls)]}
    if {id_: entry.kind for id_, entry in rows.items()} != {
        id_: call.name for id_, call in action.calls.items()
    }:
        return None
    del settled[: len(rows)]
    return {
        id_: Result(
            value_of(pages, entry.kind, entry.body),
            entry.body["ok"],
            entry.body.get("l", "trusted"),
            frozenset(entry.body["readers"]) if "readers" in entry.body else None,
        )
        for id_, entry in rows.items()
    }


def _end(pages: Pages, process: Process, ended: Exit) -> str:
    """How the answer differs from that of the process; "" if it does not."""
    if process.state != State.EXITED or (process.status or {}).get("code") == "killed":
        return ""
    text = pages.get(process.result).text if process.result is not None else ""
    if ended.text == text:
        return ""
    return f"it ends with {ended.text[:60]!r}, but the process answered {text[:60]!r}."


def _call(entry: Entry) -> str:
    """The id of the call; that of a call that was made alone is not written down."""
    return str(entry.body.get("call", "0"))


def _named(action: Syscall) -> str:
    return ", ".join(f"{call.name} ({id_})" for id_, call in action.calls.items())
