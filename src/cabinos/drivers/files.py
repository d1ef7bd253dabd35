"""Device: the files beneath the folders that were granted to a process.

A path is always `folder/inner/path`, where `folder` is the name of a grant. What a file says was
not typed by the user, so it is untrusted. Writing puts a whole new file in the place of the old one
or does nothing, and doing it twice is doing it once: that is what makes it `local`.
"""

import asyncio
import hashlib
import io
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from fnmatch import fnmatchcase
from time import monotonic
from typing import Annotated, Any, BinaryIO

from pydantic import Field

from cabinos.drivers import documents, text
from cabinos.drivers.beneath import Entry, Place, entries, locate, open_file, shown, walk
from cabinos.drivers.pattern import searcher
from cabinos.kernel.driver import Context, Driver, Tool, tool
from cabinos.kernel.errors import ToolError

__all__ = ["driver"]

MAX_WRITE = 10 << 20  # bytes of one file
MAX_EDIT = 10 << 20
MAX_ENTRIES = 1_000  # names of one listing
MAX_MATCHES = 200
MAX_SHOWN = 300  # characters of a line that matched
MAX_SEARCHED = 20 << 20  # bytes of a file; larger ones are left out of a search
PATIENCE = 20.0  # seconds of one search
LISTED = re.compile(r"^(\S.*?)  (\S.*)$")  # a name, and what is said of it
KEPT = 8  # documents whose text is kept for the next page

InFolder = Annotated[str, Field(description="folder, or folder/inner/path")]
FilePath = Annotated[
    str,
    Field(description="folder/inner/path of the file", json_schema_extra={"x-copy": "file"}),
]


def driver(_config: Mapping[str, Any]) -> Driver:
    """The file device. It needs no configuration: folders are granted to each process."""
    tools = [files_read_with(_Extracted()), files_list, files_find]
    return Driver("files", tools=[*tools, files_search, files_write, files_edit])


# ---- Reading -------------------------------------------------------------------------------------


class _Extracted:
    """The text of the documents read last, so that the next page of one need not extract it."""

    def __init__(self) -> None:
        self._texts: OrderedDict[tuple[int, ...], str] = OrderedDict()

    async def text(self, file: BinaryIO, kind: str, name: str) -> str:
        """Title and text of an open document."""
        status = os.fstat(file.fileno())
        version = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        if version not in self._texts:
            document = await documents.extract(file, kind, name)
            title = f"Title: {document.title}\n\n" if document.title else ""
            self._texts[version] = title + document.text
            while len(self._texts) > KEPT:
                self._texts.popitem(last=False)
        self._texts.move_to_end(version)
        return self._texts[version]


def _read_out(arguments: Mapping[str, Any], result: str) -> str:
    """The text below its path; what names the path itself, an error, as it is."""
    path = str(arguments.get("path", ""))
    return result if path in result else f"{path}:\n{result}"


def files_read_with(extracted: _Extracted) -> Tool:
    """The tool `files_read`, with its memory of documents."""

    @tool(
        effect="pure",
        needs="files",
        says=_read_out,
        hints="<named> say says read open show me the file contents of document pdf text print "
        "cat display what is in summarize readme first last lines",
    )
    async def files_read(
        path: FilePath,
        offset: Annotated[
            int, Field(ge=-1_000, description="first line, from 1; -20: the last 20 lines")
        ] = 1,
        limit: Annotated[int, Field(ge=1, le=5_000, description="how many lines")] = 1_000,
        source: Annotated[bool, Field(description="HTML as it is, not its text")] = False,
        *,
        context: Context,
    ) -> str:
        """Reads a text file. PDF, Word and HTML files give their text."""
        place = locate(context.capabilities, path)
        offset = offset or 1
        with await asyncio.to_thread(place.open) as file:
            kind = documents.kind_of(place.path, await asyncio.to_thread(file.peek, 8))
            if kind is None or (source and kind == "html"):
                page = await asyncio.to_thread(text.read_page, file, place.path, offset, limit)
            else:
                whole = io.StringIO(await extracted.text(file, kind, place.path), newline="")
                page = text.page_of(whole, place.path, offset, limit, "utf-8")
        return page.noted()

    return files_read


def _told(arguments: Mapping[str, Any], result: str) -> str:
    """The names below what they are in; what is no list, as it is."""
    path = str(arguments.get("path") or "").strip("/")
    lines = [LISTED.sub(r"\1 (\2)", line) for line in result.splitlines()]
    if lines == result.splitlines() and not any(line.endswith("/") for line in lines):
        return result
    return "\n".join([f"In {path}:" if path else "You granted:", *lines])


