"""What a question asks for: the kind of its answer, and the words that should stand around it."""

import re
from dataclasses import dataclass
from typing import Literal

from cabinos.drivers.ranking import stem, stems

__all__ = ["KINDS", "Kind", "Question", "is_question", "read_question"]

Kind = Literal["person", "time", "place", "number", "reason", "name", "thing"]
KINDS: tuple[Kind, ...] = ("person", "time", "place", "number", "reason", "name", "thing")

WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
# What follows "what" or "which" and says which kind of thing the answer is.
FOCUS: dict[Kind, frozenset[str]] = {
    "time": frozenset("year years date day days month decade century time era season".split()),
    "place": frozenset(
        "city country state town continent region place location area province county village "
        "district island street building neighborhood neighbourhood".split()
    ),
    "number": frozenset(
        "number percentage percent amount population age temperature height length cost price "
        "distance speed rate size weight depth width fraction proportion share".split()
    ),
    "person": frozenset(
        "person man woman author president king queen scientist artist leader emperor inventor "
        "founder composer writer actor director engineer pope general philosopher".split()
    ),
    "name": frozenset(
        "company organization organisation university school team party river mountain book film "
        "movie song language religion war battle treaty group band agency newspaper magazine "
        "character name".split()
    ),
}
SIZES = frozenset(
    "many much long far tall high old large big deep wide fast often heavy hot cold thick quickly "
    "soon late early".split()
)
ASKING = frozenset("who whom whose when where why how what which".split())
COUNTED = frozenset((stem("many"), stem("much")))  # say what is asked for, not about what


@dataclass(frozen=True, slots=True)
class Question:
    """What is known of a question before anything is read."""

    text: str
    kind: Kind
    stems: tuple[str, ...]  # of its content words, in order
    focus: frozenset[str]  # stems of what the answer is called: "year", "kind of soil"
    whole: bool = False  # a few words are no answer to it: why, how, tell me about …


def read_question(text: str) -> Question:
    """Reads a question."""
    words = [word.lower() for word in WORD.findall(text.replace("’", "'"))]
    kind, focus = _kind(words)
    whole = kind == "reason" or (kind == "thing" and not {"what", "which"} & set(words))
    content = tuple(word for word in stems(text) if word not in COUNTED)
    return Question(text, kind, content, frozenset(map(stem, focus)), whole)


def is_question(text: str) -> bool:
    """Whether a text asks something, and is no list of words to look for."""
    first = WORD.search(text.lower().replace("’", "'"))
    return text.rstrip().endswith("?") or (
        first is not None and first[0].partition("'")[0] in ASKING
    )


def _kind(words: list[str]) -> tuple[Kind, list[str]]:
    """The kind, and the words that name what is asked for."""
    for at, word in enumerate(words):
        after = words[at + 1 :]
        match word.partition("'")[0]:
            case "who" | "whom" | "whose":
                return "person", []
            case "when":
                return "time", []
            case "where":
                return "place", []
            case "why":
                return "reason", []
            case "how" if after and after[0] in SIZES:
                counted = [w for w in after[1:3] if stems(w)][:1] if after[0] == "many" else []
                return "number", counted
            case "what" | "which":
                return _named(after)
    return "thing", []


def _named(after: list[str]) -> tuple[Kind, list[str]]:
    """Of "what" or "which": the noun that follows, which is at the end of its group."""
    group: list[str] = []
    for word in after[:5]:
        if word in VERBS:
            break
        if stems(word):
            group.append(word)
    for word in group[:3]:
        for kind, nouns in FOCUS.items():
            if word in nouns:
                return kind, group[:3]
    copula = bool(after) and after[0] in ("is", "was", "are", "were")
    if copula and "name" in after[:3]:
        return "name", []
    return "thing", [] if copula else group[:2]


VERBS = frozenset(
    "is was are were do does did has have had can could will would should may might must been be "
    "became make made makes cause caused causes".split()
)
