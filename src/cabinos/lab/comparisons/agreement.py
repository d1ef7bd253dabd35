"""Whether a rater agrees with themselves, and which side they lean to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cabinos.lab.evaluate.scoring import wilson

__all__ = ["Agreement", "Lean", "agreement", "cohen_kappa", "lean"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often the same was said twice. `kappa` is None where chance alone would always agree."""

    pairs: int
    same: int
    kappa: float | None

    @property
    def share(self) -> float:
        """The same as a share; 0 of nothing."""
        return self.same / self.pairs if self.pairs else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Of the share, 95 %."""
        return wilson(self.same, self.pairs)


@dataclass(frozen=True, slots=True)
class Lean:
    """How often the left answer won, of the answers that name a side."""

    left: int
    decided: int

    @property
    def share(self) -> float:
        """As a share; one half of nothing."""
        return self.left / self.decided if self.decided else 0.5

    @property
    def interval(self) -> tuple[float, float]:
        """Of the share, 95 %."""
        return wilson(self.left, self.decided)


def agreement(first: Sequence[str], second: Sequence[str]) -> Agreement:
    """Of two ratings of the same things, in order."""
    same = sum(a == b for a, b in zip(first, second, strict=True))
    return Agreement(len(first), same, cohen_kappa(first, second))


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Agreement beyond chance (Cohen 1960): (p_o - p_e) / (1 - p_e).

    p_o is the share of equal ratings, p_e = Σ_k p1(k) p2(k) what is expected of two raters who use
    the categories as often as these do. None where p_e is 1, and of nothing.
    """
    n = len(first)
    if n == 0:
        return None
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    one, two = Counter(first), Counter(second)
    expected = sum(one[category] * two[category] for category in one) / (n * n)
    return None if expected == 1 else (observed - expected) / (1 - expected)


def lean(choices: Sequence[str]) -> Lean:
    """Of answers "left", "right" and others."""
    left, right = choices.count("left"), choices.count("right")
    return Lean(left, left + right)
