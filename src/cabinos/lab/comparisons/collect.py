"""The loop that asks a rater: for `cabin label`, for the arena, and for raters that are simulated.

A ballot knows what to ask and keeps what was said; a rater sees two answers, left and right, and
not where they come from.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from cabinos.lab.comparisons.pair import Messages

__all__ = ["Answer", "Ballot", "Choice", "Question", "Rater", "collect"]

Choice = Literal["left", "right", "tie", "bad", "skip"]
Answer = Literal["left", "right", "tie", "bad", "skip", "undo", "quit"]


@dataclass(frozen=True, slots=True)
class Question:
    """Two answers to one prompt. `id` is for the ballot: it tells a rater nothing."""

    id: str
    prompt: Messages
    left: Messages
    right: Messages


class Rater(Protocol):
    """Somebody who compares."""

    def rate(self, question: Question) -> Answer:
        """Which is better; or to take the last answer back, or to end."""


class Ballot(Protocol):
    """What is asked, and what was said."""

    def next(self) -> Question | None:
        """The next question; the same until it is answered. None if there is no other."""

    def cast(self, question: Question, choice: Choice, seconds: float) -> None:
        """Keeps an answer, for good."""

    def undo(self) -> bool:
        """Takes the last answer back; False if there is none."""


def collect(
    ballot: Ballot,
    rater: Rater,
    *,
    limit: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Asks until there is nothing to ask, the rater ends, or `limit` answers are in.

    Returns how many more answers there are than before. Whoever interrupts it loses no answer.
    """
    count = 0
    while limit is None or count < limit:
        question = ballot.next()
        if question is None:
            break
        began = clock()
        answer = rater.rate(question)
        if answer == "quit":
            break
        if answer == "undo":
            count -= ballot.undo()
        else:
            ballot.cast(question, answer, clock() - began)
            count += 1
    return count
