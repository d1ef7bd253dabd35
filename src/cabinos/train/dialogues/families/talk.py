"""Small talk: who Cabin is, what it can do, thanks and farewells."""

from pathlib import Path
from random import Random

from cabinos.train.dialogues.families.facts import values
from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.phrases import fill, say, sections
from cabinos.train.dialogues.script import Turn, templates

HAD = (
    "pets", "kids", "parents", "a family", "friends", "a girlfriend", "a body", "hobbies", "plans",
    "dreams",
)  # fmt: skip
MANY = ("pets", "kids", "friends", "parents", "siblings", "plans", "feelings", "dreams")


def talked(rng: Random, fillers: Fillers, pattern: str) -> Turn:
    """`says => answer / another answer`; {k} is something that people have."""
    text, _, answers = pattern.partition(" => ")
    known = values(rng, fillers) | {"k": rng.choice(HAD)}
    text = text.replace("[{k}]", "{k}")
    if "have any" in text or "are your" in text:
        known["k"] = rng.choice(MANY)
    says = say(rng, text, **known)
    known["k"] = known["k"].removeprefix("a ")
    return Turn(says, fill(rng.choice(answers.split(" / ")), known))


def said() -> list[str]:
    """The patterns of the file with their answers."""
    return [
        f"{text} => {answers}" for answers, text in sections(Path(__file__).with_suffix(".txt"))
    ]


TEMPLATES = templates("talk/talk", talked, said())
