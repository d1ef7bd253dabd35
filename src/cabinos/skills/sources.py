"""Sources, and quotes that are held to them, word for word.

A source is a file of the skill: a head that says what it is an excerpt of, then the text itself,
under headings. A quote is right if it stands in the source exactly, from the beginning of a word to
the end of one. Only white space is forgiven, since lines are wrapped anew; a changed letter, digit,
comma or case is not.
"""

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from pathlib import Path

from cabinos.skills.errors import SkillError
from cabinos.skills.folder import Folder
from cabinos.skills.frontmatter import split

__all__ = ["LEAST_QUOTE", "SOURCES", "Place", "Source", "read_sources"]

SOURCES = "sources"
REQUIRED = ("title", "license")  # of a head; the others may be unknown
LEAST_QUOTE = 20  # characters: of anything shorter, finding it proves little
SPACE = re.compile(r"\s+")
# What a quote must not cut in two: a word or number with all that belongs to it, as in "non-human",
# "don't", "43.4%" or "-5".
WHOLE = re.compile(r"(?:(?<![\w)])[-−+$€£])?[^\W_]+(?:[-.,:'’/_][^\W_]+)*[%°]?")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a source a quote stands."""

    line: int
    heading: str  # the last one before it, or ""


@dataclass(slots=True)
class Source:
    """A text that is quoted."""

    id: str  # the file's name without its ending
    path: Path
    title: str
    license: str
    authors: str = ""
    year: str = ""
    url: str = ""
    text: str = ""
    first_line: int = 1
    _flat: str = field(default="", repr=False)  # the text with single spaces
    _starts: list[int] = field(default_factory=list, repr=False)  # of each line in it
    _wholes: list[tuple[int, int]] = field(default_factory=list, repr=False)  # words in it

    def __post_init__(self) -> None:
        at = 0
        flat = []
        for line in self.text.splitlines():
            words = " ".join(SPACE.split(line.strip()))
            self._starts.append(at)
            if words:
                flat.append(words)
                at += len(words) + 1
        self._flat = " ".join(flat)
        self._wholes = [word.span() for word in WHOLE.finditer(self._flat)]

    def find(self, quote: str) -> Place | None:
        """Where the quote stands, or None if it does not, word for word."""
        wanted = SPACE.sub(" ", quote).strip()
        at = self._flat.find(wanted) if wanted else -1
        while at >= 0:
            if not self._cuts(at) and not self._cuts(at + len(wanted)):
                return self._place(at)
            at = self._flat.find(wanted, at + 1)
        return None

    def _cuts(self, at: int) -> bool:
        """Whether a boundary here would divide a word or a number."""
        before = bisect_left(self._wholes, (at, 0)) - 1
        return before >= 0 and at < self._wholes[before][1]

    def _place(self, at: int) -> Place:
        row = bisect_right(self._starts, at) - 1
        heading = ""
        for line in self.text.splitlines()[: row + 1]:
            if line.startswith("#"):
                heading = line.lstrip("#").strip()
        return Place(self.first_line + row, heading)

    @property
    def cited(self) -> str:
        """Who, when and what, in a line."""
        who = f"{self.authors}, " if self.authors else ""
        when = f" ({self.year})" if self.year else ""
        return f"{who}“{self.title}”{when}"


def read_sources(folder: Folder) -> dict[str, Source]:
    """The sources of a skill by their ids. Raises SkillError, naming the file, if one is wrong."""
    found: dict[str, Source] = {}
    if not folder.has(SOURCES):
        return found
    for inner in folder.files(SOURCES, ".md"):
        path = folder.path / inner
        head, text, first = split(folder.text(inner), path)
        for key in REQUIRED:
            if not isinstance(head.get(key), str) or not head[key].strip():
                raise SkillError(f"the head must say the {key} of the source.", path, 2)
        known = {k: v for k, v in head.items() if isinstance(v, str)}
        name = Path(inner).stem
        if name in found:
            raise SkillError(f"there are two sources called {name!r}.", path)
        found[name] = Source(
            name,
            path,
            known["title"],
            known["license"],
            known.get("authors", ""),
            known.get("year", ""),
            known.get("url", ""),
            text,
            first,
        )
    return found
