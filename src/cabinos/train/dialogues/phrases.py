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

__all__ = ["Liberal", "fill", "reworded", "roughen", "say", "sections"]

TOKEN = re.compile(r"[\[\]()|]|\{\w+\}|[^\[\]()|{}]+")
SLIP = 0.06  # share of utterances with one
NEIGHBOURS = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj",
    "i": "uo", "j": "hk", "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o",
    "q": "w", "r": "et", "s": "ad", "t": "ry", "u": "yi", "v": "cb", "w": "qe", "x": "zc",
    "y": "tu", "z": "x",
}  # fmt: skip

# Other words for the same, wherever they stand in what is asked of an assistant.
SAME: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(rf"(?<![\w{{'-]){words}(?![\w}}'-])"), others)
    for words, others in (
        ("show me", ("give me", "let me see", "pull up", "bring up", "i want to see", "display")),
        ("(?:can|could|would|will) you", ("can u", "would you mind to", "are you able to",
         "i want you to", "i'd like you to", "you can", "could u")),
        ("(?:what is|what's|whats)", ("tell me", "what would be", "wanna know", "what are")),
        ("tell me", ("say", "i want to know", "inform me", "do you happen to know")),
        ("how much is", ("what is", "how much would be", "what do you get for")),
        ("how many", ("what number of", "count of", "how much")),
        ("(?:delete|remove|erase|drop|scrap)", ("wipe", "take out", "throw out", "get rid of",
         "lose", "ditch", "kick out", "strike out", "discard")),
        ("(?:cancel|stop|end|kill)", ("call off", "abort", "quit", "halt", "undo", "dismiss")),
        (r"(?:add|put) (?=\{x\})", ("note ", "throw ", "place ", "jot ", "write ", "slap ")),
        ("set an?", ("start a", "make a", "get me a", "begin a", "activate a", "run a")),
        ("set (?:a )?reminder", ("make a reminder", "leave me a reminder", "schedule a reminder")),
        ("remind me to", ("ping me to", "tell me to", "alert me to", "prompt me to",
         "send me a reminder to", "get me to")),
        ("remember that", ("memorize that", "hold on to this:", "keep this:", "know that",
         "be aware that", "file away that", "retain that", "log this:")),
        ("(?:calculate|compute|work out|figure out)", ("determine", "get", "do", "crunch",
         "find out", "reckon", "count up")),
        ("convert", ("change", "switch", "transform", "express", "put")),
        ("(?:find|look for|search for)", ("hunt for", "seek", "spot", "track down", "get hold of")),
        ("(?:plot|draw|graph)", ("sketch", "chart", "picture", "visualize", "paint", "display")),
        ("(?:pick|choose)", ("select", "decide on", "settle on", "draw", "opt for")),
        ("(?:create|make) a", ("start a", "produce a", "set up a", "generate a", "prepare a")),
        ("i need", ("i want", "gimme", "i could use", "i'm after", "i would like")),
        ("do you know", ("have you any idea", "any clue", "could you say", "are you aware")),
        ("until", ("before", "till", "up to", "til")),
        ("(?:turn|switch)", ("flip", "put", "set", "shut", "power")),
        ("play", ("put on", "start", "blast", "queue up", "stream")),
        ("(?:book|reserve|order)", ("arrange", "get", "organize", "sort out", "fix up")),
        ("(?:open|read)", ("look into", "go through", "peek at", "view", "have a look at")),
        ("please", ("kindly", "pls", "plz", "if you can", "be so kind")),
        ("no longer need", ("don't want", "am done with", "have no use for")),
    )
)  # fmt: skip
LEFT_OUT = re.compile(r"(?<![\w{'-])(?:the|an?|my|please|me|is|are|do|of)(?![\w}'-]) ")
OPENINGS = ("hey ", "ok so ", "right, ", "um ", "quick: ", "actually ", "yo ", "listen, ",
            "i was thinking, ", "hello, ", "question: ", "my dear cabin, ", "hmm, ")  # fmt: skip
CLOSINGS = (" for me", " pls", " thx", " now", " asap", " if possible", " real quick", " then",
            " when you can", ", ok", ", will you", " my friend", " right away")  # fmt: skip
REWORDED = 0.45  # share of a Liberal's utterances that are not said as the pattern has it


class Liberal(Random):
    """Draws utterances that are now and then in other words than their pattern's."""


def reworded(rng: Random, pattern: str) -> str:
    """A pattern with another word for the same, without a small word, or with more around it."""
    draw = rng.random()
    fitting = [(words, others) for words, others in SAME if words.search(pattern)]
    if fitting and draw < 0.6:
        words, others = rng.choice(fitting)
        other = rng.choice(others)
        return words.sub(lambda _: other, pattern, count=1)
    if draw < 0.8 and (found := list(LEFT_OUT.finditer(pattern))):
        gone = rng.choice(found)
        return pattern[: gone.start()] + pattern[gone.end() :]
    if draw < 0.9:
        return rng.choice(OPENINGS) + pattern
    return pattern.rstrip("?.!") + rng.choice(CLOSINGS)


def say(rng: Random, pattern: str, **values: object) -> str:
    """`pattern` with its choices made and roughened, and then its values filled in.

    A Liberal generator may say it in other words.
    Raises ValueError for a pattern that is not well formed, KeyError for a value that is missing.
    """
    text = _choose(rng, pattern)
    if isinstance(rng, Liberal) and rng.random() < REWORDED:
        text = reworded(rng, text)
    return fill(roughen(rng, text), values)


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
