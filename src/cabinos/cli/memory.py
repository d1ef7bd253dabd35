"""`cabin mem`: what a process has in its window and beyond, and what was noted."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from cabinos.cli.errors import Failure
from cabinos.cli.follow import one_line
from cabinos.cli.options import PID, as_json
from cabinos.cli.terminal import print_json, show
from cabinos.cli.view import View, look

if TYPE_CHECKING:
    from cabinos.store.pages import Page

FOUND = 20  # pages and notes of one search
SHORT = 100  # characters of a page in a list


@click.group("mem")
def mem_group() -> None:
    """Look into memory: pages of processes, and notes.

    Nothing is ever deleted by eviction: what left a window is found here as it was. Notes can be
    edited, forgotten for good and exported.
    """


@mem_group.command("list")
@click.argument("pid", type=PID)
@as_json
def list_command(pid: int, as_json: bool) -> None:
    """List the pages of process PID in order: resident, swapped out (-) or pinned (!)."""
    with look() as view:
        table = list(view.table.get(pid).pages)
        rows = [(view.pages.get(number), stub, pinned) for number, stub, pinned in table]
    if as_json:
        pages = [
            {**_as_data(page), "resident": not stub, "pinned": pinned}
            for page, stub, pinned in rows
        ]
        print_json({"pid": pid, "pages": pages})
        return
    for page, stub, pinned in rows:
        mark = "-" if stub else "!" if pinned else " "
        untrusted = "*" if page.label == "untrusted" else " "
        words = one_line(page.text, SHORT)
        show([f"{mark}{untrusted} {page.handle}  {page.role:<9} {page.tokens:>6}  {words}"])


@mem_group.command("show")
@click.argument("handle")
@as_json
def show_command(handle: str, as_json: bool) -> None:
    """Print the page with HANDLE, whole and as it was."""
    if not re.fullmatch(r"[0-9a-f]{4,64}", handle):
        raise click.UsageError(f"{handle!r} is no handle; `cabin mem list PID` shows them.")
    with look() as view:
        rows = view.store.rows(
            "SELECT id FROM page WHERE lower(hex(hash)) LIKE ? LIMIT 2", (f"{handle}%",)
        )
        if not rows:
            raise Failure(f"there is no page {handle}.")
        if len(rows) > 1:
            raise Failure(f"more than one page begins with {handle}; give more of the handle.")
        page = view.pages.get(rows[0][0])
    if as_json:
        print_json(_as_data(page))
    else:
        show([page.text])


@mem_group.command("search")
@click.argument("words", nargs=-1, required=True)
@click.option("--pid", type=PID, help="Only what this process has seen.")
@as_json
def search_command(words: tuple[str, ...], pid: int | None, as_json: bool) -> None:
    """Find pages that hold WORDS, and notes that hold or mean them; the best first."""
    query = re.findall(r"\w+", " ".join(words))
    if not query:
        raise click.UsageError("there are no words to look for.")
    match = " OR ".join(f'"{word}"' for word in dict.fromkeys(query))
    with look() as view:
        among = None if pid is None else view.table.get(pid).pages.ids()
        pages = [view.pages.get(number) for number in _find_pages(view, match, among)]
        notes = [] if pid is not None else _find_notes(view, " ".join(words))
    if as_json:
        print_json({"pages": [_as_data(page) for page in pages], "notes": notes})
        return
    for page in pages:
        show([f"{page.handle}  {page.role:<9} {one_line(page.text, SHORT)}"])
    for found in notes:
        show([f"note {found['id']:<6} {found['kind']:<9} {one_line(found['text'], SHORT)}"])
    if not pages and not notes:
        click.echo("Nothing holds these words.", err=True)


@mem_group.command("notes")
@click.option("-a", "--all", "everything", is_flag=True, help="Also things that are done.")
@as_json
def notes_command(everything: bool, as_json: bool) -> None:
    """List what processes were asked to remember, and what is to be done."""
    where = "" if everything else "WHERE done IS NULL"
    with look() as view:
        notes = _notes(view, f"SELECT {NOTE} FROM note {where} ORDER BY id")
    if as_json:
        print_json({"notes": notes})
        return
    if not notes:
        click.echo("Nothing was noted.", err=True)
    for found in notes:
        when = datetime.fromtimestamp(found["created"]).strftime("%Y-%m-%d")
        kind = found["list"] if found["kind"] == "todo" else "note"
        due = f" for {datetime.fromtimestamp(found['due']):%Y-%m-%d %H:%M}" if found["due"] else ""
        done = " (done)" if found["done"] else ""
        show([f"{found['id']:>5}  {when}  {kind}{due}{done}  {one_line(found['text'], 200)}"])


@mem_group.command("edit")
@click.argument("number", type=int)
@click.argument("text")
def edit_command(number: int, text: str) -> None:
    """Give note NUMBER other words: TEXT. They count as yours, and trusted."""
    from cabinos.drivers.notebook import edit
    from cabinos.store.home import store_path

    if not text.strip():
        raise click.UsageError("the text is empty; `cabin mem forget` deletes a note.")
    with look():  # says what to do where there is no store
        edit(store_path(), number, text.strip())
    click.echo(f"Note {number} is changed.")


@mem_group.command("forget")
@click.argument("numbers", type=int, nargs=-1, required=True)
def forget_command(numbers: tuple[int, ...]) -> None:
    """Forget notes for good: their words, and what they were found by.

    What was said of them in conversations stays in those conversations' pages.
    """
    from cabinos.drivers.notebook import forget
    from cabinos.store.home import store_path

    with look():
        pass
    forget(store_path(), sorted(set(numbers)))
    click.echo(f"Forgotten: {', '.join(map(str, sorted(set(numbers))))}.")


@mem_group.command("export")
@as_json
def export_command(as_json: bool) -> None:
    """Print all notes as Markdown, with where each came from; or as JSON."""
    with look() as view:
        notes = _notes(view, f"SELECT {NOTE} FROM note ORDER BY id")
    if as_json:
        print_json({"notes": notes})
        return
    for found in notes:
        source = f"process {found['pid']}" if found["pid"] else "you"
        when = datetime.fromtimestamp(found["created"]).strftime("%Y-%m-%d %H:%M")
        kind = f"on the list {found['list']}" if found["kind"] == "todo" else "note"
        done = ", done" if found["done"] else ""
        show([f"## {found['id']}\n\n{found['text']}\n"])
        show([f"*{kind}{done}; {when}, by {source}, {found['label']}*\n"])


NOTE = (
    "note.id, note.kind, note.list, note.text, note.label, note.pid, note.created, note.done, "
    "note.due"
)
NOTES = [name.removeprefix("note.") for name in NOTE.split(", ")]


def _notes(view: View, query: str) -> list[dict[str, Any]]:
    return [_note(row) for row in view.store.rows(query)]


def _note(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(NOTES, row, strict=True))


def _find_notes(view: View, query: str) -> list[dict[str, Any]]:
    """Notes by their words, then those that mean the same."""
    import asyncio

    from cabinos.drivers import noted
    from cabinos.drivers.recall import Recall

    rows = view.store.rows(noted.by_words(NOTE, FOUND), (noted.match(query),))
    every = view.store.rows(noted.newest(NOTE))
    text = NOTES.index("text")
    return [_note(row) for row in asyncio.run(noted.with_near(query, rows, every, text, Recall()))]


@dataclass(frozen=True, slots=True)
class _Found:
    score: float
    page: int


def _find_pages(view: View, match: str, among: set[int] | None) -> list[int]:
    """Pages by their words, the best first.

    The store's index is brought up to date by whoever may write; what it does not reach yet is
    indexed here, in memory.
    """
    import sqlite3

    sql = "SELECT -bm25(page_index), rowid FROM page_index WHERE page_index MATCH ?"
    reach = view.store.rows("SELECT coalesce(max(id), 0) FROM page_index_docsize")[0][0]
    found = [_Found(*row) for row in view.store.rows(sql, (match,))]
    memory = sqlite3.connect(":memory:")
    try:
        memory.execute(
            "CREATE VIRTUAL TABLE page_index USING fts5(text, tokenize='porter unicode61')"
        )
        memory.executemany(
            "INSERT INTO page_index (rowid, text) VALUES (?, ?)",
            view.store.rows("SELECT id, text FROM page WHERE id > ?", (reach,)),
        )
        found += [_Found(*row) for row in memory.execute(sql, (match,))]
    finally:
        memory.close()
    found.sort(key=lambda hit: -hit.score)
    return [hit.page for hit in found if among is None or hit.page in among][:FOUND]


def _as_data(page: "Page") -> dict[str, Any]:
    return {
        "handle": page.handle,
        "role": page.role,
        "label": page.label,
        "tokens": page.tokens,
        "text": page.text,
    }
