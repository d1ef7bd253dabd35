"""Are mutated quotes caught, every one?

    python bench/skills/quotes.py [--quick]

Each quote of the shipped skills is changed in many ways, and each change is looked for in its
source. A change that gives another text must not be found there. Besides, true quotes cut out of
the sources at random must all be found, however their lines are wrapped.
"""

import random
import re
import string
import sys
from collections import Counter
from collections.abc import Callable

from skill_bench import options, report

from cabinos.skills.catalog import library_folder, skill_folders
from cabinos.skills.package import Skill, read_skill
from cabinos.skills.sources import LEAST_QUOTE, SPACE, Source

WORD = re.compile(r"[^\W_]+")


def letter(text: str, rng: random.Random) -> str:
    """One letter is another."""
    at = rng.choice([n for n, c in enumerate(text) if c.isalpha()])
    new = rng.choice([c for c in string.ascii_lowercase if c != text[at]])
    return text[:at] + new + text[at + 1 :]


def digit(text: str, rng: random.Random) -> str:
    """One digit is another; where there is none, a number is added to a word."""
    places = [n for n, c in enumerate(text) if c.isdigit()]
    if not places:
        words = text.split(" ")
        words.insert(rng.randrange(1, len(words)), str(rng.randrange(2, 100)))
        return " ".join(words)
    at = rng.choice(places)
    return text[:at] + rng.choice([d for d in string.digits if d != text[at]]) + text[at + 1 :]


def case(text: str, rng: random.Random) -> str:
    """One letter is large instead of small, or small instead of large."""
    at = rng.choice([n for n, c in enumerate(text) if c.isalpha()])
    return text[:at] + text[at].swapcase() + text[at + 1 :]


def drop(text: str, rng: random.Random) -> str:
    """One inner word is gone."""
    words = text.split(" ")
    del words[rng.randrange(1, len(words) - 1)]
    return " ".join(words)


def double(text: str, rng: random.Random) -> str:
    """One word stands twice."""
    words = text.split(" ")
    at = rng.randrange(len(words))
    return " ".join([*words[:at], words[at], *words[at:]])


def swap(text: str, rng: random.Random) -> str:
    """Two words have changed places."""
    words = text.split(" ")
    pairs = [n for n in range(len(words) - 1) if words[n] != words[n + 1]]
    at = rng.choice(pairs)
    words[at], words[at + 1] = words[at + 1], words[at]
    return " ".join(words)


def negate(text: str, rng: random.Random) -> str:
    """A "not" was put in."""
    words = text.split(" ")
    words.insert(rng.randrange(1, len(words)), "not")
    return " ".join(words)


def comma(text: str, rng: random.Random) -> str:
    """A comma more, or one less."""
    places = [n for n, c in enumerate(text) if c == ","]
    if places and rng.random() < 0.5:
        at = rng.choice(places)
        return text[:at] + text[at + 1 :]
    spaces = [n for n, c in enumerate(text) if c == " " and text[n - 1].isalpha()]
    at = rng.choice(spaces)
    return f"{text[:at]},{text[at:]}"


def cut(text: str, rng: random.Random) -> str:
    """It begins or ends in the middle of a word."""
    words = [m for m in WORD.finditer(text) if len(m[0]) > 2]
    if rng.random() < 0.5:
        first = words[0]
        return text[rng.randrange(first.start() + 1, first.end()) :]
    last = words[-1]
    return text[: rng.randrange(last.start() + 1, last.end())]


def ellipsis(text: str, rng: random.Random) -> str:
    """Something in the middle was left out, with dots in its place."""
    words = text.split(" ")
    at = rng.randrange(1, len(words) - 1)
    return " ".join([*words[:at], "…", *words[at + 1 :]])


MUTATIONS: list[Callable[[str, random.Random], str]] = [
    *(letter, digit, case, drop, double, swap, negate, comma, cut, ellipsis)
]


def is_verbatim(text: str, source: Source) -> bool:
    """Whether a changed text stands in the source all the same, as whole words."""
    flat = SPACE.sub(" ", source.text)
    pattern = rf"(?<![^\s\"“”‘’'(\[–—-]){re.escape(text)}(?![\w])"
    return re.search(pattern, flat) is not None


def main() -> int:
    """A table, then one JSON line."""
    parser = options(__doc__)
    given = parser.parse_args()
    rng = random.Random(20261124)
    skills = [read_skill(path) for path in skill_folders(library_folder())]
    caught: Counter[str] = Counter()
    missed: list[dict[str, str]] = []
    same = 0
    for skill, text, source in quotes(skills):
        for mutate in MUTATIONS:
            for _ in range(3 if given.quick else 100):
                changed = mutate(text, rng)
                if changed == text or is_verbatim(changed, source):
                    same += 1
                elif source.find(changed) is None:
                    caught[mutate.__name__] += 1
                else:
                    where = f"{skill.name}/{source.id}"
                    missed.append({"how": mutate.__name__, "text": changed, "where": where})
    true, found = pieces(skills, rng, 500 if given.quick else 20_000)
    for name, count in sorted(caught.items()):
        print(f"{name:10} {count:7} caught")
    total = sum(caught.values())
    figures = {
        "quotes": sum(1 for _ in quotes(skills)),
        "mutations": total + len(missed),
        "caught": total,
        "missed": missed[:20],
        "still_verbatim": same,
        "true_pieces": true,
        "true_found": found,
        "ok": not missed and true == found,
    }
    return report("quotes", given, figures)


def quotes(skills: list[Skill]) -> list[tuple[Skill, str, Source]]:
    """Each quote as one line, with its source."""
    return [
        (skill, SPACE.sub(" ", quote.text), skill.sources[quote.source])
        for skill in skills
        for principle in skill.principles
        for quote in principle.quotes
    ]


def pieces(skills: list[Skill], rng: random.Random, count: int) -> tuple[int, int]:
    """(texts cut out of sources between white space and wrapped anew, how many were found)."""
    sources = [source for skill in skills for source in skill.sources.values()]
    tried = found = 0
    while tried < count:
        source = rng.choice(sources)
        words = source.text.split()
        start = rng.randrange(len(words))
        piece = words[start : start + rng.randrange(3, 40)]
        text = "".join(word + rng.choice((" ", "\n", "  ")) for word in piece)
        if len(text.strip()) < LEAST_QUOTE:
            continue
        tried += 1
        found += source.find(text) is not None
    return tried, found


if __name__ == "__main__":
    sys.exit(main())
