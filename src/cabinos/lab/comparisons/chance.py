"""What a ballot leaves to chance: sides, and what is asked a second time.

All of it follows from a seed and from how many answers there are, so that a ballot that was cut off
goes on exactly as it would have.
"""

from collections.abc import Hashable, Sequence
from random import Random
from typing import TypeVar

__all__ = ["REPEATS", "dice", "flipped", "repeat_of"]

T = TypeVar("T", bound=Hashable)

REPEATS = 0.1  # of the answers
APART = 5  # answers, at least, between one and its repeat


def dice(seed: str, what: str, number: int) -> Random:
    """Chance that is the same each time question `number` comes up."""
    return Random(f"{seed}/{what}/{number}")  # noqa: S311 - no secret


def flipped(seed: str, number: int) -> bool:
    """Whether the second of two answers is shown on the left."""
    return dice(seed, "side", number).random() < 0.5


def repeat_of(seed: str, earlier: Sequence[tuple[T, bool, bool]]) -> T | None:
    """What the next question should ask again, if it should: something that was asked only once.

    `earlier`: for each answer what it was about, whether it was a repeat, and whether it decided
    nothing.
    """
    number = len(earlier)
    if dice(seed, "repeat", number).random() >= REPEATS:
        return None
    twice = {about for about, repeat, _ in earlier if repeat}
    known = [
        about
        for about, repeat, skipped in earlier[: max(0, number - APART)]
        if not repeat and not skipped and about not in twice
    ]
    return dice(seed, "which", number).choice(known) if known else None
