"""Device: what processes choose to remember, and what is to be done.

Notes are rows of the store. A write is staged and committed in one transaction with the call's
result, so a crash leaves both or neither: that is what makes it `local`. A note is as trustworthy
as what its writer had read, and whoever recalls it has read that too.
"""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from cabinos.kernel.driver import Context, Driver, Labelled, Tool, tool
from cabinos.kernel.errors import ToolError

__all__ = ["driver"]

MAX_TEXT = 10_000  # characters of one note
MAX_ROWS = 50  # notes of one answer

COLUMNS = "note.id, note.kind, note.text, note.created, note.done, note.label"
Row = tuple[Any, ...]
NoteText = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]


def driver(_config: Mapping[str, Any]) -> Driver:
    """The notes device. It needs no configuration."""
    add, forget, done = _writers()
    return Driver("notes", tools=[*add, notes_recall, notes_list, done, forget])


def _writers() -> tuple[list[Tool], Tool, Tool]:
    numbering = asyncio.Lock()  # between the highest number read and the next one staged

    async def put(context: Context, kind: str, text: str) -> int:
        if not text.strip():
            raise ToolError("there is nothing to remember: the text is empty.")
        async with numbering:
            ((highest,),) = await context.store.read("SELECT coalesce(max(id), 0) FROM note")
            row = (highest + 1, kind, text.strip(), context.label, context.pid, time.time())
            context.store.write(
                "INSERT INTO note (id, kind, text, label, pid, created) VALUES (?, ?, ?, ?, ?, ?)",
                row,
            )
        return int(highest + 1)

    @tool(effect="local", label="trusted", payload=["text"])
    async def notes_remember(text: NoteText, *, context: Context) -> str:
        """Remembers something for later conversations, in words that will make sense then."""
        return f"Remembered as note {await put(context, 'note', text)}."

    @tool(effect="local", label="trusted", payload=["text"])
    async def notes_todo_add(text: NoteText, *, context: Context) -> str:
        """Adds a thing to do to the list."""
        return f"Added to the list as {await put(context, 'todo', text)}."

    @tool(effect="local", label="trusted", authority=["id"])
    async def notes_todo_done(id: int, *, context: Context) -> str:  # noqa: A002
        """Marks a thing to do as done."""
        kind, done = await _find(context, id)
        if kind != "todo":
            raise ToolError(f"note {id} is nothing to do.")
        if done is None:
            context.store.write("UPDATE note SET done = ? WHERE id = ?", (time.time(), id))
        return f"{id} is done."

    @tool(effect="local", label="trusted", authority=["id"])
    async def notes_forget(id: int, *, context: Context) -> str:  # noqa: A002
        """Forgets a note or a thing to do for good."""
        await _find(context, id)
        context.store.write("DELETE FROM note WHERE id = ?", (id,))
        return f"{id} is forgotten."

    return [notes_remember, notes_todo_add], notes_forget, notes_todo_done


@tool(effect="pure")
async def notes_recall(
    query: Annotated[str, Field(min_length=1, max_length=1_000, description="a few words")],
    *,
    context: Context,
) -> Labelled:
    """Finds what was remembered, by words: the best matches first."""
    words = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", query))
    if not words:
        raise ToolError("the query has no words to look for.")
    rows = await context.store.read(
        f"SELECT {COLUMNS} FROM note_index JOIN note ON note.id = note_index.rowid "
        f"WHERE note_index MATCH ? ORDER BY note_index.rank, note.id DESC LIMIT {MAX_ROWS + 1}",
        (words,),
    )
    return _told(rows, "Nothing like that was remembered.")


@tool(effect="pure")
async def notes_list(
    kind: Annotated[
        Literal["todo", "note", "done"], Field(description="open things to do, notes, or done")
    ] = "todo",
    *,
    context: Context,
) -> Labelled:
    """Lists what is to be done, or the notes: the newest first."""
    which = {
        "todo": "kind = 'todo' AND done IS NULL",
        "done": "kind = 'todo' AND done IS NOT NULL",
        "note": "kind = 'note'",
    }
    rows = await context.store.read(
        f"SELECT {COLUMNS} FROM note WHERE {which[kind]} ORDER BY id DESC LIMIT {MAX_ROWS + 1}"
    )
    return _told(rows, "There is nothing to do." if kind == "todo" else "There is none.")


async def _find(context: Context, number: int) -> Row:
    rows = await context.store.read("SELECT kind, done FROM note WHERE id = ?", (number,))
    if not rows:
        raise ToolError(f"there is no note {number}; notes_list and notes_recall tell the numbers.")
    return rows[0]


def _told(rows: Sequence[Row], nothing: str) -> Labelled:
    """Notes as lines of text, as trustworthy as the least of them."""
    lines = []
    for number, kind, text, created, done, _ in rows[:MAX_ROWS]:
        state = f"done {_date(done)}" if done else "to do" if kind == "todo" else _date(created)
        lines.append(f"{number} ({state}): {text}")
    if len(rows) > MAX_ROWS:
        lines.append(f"[only the first {MAX_ROWS} are shown]")
    tainted = any(row[-1] != "trusted" for row in rows[:MAX_ROWS])
    return Labelled("\n".join(lines) or nothing, "untrusted" if tainted else "trusted")


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).date().isoformat()
