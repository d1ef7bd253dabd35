"""Pictures of a law as PNG files, with 95 % intervals. matplotlib is needed."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from cabinos.train.errors import TrainError
from cabinos.train.scaling.fit import Fit
from cabinos.train.scaling.isoflop import IsoFlop
from cabinos.train.scaling.journal import Prediction
from cabinos.train.scaling.points import Points

__all__ = ["draw"]

CURVES = 8  # sizes or budgets that get a curve of their own
AHEAD = 10.0  # how far beyond the largest run the frontier is drawn


def draw(
    picture: Path,
    points: Points,
    fit: Fit,
    *,
    unit: str,
    isoflop: IsoFlop | None = None,
    predictions: Sequence[tuple[Prediction, float | None]] = (),
) -> None:
    """Runs and law by tokens; parabolas by size; the frontier by operations, with predictions.

    `unit`: of the loss; `predictions`: each with what was measured, if it was. Raises TrainError
    without matplotlib.
    """
    try:
        figure_of = import_module("matplotlib.figure").Figure  # pyplot would look for a display
    except ImportError:
        raise TrainError("Pictures need matplotlib: pip install 'cabinos[train]'.") from None
    panels = 2 if isoflop is None else 3
    figure = figure_of(figsize=(4.8 * panels, 4.2), layout="constrained")
    axes = list(figure.subplots(1, panels))
    _by_tokens(axes[0], points, fit)
    if isoflop is not None:
        _parabolas(axes[1], isoflop)
    _frontier(axes[-1], points, fit, predictions)
    axes[0].set_ylabel(f"loss ({unit})")
    for panel in axes:
        panel.grid(alpha=0.2)
        panel.legend(fontsize=7, loc="upper right")  # "best" is slow with many points
    partial = picture.with_name(f".{picture.name}")
    figure.savefig(partial, format="png", dpi=120)
    partial.replace(picture)


def _by_tokens(axes: Any, points: Points, fit: Fit) -> None:
    """Loss against tokens, a curve for each size (or for some of them)."""
    sizes = np.unique(points.parameters)
    chosen = sizes[np.unique(np.linspace(0, len(sizes) - 1, CURVES).round().astype(int))]
    colours = import_module("matplotlib").colormaps["viridis"]
    for place, size in zip(np.linspace(0, 0.9, len(chosen)), chosen, strict=True):
        _curve(axes, points, fit, size, colours(place))
    if len(sizes) > len(chosen):
        axes.plot(points.tokens, points.loss, ".", color="grey", markersize=2, zorder=0)
    bottom, top = points.loss.min(), points.loss.max()
    axes.set(
        xscale="log", xlabel="tokens", title="runs and law",
        ylim=(bottom - 0.1 * (top - bottom), top + 0.15 * (top - bottom)),
    )  # fmt: skip


def _curve(axes: Any, points: Points, fit: Fit, size: float, colour: Any) -> None:
    mine = points.where(points.parameters == size)
    d = np.geomspace(points.tokens.min(), points.tokens.max(), 50)
    low, high = fit.interval(lambda law: law.loss(size, d))
    axes.plot(d, fit.law.loss(size, d), color=colour, linewidth=1)
    axes.fill_between(d, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(mine.tokens, mine.loss, "o", color=colour, markersize=4, label=f"N = {_si(size)}")


def _parabolas(axes: Any, isoflop: IsoFlop) -> None:
    colours = import_module("matplotlib").colormaps["plasma"]
    budgets = isoflop.budgets
    for place, budget in zip(np.linspace(0, 0.85, len(budgets)), budgets, strict=True):
        sizes, colour = budget.points.parameters, colours(place)
        x = np.geomspace(sizes.min(), sizes.max(), 60)
        axes.plot(x, np.polyval(budget.parabola, np.log(x)), color=colour, linewidth=1)
        axes.plot(sizes, budget.points.loss, "o", color=colour, markersize=4,
                  label=f"C = {budget.flops:.2g}")  # fmt: skip
        if budget.inside:
            axes.plot([budget.parameters], [budget.loss], "*", color=colour, markersize=11,
                      markeredgecolor="black", markeredgewidth=0.5)  # fmt: skip
    low, high = isoflop.interval
    title = f"best size ∝ C^{isoflop.exponent:.2f} [{low:.2f}, {high:.2f}]"
    axes.set(xscale="log", xlabel="parameters", title=title)


def _frontier(
    axes: Any, points: Points, fit: Fit, predictions: Sequence[tuple[Prediction, float | None]]
) -> None:
    """The least loss for every budget, and how runs and predictions lie to it."""
    ahead = [p.flops for p, _ in predictions] or [AHEAD * points.flops.max()]
    c = np.geomspace(points.flops.min(), 1.5 * max(ahead), 80)
    low, high = fit.interval(lambda law: law.loss(*law.optimum(c)))
    axes.plot(points.flops, points.loss, "o", color="grey", markersize=3, label="runs")
    axes.plot(c, fit.law.loss(*fit.law.optimum(c)), color="C0", label="best size (C = 6 N D)")
    axes.fill_between(c, low, high, color="C0", alpha=0.2, linewidth=0)
    for number, (p, measured) in enumerate(predictions):
        known = number > 0
        bars = [[p.loss - p.low], [p.high - p.loss]]
        axes.errorbar([p.flops], [p.loss], bars, fmt="s", color="C1", capsize=3, markersize=5,
                      label=None if known else "predicted")  # fmt: skip
        if measured is not None:
            axes.plot([p.flops], [measured], "*", color="C3", markersize=11,
                      label=None if known else "measured")  # fmt: skip
    axes.set(xscale="log", xlabel="floating-point operations", title="loss by compute")


def _si(number: float) -> str:
    for scale, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= scale:
            return f"{number / scale:.3g} {letter}"
    return f"{number:.0f}"
