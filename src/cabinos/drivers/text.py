"""Bytes as text for a model: which encoding, which lines, and never more than fits."""

import codecs
import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import BinaryIO, TextIO

from cabinos.kernel.errors import ToolError

__all__ = ["LINE", "MAX_CHARACTERS", "Page", "decode", "detect", "head_and_tail", "read_page"]

LINE = 10_000  # characters; what is longer counts as several lines
MAX_CHARACTERS = 50_000  # of one page
PATIENCE = 10.0  # seconds for finding a place in a very long file
SNIFF = 8192  # bytes

# UTF-32 before UTF-16, whose mark is the beginning of it.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Page:
    """Some lines of a text, exactly as they are in it."""

    text: str
    first: int  # number of the first line, from 1
    count: int  # lines here
    more: bool  # lines follow
    encoding: str

    def noted(self) -> str:
        """The text, below a note of what a reader could not know from it."""
        notes = []
        if self.more or self.first > 1:
            last = self.first + self.count - 1
            follow = f"; more from offset={last + 1}" if self.more else ", the last"
            notes.append(f"lines {self.first} to {last}{follow}")
        if self.encoding == "latin-1":
            notes.append("not valid UTF-8, so read as latin-1")
        return f"[{'; '.join(notes)}]\n{self.text}" if notes else self.text


def detect(head: bytes) -> str | None:
    """The encoding that the beginning of a file speaks for, or None if it is not text."""
    for mark, encoding in MARKS:
        if head.startswith(mark):
            return encoding
    return None if b"\0" in head else "utf-8"


def decode(data: bytes, name: str, *, cut: bool = False) -> tuple[str, str]:
    """The text and the encoding. Raises ToolError, naming the file, if it is not text.

    `cut`: the data may end within a character, which is left out then.
    """
    encoding = detect(data[:SNIFF])
    if encoding is None or (b"\0" in data and encoding == "utf-8"):
        raise _not_text(name)
    try:
        return codecs.getincrementaldecoder(encoding)().decode(data, final=not cut), encoding
    except UnicodeDecodeError:
        if encoding != "utf-8":
            raise ToolError(f"{name}: begins like {encoding} but is not.") from None
        return data.decode("latin-1"), "latin-1"


def read_page(file: BinaryIO, name: str, offset: int, limit: int) -> Page:
    """`limit` lines from line `offset` on, or the last ones if it is negative.

    A page may come out shorter, so as to stay below MAX_CHARACTERS. Reads the file only as far as
    needed. Raises ToolError if it is not text, or has no such line.
    """
    encoding = detect(file.read(SNIFF))
    if encoding is None:
        raise _not_text(name)
    for attempt in (encoding, "latin-1"):
        file.seek(0)
        text = io.TextIOWrapper(file, encoding=attempt, newline="")
        try:
            return page_of(text, name, offset, limit, attempt)
        except UnicodeDecodeError:
            if encoding != "utf-8":
                raise ToolError(f"{name}: begins like {encoding} but is not.") from None
        finally:
            text.detach()
    raise _not_text(name)


def page_of(text: TextIO, name: str, offset: int, limit: int, encoding: str) -> Page:
    """A page of an open text; see `read_page`."""
    lines = _lines(text, name)
    if offset < 0:
        last: deque[tuple[int, str]] = deque(lines, maxlen=-offset)
        lines = iter(last)
        offset = last[0][0] if last else 1
    chosen: list[str] = []
    size, number = 0, 0
    for number, line in lines:
        if number < offset:
            continue
        if len(chosen) == limit or size + len(line) > MAX_CHARACTERS:
            return Page("".join(chosen), offset, len(chosen), True, encoding)
        chosen.append(line)
        size += len(line)
    if not chosen and offset > 1:
        raise ToolError(f"{name} has {number} lines; there is no line {offset}.")
    return Page("".join(chosen), offset, len(chosen), False, encoding)


def _lines(text: TextIO, name: str) -> Iterator[tuple[int, str]]:
    deadline = monotonic() + PATIENCE
    for number, line in enumerate(iter(lambda: text.readline(LINE), ""), 1):
        if number % 1024 == 0 and monotonic() > deadline:
            raise ToolError(f"{name} is too long: only {number} lines were read in {PATIENCE:g} s.")
        yield number, line


def _not_text(name: str) -> ToolError:
    return ToolError(f"{name} is a binary file, not text.")


def head_and_tail(text: str, limit: int) -> str:
    """The text if it has at most `limit` characters; else its two ends and how much is left out."""
    if len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, limit - limit * 2 // 3
    left_out = len(text) - head - tail
    return f"{text[:head]}\n[… {left_out:,} characters left out …]\n{text[-tail:]}"
