"""Strengths out of battles: are they scikit-learn's, and how long do a hundred bootstraps take?

    python bench/workshop/bradley_terry.py

A world of 20 models in which Bradley-Terry holds, with 15 % ties, a left side that is worth
something and four features of style. Fitted three times: strengths alone, with the side, with side
and style. Beside it, scikit-learn's LogisticRegression without a penalty over the same battles, as
FastChat's notebooks did it: ties as two rows of half the weight, a column for each model. One round
of it is timed. Goals: no number differs by more than 1e-6; 100,000 battles and 100 bootstraps in
less than 5 s of CPU, from the battles to the intervals.

`--quick`: 10,000 battles. Without scikit-learn, only times are measured.
"""

import argparse
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(ROOT / "bench" / "engine"), str(ROOT), str(ROOT / "src")]

import harness  # noqa: E402
from cabinos.lab.arena.bradley_terry import Design, bootstrap, fit  # noqa: E402

Array = NDArray[np.float64]
MODELS, ROUNDS = 20, 100
CLOSE, SECONDS = 1e-6, 5.0


def world(count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, Array]:
    """(left, right, won, facts [count, 5]): the side first, then style."""
    random = np.random.default_rng(seed)
    strengths = 0.8 * random.normal(size=MODELS)
    left = random.integers(0, MODELS, count)
    right = (left + random.integers(1, MODELS, count)) % MODELS
    facts = np.column_stack([np.ones(count), random.normal(size=(count, 4))])
    odds = strengths[left] - strengths[right] + facts @ np.array([0.1, 0.3, 0.0, 0.1, -0.1])
    won = (random.random(count) < 1 / (1 + np.exp(-odds))).astype(np.float64)
    won[random.random(count) < 0.15] = 0.5
    return left, right, won, facts


def theirs(
    left: NDArray[np.int64], right: NDArray[np.int64], won: Array, facts: Array
) -> tuple[Array, Array]:
    """(θ with mean 0, γ) by scikit-learn."""
    from sklearn.linear_model import LogisticRegression

    rows = np.zeros((len(left), MODELS))
    each = np.arange(len(left))
    rows[each, left], rows[each, right] = 1, -1
    rows = np.hstack([rows[:, 1:], facts])  # the first model is at 0
    tie = won == 0.5
    model = LogisticRegression(
        C=np.inf, fit_intercept=False, solver="newton-cholesky", tol=1e-12, max_iter=200
    ).fit(
        np.vstack([rows, rows[tie]]),
        np.concatenate([np.where(tie, 1, won), np.zeros(tie.sum())]),
        sample_weight=np.concatenate([np.where(tie, 0.5, 1), np.full(tie.sum(), 0.5)]),
    )
    strengths = np.concatenate([[0.0], model.coef_[0][: MODELS - 1]])
    return strengths - strengths.mean(), model.coef_[0][MODELS - 1 :]


def measure(name: str, count: int, columns: int) -> dict[str, Any]:
    """One row of the table."""
    left, right, won, facts = world(count, 0)
    facts = facts[:, :columns]
    wall, cpu = time.perf_counter(), time.process_time()
    design = Design.of(MODELS, left, right, won, facts)
    found = fit(design)
    rounds = bootstrap(design, ROUNDS)
    rounds.interval(rounds.strengths)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    row = {
        "facts": name,
        "battles": count,
        "rows": len(design.count),
        "seconds": wall,
        "cpu": cpu,
        "ok": cpu <= SECONDS,
    }
    if find_spec("sklearn") is None:
        return row
    import sklearn.linear_model  # noqa: F401 - importing it is no part of a round

    cpu = time.process_time()
    strengths, effects = theirs(left, right, won, facts)
    once = time.process_time() - cpu
    differences = [strengths - found.strengths, effects - found.effects]
    differs = float(np.abs(np.concatenate(differences)).max())
    ok = row["ok"] and differs <= CLOSE
    return {**row, "sklearn_cpu_a_round": once, "differs": differs, "ok": ok}


def main() -> int:
    """Prints the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the battles")
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results/workshop")
    options = parser.parse_args()
    count = 10_000 if options.quick else 100_000
    kinds = {"strengths": 0, "and the side": 1, "and style": 5}
    rows = [measure(name, count, columns) for name, columns in kinds.items()]
    if "differs" not in rows[0]:
        print("scikit-learn is not installed: nothing to compare with.")
    detail = {"models": MODELS, "bootstraps": ROUNDS}
    return harness.report("bradley_terry", options, rows, detail=detail)


if __name__ == "__main__":
    sys.exit(main())
