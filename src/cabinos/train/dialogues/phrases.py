"""A small language for the many ways to say one thing.

    [a|b]      one of them        (please )     there or not        {x}     the value of x

`Phrase("(could you )[add|put] {thing} [on|to] my list")` says it once, with the wording drawn from
a seeded generator. What the user would type by hand is roughened: cases, punctuation, a slip of the
finger. Values are not touched, because a call has to copy them.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

__all__ = ["fill", "roughen", "say", "sections"]

TOKEN = re.compile(r"[\[\]()|]|\{\w+\}|[^\[\]()|{}]+")
SLIP = 0.06  # share of utterances with one
NEIGHBOURS = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj",
    "i": "uo", "j": "hk", "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o",
    "q": "w", "r": "et", "s": "ad", "t": "ry", "u": "yi", "v": "cb", "w": "qe", "x": "zc",
    "y": "tu", "z": "x",
}  # fmt: skip


def say(rng: Random, pattern: str, **values: object) -> str:
    """`pattern` with its choices made and roughened, and then its values filled in.

    Raises ValueError for a pattern that is not well formed, KeyError for a value that is missing.
    """
    return fill(roughen(rng, _choose(rng, pattern)), values)


def fill(text: str, values: Mapping[str, object]) -> str:
    """`{x}` replaced by the value of x."""
    return re.sub(r"\{(\w+)\}", lambda found: str(values[found[1]]), text)


def roughen(rng: Random, text: str) -> str:
    """As people type: often in lower case, without the full stop, now and then with a slip."""
    if rng.random() < 0.6:
        text = "".join(p if p.startswith("{") else p.lower() for p in _parts(text))
    if rng.random() < 0.6:
        text = text.rstrip("?.!")
    if rng.random() < SLIP:
        parts = _parts(text)
        plain = [n for n, part in enumerate(parts) if not part.startswith("{") and len(part) > 4]
        if plain:
            n = rng.choice(plain)
            parts[n] = _slip(rng, parts[n])
            text = "".join(parts)
    return " ".join(text.split())


def sections(path: Path) -> Iterator[tuple[str, str]]:
    """The phrases of a file, one a line, each with the last `# heading` above it.

    The first line says what the file is.
    """
    heading = ""
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        if line.startswith("# "):
            heading = line[2:]
        else:
            yield heading, line


def _parts(text: str) -> list[str]:
    return [part for part in re.split(r"(\{\w+\})", text) if part]


def _slip(rng: Random, text: str) -> str:
    at = rng.randrange(1, len(text) - 1)
    if not text[at : at + 2].isalpha():
        return text
    kind = rng.randrange(4)
    if kind == 0:
        return text[:at] + text[at + 1 :]
    if kind == 1:
        return text[:at] + text[at] + text[at:]
    if kind == 2:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text[:at] + rng.choice(NEIGHBOURS.get(text[at].lower(), text[at])) + text[at + 1 :]


def _choose(rng: Random, pattern: str) -> str:
    tokens = TOKEN.findall(pattern)
    if "".join(tokens) != pattern:
        raise ValueError(f"not a phrase: {pattern!r}")
    text, end = _sequence(rng, tokens, 0)
    if end != len(tokens):
        raise ValueError(f"not a phrase: {pattern!r} has a bracket too many")
    return text


def _sequence(rng: Random, tokens: list[str], at: int) -> tuple[str, int]:
    """One of the alternatives from part `at` to the bracket that closes them, or to the end."""
    alternatives, current = [], ""
    while at < len(tokens) and tokens[at] not in ")]":
        part = tokens[at]
        if part in "([":
            inner, at = _sequence(rng, tokens, at + 1)
            if at == len(tokens) or tokens[at] != {"(": ")", "[": "]"}[part]:
                raise ValueError("a bracket is not closed")
            current += "" if part == "(" and rng.random() < 0.5 else inner
        elif part == "|":
            alternatives.append(current)
            current = ""
        else:
            current += part
        at += 1
    return rng.choice([*alternatives, current]), at
