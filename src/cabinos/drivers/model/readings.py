"""What of a text a device can read: the times, places, units and sums in it, as they stand there.

The grammar of a small model's calls offers these for the parameters that are marked `x-copy`, so
that a call says "tomorrow at 5pm" and not "tomorrow". Where there is nothing of the kind in what
was said, it is left to the model.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from cabinos.drivers.arithmetic import Apply, Node
from cabinos.drivers.arithmetic import parse as parse_arithmetic
from cabinos.drivers.model.statements import lists
from cabinos.drivers.numerals import is_number
from cabinos.drivers.units import is_unit
from cabinos.drivers.when import parse as parse_time
from cabinos.drivers.zones import is_zone
from cabinos.kernel.errors import InvalidArguments, ToolError

__all__ = ["of_memory", "readable"]

WORDS = 60  # of a text, the last ones, that are looked at
LONGEST = 14  # words of a reading
EDGES = "\"'`,;:!?."
WORD = re.compile(r"\S+")
UNIT_WORD = re.compile(r"[^\W\d_]+(?:/[^\W\d_]+)*[²³]?|[°µ][^\W\d_]+|[^\w\s]|\d+(?:[.,]\d+)*")
FILE = re.compile(r"(?:[\w.-]+/)*[\w.-]*\w\.\w{1,5}")
PATTERN = re.compile(r"(?:[\w.*-]+/)*[\w.*-]*[\w*]\.\w{1,5}")
FIGURE = re.compile(r"\d+(?:[.,]\d+)*")
BEFORE_TIME = re.compile(
    r"^(?:for|at|in|of|on|by|until|till|til|to|from|this|an?) (?!ago)", re.IGNORECASE
)
BEFORE = frozenset("on at in for by to of the a and from".split())
# What somebody may have told before: of the speaker, or of whoever has a name.
MEMORY = re.compile(
    r"\b(?:i|i'm|i've|me|my|mine|we|us|our|ours)\b|"
    r"\b(?:pass(?:word|code)|code|pin|combination|birthday|anniversary|username|wi-?fi)\b|"
    r"\b(?:remember|recall|memory|note[sd]?|told|tell you|mention(?:ed)?|for(?:get|got))\b|"
    r"(?!\b(?:what|who|where|when|how|that|it|there|let|here|he|she)'s)\b\w+'s\b|"
    r"\b(?:does|did|is|was|has) (?!(?:the|an?|it|this|that|there|he|she|one|any|some)\b)[a-z]+ \w|"
    r"(?<=[a-z,] )(?-i:[A-Z][a-z]+)",
    re.IGNORECASE,
)
SOME_DAY = datetime(2026, 11, 24, 12, tzinfo=UTC)  # whether a time can be read depends on no day


def readable(kind: str, texts: Sequence[str]) -> list[str]:
    """The longest parts of the texts that are a `kind`, each once; none for an unknown kind.

    "time": then those again without the preposition before them, as in "for 20 minutes".
    "arithmetic": only what has all the numbers of its text. "counted unit": the units with a number
    before them, "other unit": those without; both are all units where one would be none.
    """
    if kind == "list":
        return lists(texts)
    if kind in ("counted unit", "other unit"):
        return _units(kind, "\n".join(texts))
    if kind not in READERS:
        return []
    parts = list(dict.fromkeys(part for text in texts for part in _parts(kind, text)))
    if kind == "time":
        bare = [BEFORE_TIME.sub("", part) for part in parts]
        return list(dict.fromkeys([*parts, *(part for part in bare if READERS[kind](part))]))
    if kind == "arithmetic":
        numbers = sum(len(FIGURE.findall(text)) for text in texts)
        return [part for part in parts if len(FIGURE.findall(part)) == numbers]
    return parts


def of_memory(text: str) -> bool:
    """Whether it can be a question about what was told before."""
    return MEMORY.search(text.replace("\u2019", "'")) is not None


@lru_cache(256)
def _parts(kind: str, text: str) -> tuple[str, ...]:
    """The longest first, and none that overlaps one before; in the order of the text."""
    read = READERS[kind]
    spans = [match.span() for match in WORD.finditer(text)][-WORDS:]
    found: list[tuple[int, int, str]] = []
    for first, (start, _) in enumerate(spans):
        for _, end in reversed(spans[first : first + LONGEST]):
            part = text[start:end].strip(EDGES)
            if part and (reading := read(part)):
                part = _shortened(part, reading, read) if kind == "arithmetic" else part
                found.append((start, end, part))
                break
    chosen: list[tuple[int, int, str]] = []
    for start, end, part in sorted(found, key=lambda span: span[0] - span[1]):
        if all(end <= other[0] or other[1] <= start for other in chosen):
            chosen.append((start, end, part))
    return tuple(part for *_, part in sorted(chosen))


@lru_cache(256)
def _units(kind: str, text: str) -> list[str]:
    words = [match[0] for match in UNIT_WORD.finditer(text)][-WORDS:]
    found: dict[str, bool] = {}  # whether a number stands before it
    at = 0
    while at < len(words):
        size = next((n for n in (3, 2, 1) if is_unit(" ".join(words[at : at + n]))), 0)
        if size:
            unit = " ".join(words[at : at + size])
            before = words[at - 1].lower() if at else ""
            found[unit] = found.get(unit, False) or before in ("a", "an") or is_number(before)
        at += size or 1
    if len(found) > 2 and not found.get("in", True):
        del found["in"]  # hardly an inch
    if len(found) < 2:
        return []
    chosen = [unit for unit, counted in found.items() if counted == (kind == "counted unit")]
    return chosen if 0 < len(chosen) < len(found) else list(found)


def _shortened(part: str, reading: object, read: Callable[[str], object]) -> str:
    """Without words at its ends that change nothing of what is read."""
    cuts: tuple[Callable[[str], str], ...] = (
        lambda text: text.partition(" ")[2],
        lambda text: text.rpartition(" ")[0],
    )
    for cut in cuts:
        while (less := cut(part).strip(EDGES)) and read(less) == reading:
            part = less
    return part


def _reads(parse: Callable[[str], object]) -> Callable[[str], object]:
    """What is read, or None."""

    def read(part: str) -> object:
        try:
            return parse(part)
        except (InvalidArguments, ToolError, OverflowError, RecursionError):
            return None

    return read


def _time(part: str) -> object:
    """A time that neither ends in a preposition nor begins with two."""
    words = part.lower().split()
    loose = words[-1] in BEFORE or (len(words) > 1 and {words[0], words[1]} <= BEFORE)
    return None if loose else parse_time(part, SOME_DAY)


def _sum(part: str) -> Node | None:
    """The tree of what is more than a number."""
    tree = parse_arithmetic(part)
    return (
        tree if isinstance(tree, Apply) and tree.operation not in ("percent", "negative") else None
    )


READERS: dict[str, Callable[[str], object]] = {
    "arithmetic": _reads(_sum),
    "file": FILE.fullmatch,
    "pattern": PATTERN.fullmatch,
    "time": _reads(_time),
    "zone": lambda part: "," not in part and is_zone(part),
}
