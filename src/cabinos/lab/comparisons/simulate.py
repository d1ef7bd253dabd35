"""A rater that knows the truth, and errs at a known rate: to try out whatever asks raters."""

from collections.abc import Callable
from random import Random

from cabinos.lab.comparisons.collect import Answer, Question

__all__ = ["SimulatedRater"]


class SimulatedRater:
    """Says which answer is better by `worth`; at the rate `noise` it says the other one.

    Answers of equal worth are a tie. `lean`: at this rate it says left without looking.
    """

    def __init__(
        self,
        worth: Callable[[Question, str], float],
        *,
        noise: float = 0.0,
        lean: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._worth = worth
        self._noise = noise
        self._lean = lean
        self._random = Random(seed)  # noqa: S311 - no secret

    def rate(self, question: Question) -> Answer:
        """See `Rater`. `worth` is called with the question and "left" or "right"."""
        if self._random.random() < self._lean:
            return "left"
        left, right = (self._worth(question, side) for side in ("left", "right"))
        if left == right:
            return "tie"
        better: Answer = "left" if left > right else "right"
        worse: Answer = "right" if left > right else "left"
        return worse if self._random.random() < self._noise else better
