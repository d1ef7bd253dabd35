"""Which two should meet next, to learn most about everybody's strength.

A battle between i and j adds p(1 − p)(e_i − e_j)(e_i − e_j)ᵀ to the information matrix A. What that
is worth is how much the volume of the confidence ellipsoid shrinks (D-optimal design, Wald 1943):

    log det A' − log det A = log(1 + p(1 − p) v),    v = (e_i − e_j)ᵀ A⁻¹ (e_i − e_j)

so those meet whose strengths are near one another and not known well. A draw with an average model
stands in for what is known before the first battle.
"""

from collections.abc import Collection, Sequence
from itertools import combinations
from random import Random

import numpy as np

from cabinos.lab.arena.bradley_terry import Design, fit, information

__all__ = ["rank_pairs"]

BEFORE = 1.0  # draws with an average model, for each

Outcome = tuple[int, int, float]  # (one, other, 1, 0 or ½ of one)


def rank_pairs(
    models: int,
    outcomes: Sequence[Outcome],
    random: Random,
    *,
    allowed: Collection[tuple[int, int]] | None = None,
) -> list[tuple[int, int]]:
    """The pairs (of numbers below `models`), the most telling first; equal ones at random.

    `allowed`: only these, the smaller number first.
    """
    pairs = list(allowed if allowed is not None else combinations(range(models), 2))
    random.shuffle(pairs)
    if not outcomes:
        return pairs
    one, other, won = (np.asarray(column) for column in zip(*outcomes, strict=True))
    design = Design.of(models, one, other, won.astype(np.float64))
    strengths = fit(design).strengths
    spread = np.linalg.inv(information(design, strengths, BEFORE))
    i, j = np.asarray(pairs).T
    certainty = 1 / (4 * np.cosh((strengths[i] - strengths[j]) / 2) ** 2)  # p(1 − p)
    variance = spread[i, i] + spread[j, j] - 2 * spread[i, j]
    order = np.argsort(-np.log1p(certainty * variance), kind="stable")
    return [pairs[place] for place in order]
