"""Finding the law's five numbers, as Chinchilla's third approach does (arXiv:2203.15556, D.3).

With a = ln A, b = ln B, e = ln E the law's logarithm is LSE(a - alpha ln N, b - beta ln D, e). The
sum over all runs of Huber(that - ln L), delta = 1e-3, is minimized by L-BFGS from the most
promising points of a grid, and the best end is taken. Two things matter that look like details
(Besiroglu et al. 2024, arXiv:2404.10102): the errors are summed, here even scaled by 1 / delta, for
a mean of them is so small that the optimizer stops early; and the objective is followed down to the
precision of floating-point numbers.
"""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import import_module
from itertools import product
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cabinos.train.errors import TrainError
from cabinos.train.scaling.law import Law
from cabinos.train.scaling.points import FEWEST, Points

__all__ = ["Fit", "fit_law", "objective", "require_scipy"]

DELTA = 1e-3
THREADS = "OPENBLAS_NUM_THREADS"
LEVEL = 0.95  # of intervals
STARTS = 100  # points of the grid from which the optimizer starts
CASES = 40  # runs, from which on whole runs are drawn again, not residuals

Vector = NDArray[np.float64]

GRID = tuple(
    np.arange(*bounds)
    for bounds in ((0, 26, 5), (0, 26, 5), (-1, 1.1, 0.5), (0, 2.1, 0.5), (0, 2.1, 0.5))
)
"""Of a, b, e, alpha, beta: the paper's, 4,500 points."""

BOUNDS = ((-20, 60), (-20, 60), (-10, 10), (0.01, 3), (0.01, 3))
"""Of a, b, e, alpha, beta: they keep few points from sending a number to infinity."""

EDGE = 0.001  # of what lies between the bounds


@dataclass(frozen=True)
class Fit:
    """A law, the laws of the bootstrap, and what was left unexplained."""

    law: Law
    objective: float  # sum of Huber losses / delta
    residuals: Vector  # ln L - ln of the law's: [n]
    boot: tuple[Law, ...]

    @cached_property
    def rms(self) -> float:
        """Root mean square of the residuals: about the relative error of one run."""
        return float(np.sqrt(np.mean(self.residuals**2)))

    def interval(self, value: Callable[[Law], Any]) -> tuple[Any, Any]:
        """The 95 % interval of anything that a law says: percentiles over the bootstrap."""
        values = np.array([value(law) for law in self.boot or (self.law,)])
        low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        return (low, high) if values.ndim > 1 else (float(low), float(high))

    def loss_interval(self, parameters: float, tokens: float) -> tuple[float, float]:
        """The interval of one further run's loss: the law's doubt, and a run's own scatter."""
        generator = np.random.default_rng(0)
        laws = self.boot or (self.law,)
        losses = np.array([law.loss(parameters, tokens) for law in laws])
        scatter = generator.choice(self.residuals, (20, len(laws)))
        low, high = np.quantile(losses * np.exp(scatter), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)

    @property
    def undetermined(self) -> list[str]:
        """Numbers that lie at the edge of what is tried: these runs do not say what they are.

        The law may still foresee a run between these sizes. It says nothing of others.
        """
        law = self.law
        tried = {"A": np.log(law.A), "B": np.log(law.B), "E": np.log(law.E), "alpha": law.alpha,
                 "beta": law.beta}  # fmt: skip
        return [
            name
            for (name, value), (low, high) in zip(tried.items(), BOUNDS, strict=True)
            if min(value - low, high - value) < EDGE * (high - low)
        ]

    def facts(self) -> dict[str, Any]:
        """For JSON: each number with its interval."""
        names = [*asdict(self.law), "exponent"]
        numbers = {}
        for name in names:
            low, high = self.interval(attrgetter(name))
            numbers[name] = {"value": getattr(self.law, name), "low": low, "high": high}
        return {"law": numbers, "points": len(self.residuals), "rms": self.rms,
                "objective": self.objective, "bootstrap": len(self.boot),
                "undetermined": self.undetermined}  # fmt: skip


