"""An answer that untrusted text may have had a part in, on its way to a person.

A process that has read what nobody vouches for may say what that told it to. So its answer is taken
as somebody else's words: links, images and markup become text, hidden characters go, and whatever
stands word for word in what was read is marked as a quotation of it. It works on words as they
come, and what it makes of a text does not depend on the pieces in which that comes.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from cabinos.render.characters import clean
from cabinos.render.inert import inert

__all__ = ["Origin", "Piece", "Quote", "Rendering", "joined", "quotes", "rendered"]

QUOTED = 32  # characters in a row, spaces not counted, that make a quotation: about six words
MAX_WORD = 2_000  # characters; what is longer is taken as several words
MOST_READ = 300_000  # characters of what was read in which quotations are looked for


@dataclass(frozen=True, slots=True)
class Origin:
    """What an answer may be made of."""

    sources: tuple[str, ...] = ()  # names of what was read: files_read:docs/a.txt
    known: frozenset[str] = frozenset()  # addresses that were typed: they stay as they are
    read: tuple[tuple[str, str], ...] = ()  # (source, text) of what was read, the latest first


@dataclass(frozen=True, slots=True)
class Piece:
    """A word, or a space between two."""

    raw: str  # as the model wrote it
    shown: str
    source: str = ""  # what it is quoted from


@dataclass(frozen=True, slots=True)
class Quote:
    """A part of a text, from `start` to before `end`, that stands in what was read."""

    start: int
    end: int
    source: str


@dataclass(slots=True)
class _Word:
    raw: str
    solid: int  # characters that count
    source: str = ""


@dataclass(slots=True)
class _Read:
    """All that was read, without spaces and capitals, to look for quotations in."""

    text: str = ""
    starts: list[int] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, read: Sequence[tuple[str, str]]) -> "_Read":
        made, parts, length = cls(), [], 0
        for source, text in read:
            solid = "".join(clean(text[: MOST_READ - length]).split()).casefold()
            made.starts.append(length)
            made.sources.append(source)
            parts.append(solid + "\n")
            length += len(solid) + 1
            if length >= MOST_READ:
                break
        made.text = "".join(parts)
        return made

    def source(self, at: int) -> str:
        """Whose text holds the place."""
        return self.sources[bisect_right(self.starts, at) - 1]


class Rendering:
    """Takes a text in pieces and gives it as words to be shown."""

    def __init__(self, origin: Origin) -> None:
        self._known = origin.known
        self._read = _Read.of(origin.read)
        self._delay = QUOTED if self._read.text else 0
        self._word = ""  # that may go on
        self._held: deque[_Word] = deque()  # of which may yet be found that it is quoted
        self._held_solid = 0
        self._window = ""  # the last characters that count
        self._match = -1  # where they stand in what was read
        self._begins = True  # a line
        self._fence = False  # a block of code

    def push(self, text: str) -> list[Piece]:
        """The next piece of the text; returns what is ready."""
        for character in text:
            if not character.isspace():
                self._word += character
                if len(self._word) == MAX_WORD:
                    self._end_word()
            else:
                self._end_word()
                self._held.append(_Word(character, 0))
        return list(self._ready(self._delay))

    def close(self) -> list[Piece]:
        """The rest; afterwards another text may begin."""
        self._end_word()
        pieces = list(self._ready(0))
        self._window, self._match = "", -1
        return pieces

    def _end_word(self) -> None:
        if not self._word:
            return
        raw, self._word = self._word, ""
        solid = "".join(clean(raw).split()).casefold()
        self._held.append(_Word(raw, len(solid)))
        self._held_solid += len(solid)
        if self._read.text:
            for at, character in enumerate(solid, 1):
                self._look(character, len(solid) - at)

    def _look(self, character: str, rest: int) -> None:
        """Whether what ends with this character is quoted; `rest` of its word follow it."""
        read = self._read.text
        self._window = (self._window + character)[-QUOTED:]
        if len(self._window) < QUOTED:
            return
        next_ = self._match + QUOTED
        if self._match >= 0 and read[next_ : next_ + 1] == character:
            self._match += 1
        else:
            self._match = read.find(self._window)
        if self._match < 0:
            return
        source, left = self._read.source(self._match), QUOTED + rest
        for word in reversed(self._held):
            if left <= 0:
                break
            word.source = word.source or source
            left -= word.solid

    def _ready(self, delay: int) -> Iterator[Piece]:
        while self._held:
            word = self._held[0]
            if delay and self._held_solid - word.solid < delay:
                return
            self._held.popleft()
            self._held_solid -= word.solid
            yield Piece(word.raw, self._shown(word.raw), word.source)

    def _shown(self, raw: str) -> str:
        begins = self._begins
        self._begins = raw in "\n\r" or (begins and raw.isspace())
        word = clean(raw)
        if raw.isspace():
            return word
        if begins and word.startswith("```"):
            self._fence = not self._fence
        cut = " " if len(raw) == MAX_WORD else ""  # nothing may be alive across the cut
        return inert(word, self._known, code=self._fence) + cut


def rendered(text: str, origin: Origin) -> tuple[str, list[Quote]]:
    """A whole text as it is to be shown, and the quotations in that."""
    rendering = Rendering(origin)
    pieces = rendering.push(text) + rendering.close()
    return "".join(piece.shown for piece in pieces), joined((p.shown, p.source) for p in pieces)


def quotes(text: str, origin: Origin) -> list[Quote]:
    """The quotations in a text as it is."""
    rendering = Rendering(origin)
    return joined((p.raw, p.source) for p in rendering.push(text) + rendering.close())


def joined(parts: Iterable[tuple[str, str]]) -> list[Quote]:
    """Of (word or space, source): words in a row with one source as one quotation."""
    found: list[Quote] = []
    at, open_ = 0, False
    for text, source in parts:
        end = at + len(text)
        if source and not text.isspace():
            if open_ and found[-1].source == source:
                found[-1] = Quote(found[-1].start, end, source)
            else:
                found.append(Quote(at, end, source))
            open_ = True
        elif not source:
            open_ = False
        at = end
    return found
