"""Device: the passages of granted documents that answer a question.

Every text file in the granted folders is read at each call, a line at a time or, where lines are
wrapped, a paragraph, so nothing is out of date. The search stops after some seconds or megabytes,
and says so. Where `cabin index` knows the folders, and nothing in them has changed since, the index
answers instead (`indexed`).
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Annotated, Any

from pydantic import Field

from cabinos.drivers import documents, indexed, text
from cabinos.drivers.beneath import Place, open_file, shown, walk
from cabinos.drivers.lines import passages_of
from cabinos.drivers.ranking import best, stems
from cabinos.kernel.driver import Context, Driver, tool
from cabinos.kernel.errors import ToolError

__all__ = ["driver"]

MAX_FILE = 5 << 20  # bytes; larger ones are left out
MAX_READ = 50 << 20  # bytes of one search
MAX_PASSAGES = 200_000
MAX_DOCUMENTS = 20  # PDF, Word and HTML files of one search: each takes a process
PATIENCE = 15.0  # seconds of one search
SHOWN = 3  # passages
LENGTH = 300  # characters of a passage that is shown


@dataclass(frozen=True, slots=True)
class _Passage:
    where: str  # path and line
    text: str


def driver(_config: Mapping[str, Any]) -> Driver:
    """The device. It needs no configuration: folders are granted to each process."""
    return Driver("passages", tools=[files_passages])


@tool(
    effect="pure",
    needs="files",
    hints="<asks> <named> according to my documents files folder notes what who when where how "
    "does it say question answer find out look up check read passage manual report contract lease "
    "recipe letter invoice budget log minutes handbook mention should people long",
)
async def files_passages(
    query: Annotated[str, Field(min_length=1, max_length=1_000, description="the question")],
    *,
    context: Context,
) -> str:
    """Finds the passages of granted documents that answer a question, the best first."""
    if not context.capabilities.files:
        raise ToolError("no folder was granted, so there are no documents to look into.")
    if not stems(query):
        raise ToolError("the question has no words to look for.")
    known = await asyncio.to_thread(indexed.find, context.capabilities.files, query, SHOWN)
    if known is not None:
        return "\n".join(f"{found.where}: {_clipped(found.text, query)}" for found in known) or (
            "No document says anything about that (all indexed files were searched)."
        )
    places = [Place(grant, ()) for grant in context.capabilities.files]
    search = _Search(monotonic() + PATIENCE)
    await asyncio.to_thread(search.read, places)
    for place, kind in search.documents:
        await search.extract(place, kind)
    found = await asyncio.to_thread(search.best, query)
    lines = [f"{passage.where}: {_clipped(passage.text, query)}" for passage in found]
    if not lines:
        lines = [f"No document says anything about that ({search.files} files were read)."]
    if search.left_out:
        lines.append(f"[{search.left_out}]")
    return "\n".join(lines)


class _Search:
    """Reads what there is to read, then ranks it."""

    def __init__(self, deadline: float) -> None:
        self.files = 0
        self.left_out = ""  # what was, and why
        self.documents: list[tuple[Place, str]] = []
        self._deadline = deadline
        self._bytes = 0
        self._extracted = 0
        self._passages: list[_Passage] = []

    def read(self, places: list[Place]) -> None:
        """Takes the text files in, and notes which documents there are."""
        for place in places:
            if not place.is_folder():
                with place.open() as file:
                    self._take(place, file.read(MAX_FILE))
                continue
            with place.open_folder() as opened:
                for inner, folder, entry in walk(opened):
                    if entry.kind == "file" and entry.size <= MAX_FILE:
                        with suppress(OSError), open_file(folder, entry.name) as file:
                            self._take(Place(place.grant, inner), file.read(MAX_FILE))
                    if self._is_over():
                        return

    def _take(self, place: Place, data: bytes) -> None:
        kind = documents.kind_of(place.path, data[:8])
        if kind is not None:
            self.documents.append((place, kind))
            return
        encoding = text.detect(data[: text.SNIFF])
        if encoding is None:
            return
        self.files += 1
        self._bytes += len(data)
        self._add(place, data.decode(encoding, "replace"))

    async def extract(self, place: Place, kind: str) -> None:
        """Takes the text of a PDF, Word or HTML file in; one that cannot be read is left out."""
        if self._is_over():
            return
        if self._extracted >= MAX_DOCUMENTS:
            self.left_out = "there are more documents than one search reads; grant fewer"
            return
        self._extracted += 1
        with suppress(ToolError, OSError):
            with await asyncio.to_thread(place.open) as file:
                document = await documents.extract(file, kind, place.path)
            self.files += 1
            self._add(place, f"{document.title}\n\n{document.text}")

    def _add(self, place: Place, content: str) -> None:
        path = "/".join(map(shown, place.path.split("/")))
        self._passages += (_Passage(f"{path}:{n}", words) for n, words in passages_of(content))

    def _is_over(self) -> bool:
        if monotonic() > self._deadline:
            self.left_out = f"stopped after {PATIENCE:g} s; grant a smaller folder"
        elif self._bytes > MAX_READ or len(self._passages) > MAX_PASSAGES:
            self.left_out = "stopped: there is more text than one search reads"
        return bool(self.left_out)

    def best(self, query: str) -> list[_Passage]:
        """The passages that say most about the query."""
        words = [stems(passage.text) for passage in self._passages]
        return [self._passages[at] for at in best(query, words, SHOWN)]


def _clipped(passage: str, query: str) -> str:
    """At most LENGTH characters, around the first word that the query asks for."""
    if len(passage) <= LENGTH:
        return passage
    wanted = set(stems(query))
    at = 0
    for word in passage.split(" "):
        if wanted & set(stems(word)):
            break
        at += len(word) + 1
    start = min(max(0, at - LENGTH // 3), len(passage) - LENGTH)
    end = start + LENGTH
    left, right = "…" if start else "", "…" if end < len(passage) else ""
    return f"{left}{passage[start:end].strip()}{right}"
