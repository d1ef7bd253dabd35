"""Arenas that never were: models of known strength, and raters that err at a known rate."""

from collections.abc import Sequence
from math import exp
from random import Random

import numpy as np

from cabinos.lab.arena.bradley_terry import Design, fit
from cabinos.lab.arena.matchmaker import Outcome, rank_pairs

__all__ = ["kendall_tau", "simulate", "tau"]


def simulate(
    models: int,
    votes: int,
    *,
    noise: float = 0.1,
    spacing: float | None = None,
    seed: int = 0,
    active: bool = True,
) -> list[Outcome]:
    """The outcomes of votes on models of which 0 is the best, and each is better than the next.

    The rater prefers the better one, but at the rate `noise` the other. With `spacing`, in logits
    between neighbours, the world is Bradley and Terry's instead: the nearer, the likelier an upset.
    `active`: the matchmaker says who meets; else chance does.
    """
    random = Random(seed)  # noqa: S311 - no secret
    outcomes: list[Outcome] = []
    for _ in range(votes):
        pair = rank_pairs(models, outcomes, random)[0] if active else range(models)
        one, other = random.sample(pair, 2)
        wrong = noise if spacing is None else 1 / (1 + exp(spacing * abs(one - other)))
        right = random.random() >= wrong
        outcomes.append((one, other, float((one < other) == right)))
    return outcomes


def tau(models: int, outcomes: Sequence[Outcome]) -> float:
    """How well the ratings after these votes have the order: Kendall's τ with the truth."""
    one, other, won = (np.asarray(column) for column in zip(*outcomes, strict=True))
    found = fit(Design.of(models, one, other, won)).strengths
    return kendall_tau([-float(model) for model in range(models)], found.tolist())


def kendall_tau(truth: Sequence[float], found: Sequence[float]) -> float:
    """τ-a (Kendall 1938): pairs in the same order minus pairs in the other, over all pairs."""
    one, other = np.asarray(truth, np.float64), np.asarray(found, np.float64)
    upper = np.triu_indices(len(one), 1)
    signs = np.sign(one[:, None] - one)[upper] * np.sign(other[:, None] - other)[upper]
    return float(signs.mean())