def require_scipy() -> None:
    """Raise TrainError, with what to do, if SciPy is not installed.

    Its BLAS would start a thread for each core to multiply 5 × 5 matrices; on a busy machine these
    wait for each other ten times as long as they compute. It reads how many to start when loaded.
    """
    before = os.environ.get(THREADS)
    os.environ[THREADS] = "1"
    try:
        import_module("scipy.optimize")
    except ImportError:
        raise TrainError("Fitting needs SciPy: pip install 'cabinos[train]'.") from None
    finally:
        os.environ.pop(THREADS)
        if before is not None:
            os.environ[THREADS] = before


def fit_law(
    points: Points,
    *,
    bootstrap: int = 200,
    seed: int = 0,
    starts: int | None = STARTS,
    tell: Callable[[int], None] = lambda _done: None,
) -> Fit:
    """The law of these runs. Raises TrainError for fewer than six, or fewer than three sizes.

    `starts`: from so many of the grid's points, None for all of them. With 40 runs or more the
    bootstrap draws whole runs; below, it draws residuals, larger by √(n / (n - 5)) for the five
    numbers that were fitted, since a ladder that has lost some of its rungs is another ladder.
    """
    require_scipy()
    _check(points)
    n, d, y = (np.log(part) for part in (points.parameters, points.tokens, points.loss))
    grid = np.array(list(product(*GRID)), np.float64)
    value = np.array([objective(start, n, d, y)[0] for start in grid])
    ends = [_descend(start, n, d, y) for start in grid[np.argsort(value)][:starts]]
    score, best = min(ends, key=lambda end: end[0])
    predicted = _log_law(best, n, d)[0]
    residuals = y - predicted
    generator = np.random.default_rng(seed)
    boot = []
    for number in range(bootstrap):
        index = generator.integers(0, len(y), len(y))
        if len(y) >= CASES:
            again = n[index], d[index], y[index]
        else:
            again = n, d, predicted + residuals[index] * (len(y) / (len(y) - 5)) ** 0.5
        boot.append(_law(_descend(best, *again)[1]))
        tell(number + 1)
    return Fit(_law(best), score, residuals, tuple(boot))


def _check(points: Points) -> None:
    if len(points) < FEWEST:
        raise TrainError(f"{len(points)} runs are too few to fit five numbers; give {FEWEST}.")
    for values, what in ((points.parameters, "sizes"), (points.tokens, "lengths")):
        if len(np.unique(np.round(np.log(values), 3))) < 3:
            raise TrainError(f"the runs have fewer than three {what}: no law can be seen in them.")


def _law(x: Vector) -> Law:
    a, b, e, alpha, beta = map(float, x)
    return Law(float(np.exp(e)), float(np.exp(a)), float(np.exp(b)), alpha, beta)


def _log_law(x: Vector, n: Vector, d: Vector) -> tuple[Vector, Vector]:
    """The logarithm of the law, and the share of each of its terms: [n], [3, n]."""
    a, b, e, alpha, beta = x
    terms = np.stack((a - alpha * n, b - beta * d, np.full_like(n, e)))
    peak = terms.max(0)
    weights = np.exp(terms - peak)
    total = weights.sum(0)
    return peak + np.log(total), weights / total


def objective(x: Vector, n: Vector, d: Vector, y: Vector) -> tuple[float, Vector]:
    """The sum of Huber losses / delta at x = (a, b, e, alpha, beta), and its gradient [5]."""
    value, share = _log_law(x, n, d)
    r = value - y
    huber = np.where(abs(r) <= DELTA, r * r / 2, DELTA * (abs(r) - DELTA / 2))
    slope = np.clip(r, -DELTA, DELTA) * share / DELTA  # [3, n]
    gradient = np.array([*slope.sum(1), -(slope[0] * n).sum(), -(slope[1] * d).sum()])
    return float(huber.sum()) / DELTA, gradient


def _descend(start: Vector, n: Vector, d: Vector, y: Vector) -> tuple[float, Vector]:
    minimize = import_module("scipy.optimize").minimize
    options = {"maxiter": 5000, "maxfun": 5000, "ftol": 1e-15, "gtol": 1e-10, "maxcor": 20}
    end = minimize(objective, start, (n, d, y), "L-BFGS-B", True, bounds=BOUNDS, options=options)
    return float(end.fun), np.asarray(end.x)
