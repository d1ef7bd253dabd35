"""Arenas that never were: models of known strength, and raters that err at a known rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from random import Random

import numpy as np

from cabinos.lab.arena.bradley_terry import Design, fit
from cabinos.lab.arena.matchmaker import Outcome, rank_pairs

__all__ = ["Simulated", "kendall_tau", "simulate"]


@dataclass(frozen=True, slots=True)
class Simulated:
    """How well the order was found: Kendall's τ after all votes, and the outcomes."""

    tau: float
    outcomes: Sequence[Outcome]


def simulate(
    models: int,
    votes: int,
    *,
    noise: float = 0.1,
    spacing: float | None = None,
    seed: int = 0,
    active: bool = True,
) -> Simulated:
    """Votes on models of which 0 is the best and each is better than the next.

    The rater prefers the better one, but at the rate `noise` the other. With `spacing`, in logits
    between neighbours, the world is Bradley and Terry's instead: the nearer, the likelier an upset.
    `active`: the matchmaker says who meets; else chance does.
    """
    random = Random(seed)  # noqa: S311 - no secret
    outcomes: list[Outcome] = []
    for _ in range(votes):
        if active:
            one, other = rank_pairs(models, outcomes, random)[0]
        else:
            one, other = random.sample(range(models), 2)
        wrong = noise if spacing is None else 1 / (1 + exp(spacing * abs(one - other)))
        right = random.random() >= wrong
        outcomes.append((one, other, float((one < other) == right)))
    one, other, won = (np.asarray(column) for column in zip(*outcomes, strict=True))
    strengths = fit(Design.of(models, one, other, won)).strengths
    return Simulated(kendall_tau(-np.arange(models), strengths), outcomes)


def kendall_tau(truth: Sequence[float], found: Sequence[float]) -> float:
    """τ-a (Kendall 1938): pairs in the same order minus pairs in the other, over all pairs."""
    one, other = np.asarray(truth, np.float64), np.asarray(found, np.float64)
    upper = np.triu_indices(len(one), 1)
    signs = np.sign(one[:, None] - one)[upper] * np.sign(other[:, None] - other)[upper]
    return float(signs.mean())
