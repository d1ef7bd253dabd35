"""Responses that were given before: put together again from the journal, or taken back."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cabinos.kernel.asks import COLUMNS, Ask
from cabinos.kernel.events import Event
from cabinos.kernel.kernel import Kernel, ProcessHandle
from cabinos.kernel.process import State
from cabinos.kernel.settle import as_text
from cabinos.serve.conversation import find, unknown
from cabinos.serve.encode import Json
from cabinos.serve.errors import ApiError
from cabinos.serve.response_stream import ResponseStream
from cabinos.serve.service import service_of
from cabinos.serve.turn import Usage, is_idle
from cabinos.serve.wire import unsupported
from cabinos.store.journal import Entry

__all__ = ["delete_response", "get_response"]

# What a response repeats of its request, where the request said nothing.
SILENT: dict[str, Any] = {
    "instructions": None,
    "previous_response_id": None,
    "temperature": None,
    "top_p": None,
    "max_output_tokens": None,
    "tools": [],
    "metadata": {},
}


async def get_response(request: Request) -> Response:
    """A response that is stored, as it is now. Raises ApiError."""
    if request.query_params.get("stream", "false").lower() not in ("", "0", "false"):
        raise unsupported("to stream a response again", "stream")
    kernel, name = service_of(request).kernel, request.path_params["response"]
    await kernel.store.commit()  # the journal is read as it is on disk
    pid, number = find(kernel, name)
    rows, is_last = _rows(kernel, name, pid, number)
    return Json(_retold(kernel.process(pid), name, rows, is_last=is_last))


async def delete_response(request: Request) -> Response:
    """Takes a response back: it cannot be read or followed any more.

    With the last one of its process, the process ends. What was said stays in the journal.
    """
    service, name = service_of(request), request.path_params["response"]
    kernel = service.kernel
    await kernel.store.commit()
    pid, number = find(kernel, name)
    _, is_last = _rows(kernel, name, pid, number)
    kernel.journal.append(pid, "delete", number=number)
    if is_last and kernel.process(pid).state != State.EXITED:
        await kernel.kill(pid)
    await kernel.store.commit()
    return Json({"id": name, "object": "response", "deleted": True})


def _rows(kernel: Kernel, name: str, pid: int, number: int) -> tuple[list[Entry], bool]:
    """The journal of a turn, from the row that begins it, and whether it is the last one.

    Raises ApiError if there is no such turn, or it was not to be stored.
    """
    entries = list(kernel.journal.entries(pid))
    begins = [at for at, entry in enumerate(entries) if entry.kind == "turn"]
    start = [at for at in begins if entries[at].body["number"] == number]
    if not start or entries[start[0]].body.get("echo", {}).get("store") is not True:
        raise unknown(name)
    end = next((at for at in begins if at > start[0]), len(entries))
    return list(islice(entries, start[0], end)), end == len(entries)


def _retold(
    handle: ProcessHandle, name: str, rows: list[Entry], *, is_last: bool
) -> dict[str, Any]:
    echo, usage = SILENT | rows[0].body["echo"], Usage()
    held = echo["text"]["format"]["type"] != "text"
    stream = ResponseStream(name, handle, usage, echo, held=held, created=rows[0].time)
    why = ""  # there is no answer
    for row in rows:
        event = _event(handle.kernel, row)
        if event is not None:
            for _ in stream.take(event):
                pass
        if row.kind == "think" and row.body.get("ok"):
            usage.input += row.body.get("in", 0)
            usage.cached += row.body.get("cached", 0)
            usage.output += row.body.get("out", 0)
        if row.kind in ("stop", "cont", "think"):
            why = row.body["why"] if row.kind == "stop" else ""
        elif row.kind == "exit" and row.body["code"] != "done":
            why = f"the process was {row.body['code']}"
    if why:
        stream.fail(ApiError(502, why))
    elif not is_last or is_idle(handle.process):
        for _ in stream.end(_asks(handle.kernel, rows)):
            pass
    return stream.response()


def _event(kernel: Kernel, row: Entry) -> Event | None:
    """What was told when the row was written, if a response shows it."""
    if "ok" not in row.body:  # not a call that has settled
        return None
    if row.kind == "think":
        return Event(row.pid, "thought", {"page": row.body["page"]}) if row.body["ok"] else None
    page = row.body.get("page")
    text = as_text(row.body.get("value")) if page is None else kernel.pages.get(page).text
    data = {"id": row.body.get("call", "0"), "name": row.kind, "text": text, "ok": row.body["ok"]}
    return Event(row.pid, "result", data)


def _asks(kernel: Kernel, rows: list[Entry]) -> Iterator[Ask]:
    """The questions that were open at the end of the turn."""
    answered = {row.body["ask"] for row in rows if row.kind == "answer"}
    for row in rows:
        if row.kind == "ask" and row.body["ask"] not in answered:
            query = f"SELECT {COLUMNS} FROM ask WHERE id = ?"
            for number, pid, call, kind, question, detail, asked in kernel.store.rows(
                query, (row.body["ask"],)
            ):
                yield Ask(number, pid, call, kind, question, json.loads(detail), asked)
