"""The tools that clients get: processes, and what is remembered.

Behind a client is a model, and nobody knows what that has read. So whatever a client says counts as
untrusted: a process that it starts may read what was granted, and asks a person before it changes
anything or sends it away; a note that it writes keeps that label for whoever recalls it. To approve
is a person's, at the terminal; there is no tool for it.

Behind a client is also somebody who may read elsewhere. So what not everybody may read (private
files, a note, what a process has made of them) is told only where the desk is `private`.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from cabinos.drivers import noted
from cabinos.drivers.recall import Recall
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
PRIVATE = (
    "this is for Cabin's machine alone: its user can read it with `cabin attach`, or let clients "
    "see such things with `cabin mcp --private`"
)
LEFT_OUT = (
    "notes that are for Cabin's machine alone; its user can let clients see them with "
    "`cabin mcp --private`"
)

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
                told = _told(desk, view, view.table.get(pid))
            if told["state"] != State.READY or time.monotonic() >= deadline:
                return told
            await asyncio.sleep(GLANCE)

    @tool(effect="pure")
    async def ps(
        exited: Annotated[bool, Field(description="also those that have ended")] = False,
    ) -> dict[str, Any]:
        """Lists the processes: number, state, title, and what each waits for. The newest first."""
        shown = ("pid", "parent", "state", "title", "label", "waiting")
        with desk.look() as view:
            rows = view.table.summaries(exited=exited)
            listed = [{key: asdict(row)[key] for key in shown} for row in reversed(rows[-LISTED:])]
            for row in listed:
                if _is_private(desk, view.table.get(row["pid"])):
                    row["title"] = ""
        return {"processes": listed, "more": len(rows) > LISTED}

    return [spawn, send, wait, ps]


def _is_private(desk: Desk, process: Process) -> bool:
    """Whether it has read what clients are not to see, so that its words may tell of it."""
    return process.guard.readers is not None and not desk.private


def _told(desk: Desk, view: View, process: Process) -> dict[str, Any]:
    """How a process is, and what it answered last."""
    private = _is_private(desk, process)
    told: dict[str, Any] = {"pid": process.pid, "state": process.state}
    told["title"] = "" if private else process.title
    if process.state == State.EXITED:
        told["ok"] = (process.status or {}).get("code") == "done"
        told["answer"] = None if private else _answer(view, process)
    elif process.state != State.READY:
        told["waiting_for"] = process.waiting or ""
        asked = [ask for ask in view.asks().open() if ask.pid == process.pid]
        if asked:
            told["asks"] = [] if private else [ask.question for ask in asked]
            told["note"] = "only Cabin's user can answer that, with `cabin asks`"
        elif process.waiting == "a message":
            told["answer"] = None if private else _last_words(view, process)
    if private:
        told["private"] = PRIVATE
    told["label"] = process.label
    return told


def _answer(view: View, process: Process) -> Any:
    value = (process.status or {}).get("value")
    if value is None and process.result is not None:
        return view.pages.get(process.result).text[:MAX_ANSWER]
    return value


def _last_words(view: View, process: Process) -> str:
    for number, *_ in reversed(list(process.pages)):
        page = view.pages.get(number)
        if page.role == "assistant" and page.text:
            return page.text[:MAX_ANSWER]
    return ""


# ---- memory --------------------------------------------------------------------------------------

COLUMNS = (
    "note.id, note.text, note.kind, note.label, note.created, note.done, note.readers, note.pid"
)


def memory_tools(desk: Desk) -> Sequence[Tool]:
    """memory_search and remember. Notes are offered, conversations are not."""
    recall = Recall(exact=True)

    @tool(effect="pure")
    async def memory_search(
        query: Annotated[str, Field(min_length=1, max_length=1_000, description="a few words")],
    ) -> dict[str, Any]:
        """Finds what Cabin was asked to remember, by words and by meaning: the best first.

        A note labelled `untrusted` came from a program or a page, not from Cabin's user.
        """
        words = noted.match(query)
        if not words:
            raise InvalidArguments("the query has no words to look for.")
        with desk.look() as view:
            every = view.store.rows(noted.newest(COLUMNS))
            seen = [row for row in every if _may_see(desk, view, row)]
            found = view.store.rows(noted.by_words(COLUMNS), (words,))
            found = [row for row in found if _may_see(desk, view, row)][:FOUND]
        rows = await noted.with_near(query, found, seen, 1, recall)
        told = {"notes": [_note(*row) for row in rows]}
        return told if len(seen) == len(every) else {**told, "left_out": LEFT_OUT}

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


def _may_see(desk: Desk, view: View, row: tuple[Any, ...]) -> bool:
    """Whether clients may see a note: anybody may read it, or a client has written it."""
    readers, pid = row[-2:]
    if desk.private or json.loads(readers or "[]") is None:
        return True
    try:
        return view.table.get(pid).guard.program == REMEMBER
    except KernelError:  # a person wrote it
        return False


def _note(
    number: int, text: str, kind: str, label: str, created: float, done: float | None, *_: Any
) -> dict[str, Any]:
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
            told = _told(desk, view, view.table.get(pid))
        if told["state"] == State.EXITED or time.monotonic() >= deadline:
            return told
        await asyncio.sleep(GLANCE)
