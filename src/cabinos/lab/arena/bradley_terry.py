"""Strengths out of battles: the model of Bradley and Terry (1952), by Newton's method.

    P(left wins) = σ(θ_left − θ_right + x·γ)

θ is a strength for each model, in natural logits, with mean 0; x are facts about the battle beyond
who met: that one stood on the left, and how the answers differ in style. It is a logistic
regression without intercept, in which a tie is half a win for each side. Ties, sides and equal
rows come as counts, so that a hundred thousand battles are as cheap as the pairs that met.

Where some models never lost to any of the others, no finite strengths are the likeliest (Ford
1957). Then each model is given a draw with an average one, of weight DRAWS: that is what keeps them
finite, and the result says so; how far they reach is then a guess, with wide intervals.
"""

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

__all__ = ["ELO", "Bootstrap", "Design", "Fit", "bootstrap", "fit", "information", "separated"]

Array = NDArray[np.float64]
Indexes = NDArray[np.int64]

ELO = 400 / log(10)  # points of a rating to a logit: 400 more win ten times as often
DRAWS = 0.5
STEPS = 60
HALVINGS = 30
FAR = 15.0  # logits; what goes further than one in three million goes to infinity
RIDGE = 1e-3  # on γ, where battles alone do not bound it


@dataclass(frozen=True, slots=True)
class Design:
    """Battles as rows: `left` [n] met `right` [n], and `won` [n] is 1, 0 or ½ of left.

    `facts` [n, K] stands for x, and `count` [n] says how often such a battle took place. Rows are
    in the order of who met, and `starts` are the places where others begin to meet: so what battles
    add up to for each pair is the sum over a stretch.
    """

    models: int
    left: Indexes
    right: Indexes
    won: Array
    facts: Array
    count: Array
    starts: Indexes

    @classmethod
    def of(
        cls, models: int, left: Indexes, right: Indexes, won: Array, facts: Array | None = None
    ) -> "Design":
        """Of single battles; equal ones become one row with a count."""
        table = np.empty((len(left), 0)) if facts is None else facts
        rows = np.column_stack([left, right, won, table])
        distinct, count = np.unique(rows, axis=0, return_counts=True)
        place = distinct[:, :2].astype(np.int64)
        others = (place[1:] != place[:-1]).any(axis=1)
        return cls(
            models,
            place[:, 0].copy(),
            place[:, 1].copy(),
            distinct[:, 2].copy(),
            distinct[:, 3:].copy(),
            count.astype(np.float64),
            np.concatenate([[0], np.flatnonzero(others) + 1]),
        )


@dataclass(frozen=True, slots=True)
class Fit:
    """θ and γ. `drawn`: the battles alone do not bound them, so DRAWS were added."""

    strengths: Array  # [models], mean 0 unless drawn, then about 0
    effects: Array  # [K]
    drawn: bool


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """The same out of battles drawn with replacement, a row for each round (Efron 1979)."""

    strengths: Array  # [rounds, models]
    effects: Array  # [rounds, K]

    def interval(self, values: Array, *, level: float = 0.95) -> tuple[Array, Array]:
        """The percentile interval down the rounds of some `values` [rounds, …]."""
        tail = (1 - level) / 2
        low, high = np.quantile(values, (tail, 1 - tail), axis=0)
        return low, high


def fit(
    design: Design,
    *,
    count: Array | None = None,
    start: Array | None = None,
    close: float = 1e-8,
) -> Fit:
    """The likeliest θ and γ. `count` replaces that of the design; `start`: [models + K].

    Steps end with one shorter than `close`; what is left to go is about the square of it.
    """
    count = design.count if count is None else count
    drawn = separated(design, count)
    found = None if drawn else _newton(design, count, 0.0, start, close)
    if found is None:
        drawn = True
        found = _newton(design, count, DRAWS, None, close)
        assert found is not None, "a strictly convex loss has a minimum"
    return Fit(found[: design.models], found[design.models :], drawn)


def bootstrap(design: Design, rounds: int, *, seed: int = 0) -> Bootstrap:
    """`rounds` fits to resampled counts, each begun from the fit to the real ones.

    Where that one had to be given draws, every resample would be like it and look certain: then the
    rounds come from the normal approximation, N(θ, inverse Hessian), draws included.
    """
    random = np.random.default_rng(seed)
    point = fit(design)
    start = np.concatenate([point.strengths, point.effects])
    if point.drawn:
        _, _, hessian = _look(design, design.count, DRAWS, start)
        found = random.multivariate_normal(start, np.linalg.inv(hessian), rounds)
    else:
        found = np.empty((rounds, len(start)))
        battles, share = int(design.count.sum()), design.count / design.count.sum()
        for row in found:
            count = random.multinomial(battles, share).astype(np.float64)
            again = fit(design, count=count, start=start, close=1e-4)
            row[:] = np.concatenate([again.strengths, again.effects])
    found[:, : design.models] -= found[:, : design.models].mean(axis=1, keepdims=True)
    return Bootstrap(found[:, : design.models], found[:, design.models :])


