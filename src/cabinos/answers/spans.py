"""Sentences, and the spans of them that could be an answer.

There is no parser here: a span is a run of words that does not reach across punctuation and neither
begins nor ends with a function word. What kind of thing it is shows in its letters and figures.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from cabinos.drivers.ranking import STOP, stem, stems

__all__ = ["Sentence", "Span", "sentences", "spans"]

# An end of a sentence: not after an initial, nor after what is usually abbreviated.
END = re.compile(
    r"(?<!\b[A-Z]\.)(?<!\b(?:Dr|Mr|Ms|St|vs|cf|No)\.)(?<!\b(?:Mrs|Rev|Gen|Col|e\.g|i\.e|etc|Vol|Fig)"
    r"\.)(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[A-Z\d])|\n"
)
TOKEN = re.compile(
    r"[$£€]?\d+(?:,\d{3})*(?:\.\d+)?(?:%|[^\W_]+)?|[^\W\d_]\.(?:[^\W\d_]\.)+|"
    r"[^\W_]+(?:['’-][^\W_]+)*"
)
LONGEST = 8  # words of a span
MOST = 120  # words of a sentence that are looked at

FUNCTION = STOP | frozenset(
    "also although among another because before after between both during each either even "
    "however including into like many more most much new only other over same several since some "
    "such through though under until upon very while within without yet still just often later "
    "when where who whom whose which that than then there here".split()
)
VERBS = frozenset(
    "is was are were be been being became become becomes made make makes led lead leads won win "
    "used use uses found finds called known built began begin begins said says took take takes "
    "gave give gives went go goes came come comes held hold holds wrote written included include "
    "includes had has have did does do can could may might must shall should will would moved "
    "remained remain stated states argued showed shows formed forms created creates played plays "
    "served serves allowed allows caused causes described died born established founded grew "
    "occurs occurred published received released required requires started stands won".split()
)
MONTHS = frozenset(
    "january february march april may june july august september october november december "
    "spring summer autumn winter monday tuesday wednesday thursday friday saturday sunday".split()
)
NUMERALS = frozenset(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion "
    "trillion half third quarter dozen first second fourth fifth".split()
)
YEAR = re.compile(r"(?:1\d{3}|20\d\d)(?:s)?$")
ERA = frozenset("bc ad bce ce century centuries decade year years".split())


@dataclass(frozen=True)
class Token:
    """A word and where it stands."""

    text: str
    start: int
    end: int

    @cached_property
    def lower(self) -> str:
        """In lower case."""
        return self.text.lower()

    @cached_property
    def stem(self) -> str:
        """Without its endings."""
        return stem(self.lower.replace("\u2019", "'"))

    @cached_property
    def plain(self) -> bool:
        """Whether it is a function word or a frequent verb: no part of a name or a thing."""
        return not self.date and (self.lower in FUNCTION or self.lower in VERBS)

    @cached_property
    def capital(self) -> bool:
        """Whether it begins with a capital letter."""
        return self.text[0].isupper()

    @cached_property
    def figure(self) -> bool:
        """Whether it is a number, in figures or in words."""
        return any(c.isdigit() for c in self.text) or self.lower in NUMERALS

    @cached_property
    def date(self) -> bool:
        """Whether it belongs to a date."""
        capital = self.lower != "may" or self.capital
        return bool(YEAR.match(self.text)) or (self.lower in MONTHS and capital)


@dataclass(frozen=True)
class Sentence:
    """A sentence of a passage, with its words."""

    text: str
    start: int  # in its passage
    tokens: tuple[Token, ...]

    @cached_property
    def stems(self) -> frozenset[str]:
        """The stems of its content words."""
        return frozenset(stems(self.text))


@dataclass(frozen=True, slots=True)
class Span:
    """Words of a sentence, from `first` up to and without `last`."""

    sentence: Sentence
    first: int
    last: int

    @property
    def tokens(self) -> tuple[Token, ...]:
        """Its words."""
        return self.sentence.tokens[self.first : self.last]

    @property
    def text(self) -> str:
        """As it stands in the sentence."""
        tokens = self.sentence.tokens
        return self.sentence.text[tokens[self.first].start : tokens[self.last - 1].end]

    @property
    def shape(self) -> str:
        """date, number, name or common: what kind of thing it looks like."""
        tokens = self.tokens
        if any(t.date for t in tokens) or (
            any(t.figure for t in tokens) and any(t.lower in ERA for t in tokens)
        ):
            return "date"
        if any(t.figure for t in tokens):
            return "number"
        content = [t for t in tokens if t.lower not in FUNCTION]
        if content and all(t.capital for t in content) and (self.first > 0 or len(content) > 1):
            return "name"
        return "common"


def sentences(passage: str) -> Iterator[Sentence]:
    """The sentences of a passage, in order."""
    start = 0
    for match in END.finditer(passage):
        yield from _sentence(passage, start, match.start())
        start = match.end()
    yield from _sentence(passage, start, len(passage))


def _sentence(passage: str, start: int, end: int) -> Iterator[Sentence]:
    raw = passage[start:end]
    text = raw.strip()
    if text:
        found = [Token(m[0], m.start(), m.end()) for m in TOKEN.finditer(text)][:MOST]
        if found:
            yield Sentence(text, start + raw.index(text), tuple(found))


def spans(sentence: Sentence) -> Iterator[Span]:
    """What could be an answer."""
    tokens = sentence.tokens
    for first, token in enumerate(tokens):
        if token.plain:
            continue
        for last in range(first + 1, min(first + LONGEST, len(tokens)) + 1):
            if last - first > 1 and _parted(sentence, last - 1):
                break
            end = tokens[last - 1]
            if end.lower in VERBS and not end.date:
                break
            if not end.plain:
                yield Span(sentence, first, last)


def _parted(sentence: Sentence, at: int) -> bool:
    """Whether punctuation that no name or number has stands before a word."""
    before, after = sentence.tokens[at - 1], sentence.tokens[at]
    gap = sentence.text[before.end : after.start]
    if gap.strip() == ",":  # May 8, 1945
        return not (before.figure and YEAR.match(after.text))
    return bool(gap.strip(" .\"'“”‘’&/")) or (gap.strip() == "." and len(before.text) > 3)
