"""Quotes, checked: what does not stand in its passage word for word is no quote."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cabinos.drivers.reader import Passage

__all__ = ["Answer", "Quote", "find_words", "of_brain"]

LEAST = 3  # characters of a quote
CITED = re.compile(r"(\s*)\[(\d{1,3})\]")
NO_QUOTE = "the brain's answer had no quote that stands in these documents, so it is not shown"


@dataclass(frozen=True, slots=True)
class Quote:
    """Words that stand in a document, and where."""

    words: str
    where: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the documents say to a question. Without quotes they do not hold the answer."""

    text: str
    quotes: tuple[Quote, ...] = ()
    confidence: float | None = None  # of an answer that was found without a brain
    note: str = ""  # what a person should know of it

    @property
    def found(self) -> bool:
        """Whether the documents hold it."""
        return bool(self.quotes)


def find_words(words: str, text: str) -> tuple[int, int] | None:
    """Where the words stand in a text, letter for letter but for the width of spaces.

    (beginning, end); None if they do not.
    """
    parts = words.split()
    if len("".join(parts)) < LEAST:
        return None
    found = re.search(r"\s+".join(map(re.escape, parts)), text)
    return found.span() if found else None


def of_brain(value: Mapping[str, Any], passages: Sequence[Passage]) -> Answer:
    """The answer that a brain gave as data (see `ask.SCHEMA`), with its quotes checked.

    Quotes are numbered in their order; a citation of one that did not hold is taken out.
    """
    text = " ".join(str(value.get("answer", "")).split())
    kept: list[Quote] = []
    numbers: dict[int, int] = {}  # of a passage → of its first quote
    wrong = 0
    for one in value.get("quotes", ()):
        number, words = int(one.get("passage", 0)), str(one.get("words", ""))
        passage = passages[number - 1] if 0 < number <= len(passages) else None
        place = find_words(words, passage.text) if passage is not None else None
        if passage is None or place is None:
            wrong += 1
            continue
        quote = Quote(passage.text[place[0] : place[1]], passage.cite(place[0]))
        if quote not in kept:
            kept.append(quote)
            numbers.setdefault(number, len(kept))
    if not value.get("found") or not text:
        return Answer("")
    if not kept:
        return Answer("", note=NO_QUOTE)

    def cited(match: re.Match[str]) -> str:
        number = numbers.get(int(match[2]))
        return "" if number is None else f"{match[1]}[{number}]"

    note = f"{wrong} of its quotes do not stand in their passages and are left out" if wrong else ""
    return Answer(CITED.sub(cited, text), tuple(kept), note=note)