def separated(design: Design, count: Array) -> bool:
    """Whether some models never lost (or drew) against the rest, so that θ has no bound.

    That is so unless everybody can be reached from everybody along "did not lose to".
    """
    size = design.models
    reach = np.eye(size, dtype=bool)
    happened = count > 0
    for winner, loser, mask in (
        (design.left, design.right, happened & (design.won > 0)),
        (design.right, design.left, happened & (design.won < 1)),
    ):
        reach[winner[mask], loser[mask]] = True
    for _ in range(max(1, size.bit_length())):  # paths of length 1, 2, 4, …
        reach = reach.astype(np.float32) @ reach.astype(np.float32) > 0
    return not bool(reach.all())


def information(design: Design, strengths: Array, draws: float) -> Array:
    """The matrix [models, models] of what the battles tell of θ, with draws against an average."""
    odds = strengths[design.left] - strengths[design.right]
    hessian = _between(design, design.count * _logistic(odds)[2])
    hessian[np.diag_indices(design.models)] += draws * _logistic(strengths)[2]
    return hessian


# ---- Newton's method -----------------------------------------------------------------------------


def _newton(
    design: Design, count: Array, draws: float, start: Array | None, close: float
) -> Array | None:
    """The minimum of the loss; None if it is not reached, because it lies at infinity.

    The last step is smaller than `close`, so what is left to go is about its square.
    """
    size = design.models + design.facts.shape[1]
    at = np.zeros(size) if start is None else start.copy()
    loss, gradient, hessian = _look(design, count, draws, at)
    for _ in range(STEPS):
        try:
            step = np.linalg.solve(hessian, gradient)
        except np.linalg.LinAlgError:
            return None
        if np.abs(step).max() < close:
            return at - step
        for _ in range(HALVINGS):
            further, gradient, hessian = _look(design, count, draws, at - step)
            if further <= loss * (1 + 1e-12):
                break
            step /= 2
        at, loss = at - step, further
        if np.abs(at).max() > FAR:
            return None
    return None


def _look(design: Design, count: Array, draws: float, at: Array) -> tuple[float, Array, Array]:
    """(loss, its gradient, its Hessian) at a point.

    The loss is −log likelihood, and what holds the mean of θ at 0.
    """
    size, facts = design.models, design.facts
    theta, gamma = at[:size], at[size:]
    odds = theta[design.left] - theta[design.right]
    if len(gamma):
        odds += facts @ gamma
    softplus, sigmoid, variance = _logistic(odds)
    loss = float(count @ (softplus - design.won * odds)) + float(theta.sum()) ** 2 / (2 * size)
    wrong, weight = count * (sigmoid - design.won), count * variance

    gradient = np.concatenate([_net(design, wrong), facts.T @ wrong])
    gradient[:size] += theta.sum() / size
    hessian = np.empty((len(at), len(at)))
    hessian[:size, :size] = _between(design, weight) + 1 / size
    weighted = facts * weight[:, None]
    hessian[:size, size:] = _net(design, weighted)
    hessian[size:, :size] = hessian[:size, size:].T
    hessian[size:, size:] = weighted.T @ facts
    if draws:
        softplus, sigmoid, variance = _logistic(theta)
        loss += draws * float((softplus - theta / 2).sum()) + RIDGE / 2 * float(gamma @ gamma)
        gradient += np.concatenate([draws * (sigmoid - 0.5), RIDGE * gamma])
        diagonal = np.concatenate([draws * variance, np.full(len(gamma), RIDGE)])
        hessian[np.diag_indices(len(at))] += diagonal
    return loss, gradient, hessian


def _net(design: Design, values: Array) -> Array:
    """What values [n, …] of battles add up to for each model: + on the left, − on the right."""
    met = np.add.reduceat(values, design.starts, axis=0)
    net = np.zeros((design.models, *values.shape[1:]))
    np.add.at(net, design.left[design.starts], met)
    np.subtract.at(net, design.right[design.starts], met)
    return net


def _between(design: Design, weight: Array) -> Array:
    """The matrix [models, models] of Σ weight · (e_left − e_right)(e_left − e_right)ᵀ."""
    met = np.zeros((design.models, design.models))
    place = design.left[design.starts], design.right[design.starts]
    met[place] = np.add.reduceat(weight, design.starts)
    met += met.T
    return np.asarray(np.diag(met.sum(axis=1)) - met)


def _logistic(odds: Array) -> tuple[Array, Array, Array]:
    """(log(1 + e^x), σ(x), σ(x)(1 − σ(x))), also far from 0."""
    small = np.exp(-np.abs(odds))
    share = 1 / (1 + small)
    sigmoid = np.where(odds >= 0, share, small * share)
    return np.maximum(odds, 0) + np.log1p(small), sigmoid, small * share * share
