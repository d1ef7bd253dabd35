"""The tools that clients get: processes, and what is remembered.

Behind a client is a model, and nobody knows what that has read. So whatever a client says counts as
untrusted: a process that it starts may read what was granted, and asks a person before it changes
anything or sends it away; a note that it writes keeps that label for whoever recalls it. To approve
is a person's, at the terminal; there is no tool for it.
"""

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from cabinos.kernel.capability import Capabilities
from cabinos.kernel.driver import Tool, tool
from cabinos.kernel.errors import InvalidArguments, KernelError
from cabinos.kernel.process import Process, State
from cabinos.serve.mcp.desk import Desk, View

__all__ = ["kernel_tools", "memory_tools"]

SOURCE = "mcp"  # what a client said, in the labels of those who read it
MAX_TEXT = 100_000  # characters of a request or a message
MAX_NOTE = 10_000  # characters, as the notes device has it
MAX_ANSWER = 50_000  # characters of an answer that is passed on
FOUND = 20  # notes of one search
LISTED = 200  # processes of one list
GLANCE = 0.05  # seconds between two looks at a process
LONGEST = 300.0  # seconds of one wait
# A process that keeps what it is sent, as untrusted as the message is.
REMEMBER = "notes_remember(text=recv())"

Pid = Annotated[int, Field(gt=0, description="the number of a process")]
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]


def kernel_tools(desk: Desk) -> Sequence[Tool]:
    """spawn, send, wait and ps."""

    @tool(effect="raw")
    async def spawn(
        request: Annotated[Text, Field(description="what is to be done, in plain words")],
        stay: Annotated[
            bool, Field(description="after an answer, wait for the next message")
        ] = False,
    ) -> dict[str, Any]:
        """Starts a process on a request and returns its number at once; `wait` gets its answer.

        It uses the tools and folders that Cabin's user has granted. Whatever it is not allowed to
        do by itself, it asks the user for.
        """
        pid = await desk.order(
            "spawn",
            context=request,
            stay=stay,
            model=desk.model,
            capabilities=desk.granted.to_json(),
            budget={},
        )
        return {"pid": pid}

    @tool(effect="raw")
    async def send(pid: Pid, text: Text) -> dict[str, Any]:
        """Sends a message to a process that has not ended; it is read before its next thought."""
        return {"pid": await desk.order("send", pid=pid, text=text, source=SOURCE)}

    @tool(effect="pure")
    async def wait(
        pid: Pid,
        seconds: Annotated[float, Field(ge=0, le=LONGEST, description="at most so long")] = 45.0,
    ) -> dict[str, Any]:
        """Waits until a process has answered, stopped, or needs its user, and tells how it is.

        If it is still at work after that time, its state is `ready`: wait again.
        """
        deadline = time.monotonic() + seconds
        while True:
            with desk.look() as view:
                told = _told(view, view.table.get(pid))
            if told["state"] != State.READY or time.monotonic() >= deadline:
                return told
            await asyncio.sleep(GLANCE)

    @tool(effect="pure")
    async def ps(
        exited: Annotated[bool, Field(description="also those that have ended")] = False,
    ) -> dict[str, Any]:
        """Lists the processes: number, state, title, and what each waits for. The newest first."""
        with desk.look() as view:
            rows = view.table.summaries(exited=exited)
        shown = ("pid", "parent", "state", "title", "label", "waiting")
        listed = [{key: asdict(row)[key] for key in shown} for row in reversed(rows[-LISTED:])]
        return {"processes": listed, "more": len(rows) > LISTED}

    return [spawn, send, wait, ps]


def _told(view: View, process: Process) -> dict[str, Any]:
    """How a process is, and what it answered last."""
    told: dict[str, Any] = {"pid": process.pid, "state": process.state, "title": process.title}
    if process.state == State.EXITED:
        status = process.status or {}
        told["ok"] = status.get("code") == "done"
        told["answer"] = status.get("value")
        if told["answer"] is None and process.result is not None:
            told["answer"] = view.pages.get(process.result).text[:MAX_ANSWER]
    elif process.state != State.READY:
        told["waiting_for"] = process.waiting or ""
        asked = [ask for ask in view.asks().open() if ask.pid == process.pid]
        if asked:
            told["asks"] = [ask.question for ask in asked]
            told["note"] = "only Cabin's user can answer that, with `cabin asks`"
        elif process.waiting == "a message":
            told["answer"] = _last_words(view, process)
    told["label"] = process.label
    return told


def _last_words(view: View, process: Process) -> str:
    for number, *_ in reversed(list(process.pages)):
        page = view.pages.get(number)
        if page.role == "assistant" and page.text:
            return page.text[:MAX_ANSWER]
    return ""


# ---- memory --------------------------------------------------------------------------------------

NOTES = (
    "SELECT note.id, note.kind, note.text, note.label, note.created, note.done FROM note_index "
    "JOIN note ON note.id = note_index.rowid WHERE note_index MATCH ? "
    f"ORDER BY note_index.rank, note.id DESC LIMIT {FOUND}"
)


def memory_tools(desk: Desk) -> Sequence[Tool]:
    """memory_search and remember. Notes are offered, conversations are not: they are private."""

    @tool(effect="pure")
    async def memory_search(
        query: Annotated[str, Field(min_length=1, max_length=1_000, description="a few words")],
    ) -> dict[str, Any]:
        """Finds what Cabin was asked to remember, by words: the best matches first.

        A note labelled `untrusted` came from a program or a page, not from Cabin's user.
        """
        words = dict.fromkeys(re.findall(r"\w+", query))
        if not words:
            raise InvalidArguments("the query has no words to look for.")
        match = " OR ".join(f'"{word}"' for word in words)
        with desk.look() as view:
            rows = view.store.rows(NOTES, (match,))
        return {"notes": [_note(*row) for row in rows]}

    @tool(effect="raw")
    async def remember(
        text: Annotated[str, Field(min_length=1, max_length=MAX_NOTE)],
    ) -> dict[str, Any]:
        """Keeps a note for later, in words that will make sense then."""
        pid = await desk.order(
            "spawn",
            code=REMEMBER,
            capabilities=Capabilities(frozenset({"notes_remember"})).to_json(),
            budget={},
        )
        await desk.order("send", pid=pid, text=text, source=SOURCE)
        told = await wait_for_end(desk, pid)
        if not told.get("ok"):
            raise KernelError(f"it was not remembered: {told.get('answer') or told['state']}")
        return {"done": told["answer"], "label": "untrusted"}

    return [memory_search, remember]


def _note(number: int, kind: str, text: str, label: str, created: float, done: float | None) -> Any:
    when = datetime.fromtimestamp(created).date().isoformat()
    return {
        "id": number,
        "kind": kind,
        "text": text,
        "label": label,
        "created": when,
        "done": done is not None,
    }


async def wait_for_end(desk: Desk, pid: int, seconds: float = 30.0) -> dict[str, Any]:
    """Waits until a process has ended; how it is by then."""
    deadline = time.monotonic() + seconds
    while True:
        with desk.look() as view:
            told = _told(view, view.table.get(pid))
        if told["state"] == State.EXITED or time.monotonic() >= deadline:
            return told
        await asyncio.sleep(GLANCE)
