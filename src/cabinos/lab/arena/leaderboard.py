"""Strengths of all who met, with intervals, and what else decided battles beside strength.

A rating is 1000 + 400 θ / ln 10: 1000 is the mean of those who met, and 400 points more win ten
times as often. Intervals are 95 % percentiles over resampled battles. A rank counts those whose
interval lies wholly above one's own, so that models that cannot be told apart share a rank.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from cabinos.lab.arena.battles import Battle
from cabinos.lab.arena.bradley_terry import ELO, Bootstrap, Design, Fit, bootstrap, fit
from cabinos.lab.arena.contestants import Facts
from cabinos.lab.arena.errors import ArenaError
from cabinos.lab.arena.style import STYLE, contrast
from cabinos.lab.arena.voting import WORTH, human_habits
from cabinos.lab.comparisons.agreement import Agreement, Lean

__all__ = ["MEAN", "Effect", "Leaderboard", "Standing", "build"]

MEAN = 1000.0
NO_STYLE = (0,) * len(STYLE)


@dataclass(frozen=True, slots=True)
class Standing:
    """One model's row."""

    model: str
    rank: int
    rating: float
    low: float
    high: float
    battles: int
    won: float  # share; a tie is half
    open: bool | None = None
    released: date | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """What else decides battles, in points: of standing on the left, or of a standard deviation."""

    name: str
    points: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """The table and what stands below it."""

    standings: Sequence[Standing]
    effects: Sequence[Effect]
    battles: int
    by: Mapping[str, int]  # battles by who decided them
    ties: float  # share of battles without a winner
    consistent: Mapping[str, float]  # of a judge: share of battles that it saw the same both ways
    agreement: Agreement  # of people with themselves
    lean: Lean  # of people to the left
    drawn: bool  # draws were added to keep ratings finite
    rounds: NDArray[np.float64]  # ratings in each round of the bootstrap, in the table's order


def build(
    battles: Sequence[Battle],
    facts: Mapping[str, Facts],
    *,
    style: bool = False,
    rounds: int = 200,
    seed: int = 0,
) -> Leaderboard:
    """The leaderboard of these battles. `style`: as if all answers were of the same style.

    Raises ArenaError if there are none that count.
    """
    counted = [battle for battle in battles if not battle.repeat and battle.winner != "skip"]
    if not counted:
        raise ArenaError("no battle has been decided yet: cabin arena vote, or cabin arena battle.")
    names = sorted({name for battle in counted for name in (battle.a, battle.b)})
    columns, effects = _columns(counted, style)
    design = _design(counted, names, columns)
    found, drawn = fit(design), bootstrap(design, rounds, seed=seed)
    standings, ratings = _standings(counted, names, facts, found, drawn)
    same, leaning = human_habits(battles)
    judged: dict[str, list[bool]] = {}
    for battle in counted:
        if battle.by.startswith("judge:"):
            judged.setdefault(battle.by, []).append(battle.consistent)
    return Leaderboard(
        standings,
        _effects(effects, found, drawn),
        len(counted),
        dict(Counter(battle.by for battle in counted)),
        sum(battle.winner in ("tie", "bad") for battle in counted) / len(counted),
        {by: sum(values) / len(values) for by, values in judged.items()},
        same,
        leaning,
        found.drawn,
        ratings,
    )


def _columns(battles: Sequence[Battle], style: bool) -> tuple[NDArray[np.float64], list[str]]:
    """(facts [battles, K], their names). The left model of a battle is its left, or a."""
    sides = np.array([float(bool(battle.left)) for battle in battles])
    parts, names = [], []
    if sides.any():
        parts.append(sides[:, None])
        names.append("left side")
    if style:
        left = [_style(battle)[0] for battle in battles]
        right = [_style(battle)[1] for battle in battles]
        features, kinds = contrast(left, right)
        parts.append(features)
        names += kinds
    return (np.hstack(parts) if parts else np.empty((len(battles), 0))), names


def _style(battle: Battle) -> tuple[tuple[int, ...], tuple[int, ...]]:
    one, other = battle.style or (NO_STYLE, NO_STYLE)
    return (other, one) if battle.left == "b" else (one, other)


def _design(
    battles: Sequence[Battle], names: Sequence[str], columns: NDArray[np.float64]
) -> Design:
    number = {name: place for place, name in enumerate(names)}
    turned = [battle.left == "b" for battle in battles]
    pairs = np.array([(number[battle.a], number[battle.b]) for battle in battles])
    won = np.array([WORTH[battle.winner] for battle in battles])
    pairs[turned] = pairs[turned][:, ::-1]
    won[turned] = 1 - won[turned]
    return Design.of(len(names), pairs[:, 0], pairs[:, 1], won, columns)


def _standings(
    battles: Sequence[Battle],
    names: Sequence[str],
    facts: Mapping[str, Facts],
    found: Fit,
    drawn: Bootstrap,
) -> tuple[list[Standing], NDArray[np.float64]]:
    """(rows, the best first, and the ratings of each round in that order)."""
    rating = MEAN + ELO * (found.strengths - found.strengths.mean())
    ratings = MEAN + ELO * drawn.strengths
    low, high = drawn.interval(ratings)
    fought: Counter[str] = Counter()
    won: dict[str, float] = dict.fromkeys(names, 0.0)
    for battle in battles:
        worth = WORTH[battle.winner]
        fought.update((battle.a, battle.b))
        won[battle.a] += worth
        won[battle.b] += 1 - worth
    order = [int(place) for place in np.argsort(-rating, kind="stable")]
    standings = []
    for place in order:
        known = facts.get(names[place], Facts(""))
        standings.append(
            Standing(
                names[place],
                1 + int((low > high[place]).sum()),
                float(rating[place]),
                float(low[place]),
                float(high[place]),
                fought[names[place]],
                won[names[place]] / fought[names[place]],
                known.open,
                known.released,
            )
        )
    return standings, ratings[:, order]


def _effects(names: Sequence[str], found: Fit, drawn: Bootstrap) -> list[Effect]:
    low, high = drawn.interval(ELO * drawn.effects)
    points = ELO * found.effects
    columns = zip(names, points, low, high, strict=True)
    return [Effect(name, float(p), float(lo), float(hi)) for name, p, lo, hi in columns]