@tool(
    effect="pure",
    needs="files",
    says=_told,
    hints="<contents> list files folder folders documents directory see access what files are "
    "there show my folders documents ls contents in the folder how many",
)
async def files_list(path: InFolder = "", *, context: Context) -> str:
    """Lists a folder; without a path, the folders there are."""
    if not path.strip("/"):
        grants = context.capabilities.files
        return (
            "\n".join(
                f"{grant.name}  {'read and write' if grant.writable else 'read only'}"
                for grant in grants
            )
            or "No folders were granted."
        )
    return await asyncio.to_thread(_list, locate(context.capabilities, path))


def _list(place: Place) -> str:
    with place.open_folder() as folder:
        found = entries(folder)
    lines = [_line(entry) for entry in found[:MAX_ENTRIES]]
    if len(found) > MAX_ENTRIES:
        lines.append(f"[{len(found) - MAX_ENTRIES:,} more; files_find picks by name]")
    return "\n".join(lines) or "The folder is empty."


def _line(entry: Entry) -> str:
    name = shown(entry.name)
    if entry.kind == "folder":
        return f"{name}/"
    if entry.kind != "file":
        return f"{name}  ({entry.kind}, cannot be opened)"
    modified = datetime.fromtimestamp(entry.modified).isoformat(" ", "minutes")
    return f"{name}  {entry.size:,} bytes  {modified}"


@tool(
    effect="pure",
    needs="files",
    hints="<named> looking for find a file by name where is the file called named locate which "
    "files end with extension pdf csv txt md python",
)
async def files_find(
    pattern: Annotated[
        str,
        Field(
            description="like *.csv (at any depth) or notes/**/2026-*.md (from the path)",
            json_schema_extra={"x-copy": "pattern"},
        ),
    ],
    path: InFolder = "",
    *,
    context: Context,
) -> str:
    """Finds files by name: one path a line."""
    places = _starts(context, path)
    return await asyncio.to_thread(_find, places, pattern)


def _find(places: list[Place], pattern: str) -> str:
    wanted = tuple(part for part in pattern.split("/") if part)
    if len(wanted) == 1:
        wanted = ("**", *wanted)
    found: list[str] = []
    for place, inner, _, entry in _below(places):
        if entry.kind == "file" and matches(inner, wanted):
            found.append("/".join((place.path, *map(shown, inner))))
            if len(found) == MAX_ENTRIES:
                found.append(f"[only the first {MAX_ENTRIES:,} are shown]")
                break
    return "\n".join(found) or "No file matches."


