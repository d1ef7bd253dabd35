"""The best open model against the best closed one, over time; drawn from the battles there are.

All ratings are of today: what is shown is when a strength could first be had, and from whom.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cabinos.lab.arena.leaderboard import Leaderboard, Standing

__all__ = ["Moment", "dated", "gaps", "plot"]

COLOURS = {True: "#1a7f6b", False: "#b3432b"}
KINDS = {True: "open", False: "closed"}
GREY = "#666666"
BEHIND = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.6}  # a name


@dataclass(frozen=True, slots=True)
class Moment:
    """How far the best closed model was ahead from this day on, in points; negative: behind."""

    day: date
    gap: float
    low: float
    high: float


def dated(board: Leaderboard) -> list[int]:
    """The places in the table of those of whom it is known what they are and since when."""
    return [
        place
        for place, row in enumerate(board.standings)
        if row.open is not None and row.released is not None
    ]


def gaps(board: Leaderboard) -> list[Moment]:
    """A moment for each release from when on both kinds are there; empty if one never is."""
    rows = board.standings
    places = dated(board)
    rating = np.array([row.rating for row in rows])
    moments = []
    for day in sorted({_day(rows[place]) for place in places}):
        there = [place for place in places if _day(rows[place]) <= day]
        opened = [place for place in there if rows[place].open]
        closed = [place for place in there if not rows[place].open]
        if opened and closed:
            ahead = rating[closed].max() - rating[opened].max()
            rounds = board.rounds[:, closed].max(axis=1) - board.rounds[:, opened].max(axis=1)
            low, high = np.quantile(rounds, (0.025, 0.975))
            moments.append(Moment(day, float(ahead), float(low), float(high)))
    return moments


def _day(row: Standing) -> date:
    assert row.released is not None
    return row.released


# ---- The picture ---------------------------------------------------------------------------------


def plot(board: Leaderboard, picture: Path) -> None:
    """Draws the ratings and, where kinds and dates are known, the gap. Raises ImportError."""
    # Without pyplot, which would look for a display.
    moments = gaps(board)
    width = 14.0 if moments else 7.0
    height = max(4.2, 1.2 + 0.34 * len(board.standings))
    figure = import_module("matplotlib.figure").Figure(
        figsize=(width, height), layout="constrained"
    )
    panels = figure.subplots(1, 3 if moments else 1, squeeze=False)[0]
    _draw_ratings(panels[0], board)
    if moments:
        _draw_releases(panels[1], board)
        _draw_gap(panels[2], moments)
    partial = picture.with_name(f".{picture.name}")
    figure.savefig(partial, format="png", dpi=130)
    partial.replace(picture)


def _draw_ratings(axes: Any, board: Leaderboard) -> None:
    for place, row in enumerate(board.standings):
        colour = GREY if row.open is None else COLOURS[row.open]
        axes.plot([row.low, row.high], [place, place], color=colour, linewidth=2, alpha=0.6)
        axes.plot([row.rating], [place], marker="o", color=colour)
    axes.set_yticks(range(len(board.standings)), [_name(row.model) for row in board.standings])
    axes.invert_yaxis()
    axes.set(title=f"ratings from {board.battles:,} battles, 95 %", xlabel="rating")
    axes.grid(axis="x", alpha=0.25)
    _plain(axes)


def _draw_releases(axes: Any, board: Leaderboard) -> None:
    rows = [board.standings[place] for place in dated(board)]
    last = max(_day(row) for row in rows)
    for kind in (False, True):
        own = sorted((row for row in rows if row.open is kind), key=_day)
        days = [_day(row) for row in own]
        best = np.maximum.accumulate([row.rating for row in own])
        axes.step([*days, last], [*best, best[-1]], where="post", color=COLOURS[kind], alpha=0.8,
                  label=f"best {KINDS[kind]} so far")  # fmt: skip
        errors: NDArray[np.float64] = np.array(
            [[row.rating - row.low for row in own], [row.high - row.rating for row in own]]
        ).clip(0)
        axes.errorbar(days, [row.rating for row in own], errors, fmt="o", color=COLOURS[kind],
                      elinewidth=1, markersize=4)  # fmt: skip
        for row in own:
            axes.annotate(
                _name(row.model), (_day(row), row.rating), (5, 6), textcoords="offset points",
                fontsize=7, bbox=BEHIND,
            )  # fmt: skip
    axes.set(title="when a strength could first be had", ylabel="rating today")
    axes.margins(x=0.12)
    axes.legend(fontsize=8, loc="best")
    _dates(axes)


def _draw_gap(axes: Any, moments: Sequence[Moment]) -> None:
    days = [moment.day for moment in moments]
    low, high = [moment.low for moment in moments], [moment.high for moment in moments]
    axes.step(days, [moment.gap for moment in moments], where="post", color="#333333", marker="o",
              markersize=4)  # fmt: skip
    axes.fill_between(days, low, high, step="post", alpha=0.2, color="#333333", linewidth=0)
    if len(days) == 1:  # no line to be seen
        error = [[moments[0].gap - low[0]], [high[0] - moments[0].gap]]
        axes.errorbar(days, [moments[0].gap], error, color="#333333")
    axes.axhline(0, color=GREY, linewidth=0.8, linestyle=":")
    axes.set(title="best closed − best open", ylabel="points, 95 %")
    _dates(axes)


def _dates(axes: Any) -> None:
    dates = import_module("matplotlib.dates")
    locator = dates.AutoDateLocator(minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    axes.grid(alpha=0.25)
    _plain(axes)


def _plain(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _name(model: str) -> str:
    """Short, and nothing that matplotlib would take for a formula."""
    short = model if len(model) <= 24 else model[:23] + "…"
    return short.replace("$", r"\$")
