"""Reading whole folders of documents, into passages that know where they stand."""

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from time import monotonic

from cabinos.drivers import documents, text
from cabinos.drivers.beneath import Place, open_file, shown, walk
from cabinos.drivers.lines import pieces_of
from cabinos.drivers.ranking import best, stems
from cabinos.kernel.errors import ToolError

__all__ = ["Passage", "Reader"]

MAX_FILE = 5 << 20  # bytes; larger ones are left out
MAX_READ = 50 << 20  # bytes of one search
MAX_PASSAGES = 200_000
MAX_DOCUMENTS = 20  # PDF, Word and HTML files of one search: each takes a process
PATIENCE = 15.0  # seconds of one search
PAGE = re.compile(r"\[page (\d+)\]")  # what `documents` writes before each page of a PDF


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document, and where it stands."""

    path: str
    text: str
    line: int  # of the file, or of the text that was taken out of a document; from 1
    marks: tuple[tuple[int, int], ...] = ()  # (where in the text, number) of its further lines
    page: int = 0  # of a PDF, from 1

    def cite(self, offset: int = 0) -> str:
        """File and page, or file and line, of a place in the text."""
        if self.page:
            return f"{self.path}, page {self.page}"
        before = [line for start, line in self.marks if start <= offset]
        return f"{self.path}:{before[-1] if before else self.line}"


class Reader:
    """Reads what there is to read in some places, within limits."""

    def __init__(self, patience: float = PATIENCE, documents: int = MAX_DOCUMENTS) -> None:
        self.passages: list[Passage] = []
        self.files = 0
        self.left_out = ""  # what was, and why
        self.unread: list[str] = []  # documents that cannot be read, and why
        self._patience = patience
        self._documents = documents
        self._deadline = 0.0
        self._bytes = 0
        self._found: list[tuple[Place, str]] = []  # documents, and their kinds

    async def read(self, places: list[Place]) -> None:
        """Takes the files of some folders in. Raises ToolError or Denied if there is no such place.

        What is not text, or cannot be read, is left out.
        """
        self._deadline = monotonic() + self._patience
        await asyncio.to_thread(self._read_texts, places)
        for number, (place, kind) in enumerate(self._found):
            if self._is_over():
                break
            if number == self._documents:
                self.left_out = "there are more documents than one search reads; grant fewer"
                break
            await self._extract(place, kind)

    def _read_texts(self, places: list[Place]) -> None:
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
            self._found.append((place, kind))
            return
        encoding = text.detect(data[: text.SNIFF])
        if encoding is None:
            return
        self.files += 1
        self._bytes += len(data)
        self._add(place, data.decode(encoding, "replace"))

    async def _extract(self, place: Place, kind: str) -> None:
        """Takes the text of a PDF, Word or HTML file in."""
        try:
            with await asyncio.to_thread(place.open) as file:
                document = await documents.extract(file, kind, place.path)
        except (ToolError, OSError) as error:
            self.unread.append(str(error))
            return
        self.files += 1
        self._add(place, f"{document.title}\n\n{document.text}", pages=kind == "pdf")

    def _add(self, place: Place, content: str, *, pages: bool = False) -> None:
        path = "/".join(map(shown, place.path.split("/")))
        page = 0
        for line, lines in pieces_of(content):
            words = " ".join(lines)
            mark = PAGE.match(words) if pages else None
            if mark is not None:
                page = int(mark[1])
            if rest := words[mark.end() :].lstrip() if mark is not None else words:
                self.passages.append(Passage(path, rest, line, _marks(line, lines), page))

    def _is_over(self) -> bool:
        if monotonic() > self._deadline:
            self.left_out = f"stopped after {self._patience:g} s; grant a smaller folder"
        elif self._bytes > MAX_READ or len(self.passages) > MAX_PASSAGES:
            self.left_out = "stopped: there is more text than one search reads"
        return bool(self.left_out)

    def best(self, query: str, limit: int) -> list[Passage]:
        """The passages that say most about the query, the best first."""
        words = [stems(passage.text) for passage in self.passages]
        return [self.passages[at] for at in best(query, words, limit)]


def _marks(first: int, lines: list[str]) -> tuple[tuple[int, int], ...]:
    starts = accumulate(len(line) + 1 for line in lines[:-1])
    return tuple((start, first + n) for n, start in enumerate(starts, 1))