def matches(path: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether a path fits a pattern in which `**` stands for any number of folders.

    All positions in the pattern that the path may have reached are followed at once, so the time is
    bounded by the product of the lengths, whatever the pattern.
    """

    def settled(positions: set[int]) -> set[int]:
        for position, part in enumerate(pattern):
            if part == "**" and position in positions:
                positions.add(position + 1)
        return positions

    reached = settled({0})
    for part in path:
        following: set[int] = set()
        for position in reached:
            if position < len(pattern):
                if pattern[position] == "**":
                    following.add(position)
                elif fnmatchcase(part, pattern[position]):
                    following.add(position + 1)
        reached = settled(following)
    return len(pattern) in reached


@tool(
    effect="pure",
    needs="files",
    hints="search in files for text word line containing contains mention grep occurrences which "
    "file has where does it appear",
)
async def files_search(
    query: Annotated[str, Field(min_length=1, max_length=1_000, description="what to look for")],
    path: InFolder = "",
    names: Annotated[str, Field(description="only in files with such names, like *.py")] = "*",
    regex: Annotated[bool, Field(description="the query is a regular expression")] = False,
    ignore_case: bool = False,
    *,
    context: Context,
) -> str:
    """Searches text files for a line: path, line number and the line. Leaves out hidden files."""
    if regex:
        found = searcher(f"(?i){query}" if ignore_case else query)
    elif ignore_case:
        folded = query.casefold()
        found = lambda line: folded in line.casefold()  # noqa: E731 - three ways to one predicate
    else:
        found = lambda line: query in line  # noqa: E731
    return await asyncio.to_thread(_search, _starts(context, path), found, names)


def _search(places: list[Place], found: Callable[[str], bool], names: str) -> str:
    lines: list[str] = []
    deadline = monotonic() + PATIENCE
    for where, line in _text_lines(places, names):
        if found(line):
            lines.append(f"{where}: {line[:MAX_SHOWN]}{'…' if len(line) > MAX_SHOWN else ''}")
            if len(lines) == MAX_MATCHES:
                lines.append(f"[only the first {MAX_MATCHES} lines are shown]")
                break
        if monotonic() > deadline:
            lines.append(f"[stopped after {PATIENCE:g} s; search a smaller folder]")
            break
    return "\n".join(lines) or "No line matches."


def _text_lines(places: list[Place], names: str) -> Iterator[tuple[str, str]]:
    """Every line of the text files below the places, with its path and number."""
    for place in places:
        if not place.is_folder():
            with place.open() as file:
                yield from _numbered(file, place.path)
    for place, inner, folder, entry in _below(places):
        if entry.kind == "file" and fnmatchcase(entry.name, names) and entry.size <= MAX_SEARCHED:
            with suppress(OSError), open_file(folder, entry.name) as file:
                yield from _numbered(file, "/".join((place.path, *map(shown, inner))))


def _numbered(file: BinaryIO, path: str) -> Iterator[tuple[str, str]]:
    data = file.read(MAX_SEARCHED)
    encoding = text.detect(data[: text.SNIFF])
    if encoding is None:
        return
    lines = io.StringIO(data.decode(encoding, "replace"), newline="")
    for number, line in enumerate(iter(lambda: lines.readline(text.LINE), ""), 1):
        yield f"{path}:{number}", line.rstrip("\r\n")


def _starts(context: Context, path: str) -> list[Place]:
    if path.strip("/"):
        return [locate(context.capabilities, path)]
    return [Place(grant, ()) for grant in context.capabilities.files]


def _below(places: list[Place]) -> Iterator[tuple[Place, tuple[str, ...], int, Entry]]:
    """Everything below those of the places that are folders."""
    for place in places:
        if place.is_folder():
            with place.open_folder() as opened:
                for inner, folder, entry in walk(opened):
                    yield place, inner, folder, entry


# ---- Writing -------------------------------------------------------------------------------------


@tool(
    effect="local",
    label="trusted",
    needs="files",
    authority=["path"],
    payload=["text"],
    hints="write create make save a new file text document with store put this into a file named "
    "export overwrite",
)
async def files_write(
    path: FilePath,
    text: Annotated[
        str, Field(description="the whole new content", json_schema_extra={"x-copy": "statement"})
    ],
    *,
    context: Context,
) -> str:
    """Writes a text file, in the place of what was there. Missing folders are created."""
    place = locate(context.capabilities, path)
    data = _encoded(text, "utf-8")
    created = await asyncio.to_thread(place.write, data, _token(context))
    return f"{'Created' if created else 'Replaced'} {place.path}: {len(data):,} bytes."


@tool(
    effect="local",
    label="trusted",
    needs="files",
    authority=["path"],
    payload=["old", "new"],
    hints="edit change replace fix correct update modify word line passage in the file rename "
    "substitute typo",
)
async def files_edit(
    path: FilePath,
    old: Annotated[str, Field(min_length=1, description="a passage that occurs exactly once")],
    new: Annotated[
        str, Field(description="what to put in its place", json_schema_extra={"x-free": True})
    ],
    *,
    context: Context,
) -> str:
    """Replaces one passage of a text file. Where that was done before, nothing is changed."""
    place = locate(context.capabilities, path)
    return await asyncio.to_thread(_edit, place, old, new, _token(context))


def _edit(place: Place, old: str, new: str, token: str) -> str:
    with place.open() as file:
        data = file.read(MAX_EDIT + 1)
    if len(data) > MAX_EDIT:
        raise ToolError(f"{place.path}: files above {MAX_EDIT >> 20} MB cannot be edited.")
    before, encoding = text.decode(data, place.path)
    if "\r\n" in before and "\r" not in old + new:
        old, new = old.replace("\n", "\r\n"), new.replace("\n", "\r\n")
    try:
        after = edited(before, old, new)
    except ValueError as error:
        raise ToolError(f"{place.path}: {error}.") from None
    if after is None:
        return f"{place.path} has the new passage and no other old one; nothing was changed."
    place.write(_encoded(after, encoding), token)
    return f"Edited {place.path}."


def edited(content: str, old: str, new: str) -> str | None:
    """The text with `old` replaced by `new`, or None where that was done before.

    A call may be repeated after a crash, so what it made is never changed by doing it again: that
    gives None or an error. Raises ValueError if `old` does not stand for one place.
    """
    if _is_done(content, old, new):
        return None
    if (count := content.count(old)) != 1:
        raise ValueError(f"the old passage occurs {count} times; it must occur exactly once")
    after = content.replace(old, new)
    if after.count(old) == 1 and not _is_done(after, old, new):
        raise ValueError("the old passage would be there again afterwards; take in more around it")
    return after


def _is_done(content: str, old: str, new: str) -> bool:
    """Whether there is a `new`, and no `old` outside of it."""
    return bool(new) and new in content and not any(old in part for part in content.split(new))


def _encoded(content: str, encoding: str) -> bytes:
    try:
        data = content.encode(encoding)
    except UnicodeEncodeError as error:
        bad = content[error.start]
        raise ToolError(f"the text holds {bad!r}, which {encoding} cannot express.") from None
    if len(data) > MAX_WRITE:
        raise ToolError(f"the text has {len(data):,} bytes; at most {MAX_WRITE:,} are written.")
    return data


def _token(context: Context) -> str:
    return hashlib.sha256(context.key.encode()).hexdigest()[:16]
