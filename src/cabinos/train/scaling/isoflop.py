"""The best size for each budget, by a parabola through the runs that cost the same.

Chinchilla's second approach (arXiv:2203.15556, 3.2): L against ln N at one C is nearly a parabola;
its lowest point is N_opt(C), and N_opt ∝ C^a is a straight line through the logarithms. Parabolas
that are wide or off their centre mislead (Czech et al. 2026, arXiv:2603.22339); the parametric fit
does not need them and stands beside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cabinos.train.errors import TrainError
from cabinos.train.scaling.points import Points

__all__ = ["Budget", "IsoFlop", "fit_isoflop"]

SAME = 1.2  # budgets that differ by a smaller ratio from the next are one
DRAWS = 200  # of the bootstrap


@dataclass(frozen=True)
class Budget:
    """The runs of one budget, and the parabola through them: L = p2 x² + p1 x + p0, x = ln N."""

    flops: float
    points: Points
    parabola: tuple[float, float, float]

    @property
    def inside(self) -> bool:
        """Whether the parabola opens upwards, and its lowest point lies among the runs' sizes."""
        sizes = self.points.parameters
        return self.parabola[0] > 0 and bool(sizes.min() < self.parameters < sizes.max())

    @property
    def parameters(self) -> float:
        """The size with the least loss."""
        p2, p1, _ = self.parabola
        return float(np.exp(np.clip(-p1 / (2 * p2), 0, 80))) if p2 else float("nan")

    @property
    def loss(self) -> float:
        """The least loss."""
        return float(np.polyval(self.parabola, np.log(self.parameters)))


@dataclass(frozen=True)
class IsoFlop:
    """N_opt = factor · C^exponent over the budgets whose lowest point was seen."""

    budgets: tuple[Budget, ...]
    factor: float
    exponent: float
    interval: tuple[float, float]  # of the exponent, 95 %

    def optimum(self, flops: Any) -> Any:
        """The size with the least loss for so many operations."""
        return self.factor * flops**self.exponent

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        seen = [{"flops": b.flops, "parameters": b.parameters, "loss": b.loss, "inside": b.inside}
                for b in self.budgets]  # fmt: skip
        return {"exponent": self.exponent, "interval": self.interval, "factor": self.factor,
                "budgets": seen}  # fmt: skip


def fit_isoflop(points: Points, at: Sequence[float] = (), *, seed: int = 0) -> IsoFlop:
    """Parabolas for each budget with three sizes or more. Raises TrainError for fewer than two.

    `at`: the budgets, to which runs that cost about that belong; without it, runs that cost the
    same are found by the gaps between. The exponent's interval is from a bootstrap over each
    parabola's residuals.
    """
    groups = [points.where(index) for index in (_near(points, at) if at else _gaps(points))]
    budgets = tuple(
        Budget(float(np.exp(np.log(group.flops).mean())), group, _parabola(group, group.loss))
        for group in groups
        if len(np.unique(group.parameters)) >= 3
    )
    seen = [budget for budget in budgets if budget.inside]
    if len(seen) < 2:
        raise TrainError(
            f"of {len(budgets)} budgets with three sizes or more, {len(seen)} have their lowest "
            "loss between the sizes; two are needed. Plan sizes on either side of the best one."
        )
    factor, exponent = _line([b.flops for b in seen], [b.parameters for b in seen])
    generator = np.random.default_rng(seed)
    draws = [_drawn(seen, generator) for _ in range(DRAWS)]
    low, high = np.quantile([d for d in draws if np.isfinite(d)] or [exponent], [0.025, 0.975])
    return IsoFlop(budgets, factor, exponent, (float(low), float(high)))


def _gaps(points: Points) -> list[NDArray[np.int64]]:
    order = np.argsort(points.flops)
    cuts = np.flatnonzero(np.diff(np.log(points.flops[order])) > np.log(SAME)) + 1
    return np.split(order, cuts)


def _near(points: Points, at: Sequence[float]) -> list[NDArray[np.int64]]:
    return [np.flatnonzero(abs(np.log(points.flops / budget)) < np.log(SAME)) for budget in at]


def _parabola(group: Points, loss: NDArray[np.float64]) -> tuple[float, float, float]:
    p2, p1, p0 = np.polyfit(np.log(group.parameters), loss, 2)
    return float(p2), float(p1), float(p0)


def _line(flops: list[float], parameters: list[float]) -> tuple[float, float]:
    exponent, intercept = np.polyfit(np.log(flops), np.log(parameters), 1)
    return float(np.exp(intercept)), float(exponent)


def _drawn(budgets: list[Budget], generator: np.random.Generator) -> float:
    """The exponent with the residuals of each parabola drawn again."""
    optima = []
    for budget in budgets:
        group = budget.points
        curve = np.polyval(budget.parabola, np.log(group.parameters))
        size = len(group)
        rest = (group.loss - curve) * (size / max(1, size - 3)) ** 0.5
        loss = np.asarray(curve + generator.choice(rest, size), np.float64)
        again = Budget(budget.flops, group, _parabola(group, loss))
        if not again.parabola[0] > 0:
            return float("nan")
        optima.append(again.parameters)
    return _line([b.flops for b in budgets], optima)[1]
