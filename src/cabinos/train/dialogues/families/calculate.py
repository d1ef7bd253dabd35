"""Arithmetic: the expression is copied as it was typed, and the device reads it."""

from random import Random

from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.phrases import say
from cabinos.train.dialogues.script import Call, Turn, templates


def plain(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
    a, b = rng.randint(1, 999), rng.randint(1, 99)
    e = f"{a} {rng.choice('+-*')} {b}"
    return Turn(
        say(rng, pattern, e=e), lambda r: r[0] + ".", (Call("calculate", {"expression": e}),)
    )


TEMPLATES = templates("calculate/plain", plain, ["what is {e}?", "{e}", "[compute|calculate] {e}"])
