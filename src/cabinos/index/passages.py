"""Texts in passages: paragraphs under their headings, each with its line, its page if it has one.

A passage is as many whole paragraphs of one section as fit: long enough to say something by
itself, short enough to be quoted. The same cut serves Markdown, plain text, source code (whose
paragraphs are set apart by empty lines) and what is taken out of PDF, Word and HTML files.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from cabinos.index.index import Passage

__all__ = ["CODE", "passages_of"]

LENGTH = 900  # characters that a passage has at most, if no line is longer
HEADINGS = 120  # characters of the headings that a passage stands under
LINE = 10_000  # characters of a line; what is longer is cut into several
CODE = frozenset(
    ".bash .c .cc .cfg .cpp .cs .css .csv .go .h .hpp .ini .java .js .json .jsonl .jsx .kt .lua "
    ".mjs .php .pl .ps1 .py .pyi .r .rb .rs .scala .sh .sql .swift .toml .ts .tsx .xml .yaml .yml "
    ".zsh".split()
)
PAGE = re.compile(r"\[page (\d+)\]")
HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*$")
UNDERLINE = re.compile(r"(=+|-+|~+)$")
FENCE = re.compile(r"(```|~~~)")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # nothing that a text says


@dataclass(slots=True)
class _Cutter:
    """What is known at a line."""

    trail: list[tuple[int, str]] = field(default_factory=list)  # headings above, with their levels
    page: int = 0
    lines: list[str] = field(default_factory=list)  # of the passage that is open
    first: int = 1
    size: int = 0

    @property
    def heading(self) -> str:
        return " › ".join(title for _, title in self.trail)[-HEADINGS:]

    def close(self) -> Iterator[Passage]:
        """The open passage, if it says anything."""
        text = "\n".join(self.lines).strip("\n")
        if text.strip():
            yield Passage(text, self.heading, self.first, self.page)
        self.lines, self.size = [], 0

    def add(self, number: int, line: str) -> None:
        if not self.lines:
            self.first = number
        self.lines.append(line)
        self.size += len(line) + 1

    def enter(self, level: int, title: str) -> None:
        """A heading, which ends those of its level and below."""
        self.trail = [(above, name) for above, name in self.trail if above < level]
        self.trail.append((level, title[:HEADINGS]))


def passages_of(content: str, *, code: bool = False, pages: bool = False) -> Iterator[Passage]:
    """The passages of a text. `code`: `#` is no heading. `pages`: `[page N]` lines are marks."""
    cut = _Cutter()
    fenced = False
    lines = CONTROL.sub(" ", content.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
    blocks = _blocks(lines)
    for first, block in blocks:
        if pages and (mark := PAGE.fullmatch(block[0])):
            yield from cut.close()
            cut.page, block, first = int(mark[1]), block[1:], first + 1  # noqa: PLW2901
        if not block:
            continue
        if not code and not fenced and (title := _heading(block)):
            yield from cut.close()
            cut.enter(*title)
            skipped = 2 if not block[0].startswith("#") else 1
            block, first = block[skipped:], first + skipped  # noqa: PLW2901
        fenced ^= sum(bool(FENCE.match(line)) for line in block) % 2 == 1 and not code
        size = sum(map(len, block)) + len(block)
        if cut.lines and cut.size + size > LENGTH:
            yield from cut.close()
        elif cut.lines and block:
            cut.add(first - 1, "")
        for number, line in enumerate(block, first):
            for start in range(0, len(line) or 1, LINE):
                part = line[start : start + LINE]
                if cut.size + len(part) > LENGTH:
                    yield from cut.close()
                cut.add(number, part)
    yield from cut.close()


def _blocks(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, lines) of what stands between empty lines."""
    block: list[str] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            block.append(line.rstrip())
        elif block:
            yield number - len(block), block
            block = []
    if block:
        yield len(lines) + 1 - len(block), block


def _heading(block: list[str]) -> tuple[int, str] | None:
    """Level and text of the heading that a block begins with."""
    if found := HEADING.fullmatch(block[0].strip()):
        return (len(found[1]), found[2]) if found[2] else None
    if len(block) > 1 and UNDERLINE.fullmatch(block[1]) and len(block[1]) >= 3:
        return ("=-~".index(block[1][0]) + 1, block[0].strip())
    return None
