"""Does the fitter find in Chinchilla's own runs what was published of them, and how fast?

    python bench/workshop/chinchilla.py --data DATA

DATA is a data folder with the stored set (`cabin data get --eval chinchilla_runs`): 245 runs that
Besiroglu et al. 2024 (arXiv:2404.10102) read off a figure of Hoffmann et al. 2022. Their estimate
is from 240 of them. Here the five with the fewest tokens to a parameter (below 0.42) are left out;
that these are the publication's five is a guess. All 245 are fitted too, and reported. Goals: each
of the law's numbers within 3 % of the published.

`--quick`: fewer starts and no bootstrap; without DATA, points made of the published law instead.
"""

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from cabinos.lab.evaluate.sets import read_set
from cabinos.train.scaling.fit import Fit, fit_law, objective, require_scipy
from cabinos.train.scaling.isoflop import fit_isoflop
from cabinos.train.scaling.law import CHINCHILLA
from cabinos.train.scaling.points import Points, points_of

ROOT = Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(ROOT / "bench" / "engine")]

import harness  # noqa: E402

BUDGETS = (6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21)
FEWEST = 0.42  # tokens to a parameter
GOAL = 0.03


def stored(data: Path | None) -> Points | None:
    if data is None:
        return None
    return points_of(enumerate(read_set(data, "chinchilla_runs"), 1), "chinchilla_runs")


def made() -> Points:
    """What the published law says of runs like Chinchilla's, with 1 % of noise."""
    generator = np.random.default_rng(0)
    flops = np.repeat(BUDGETS, 12)
    n = CHINCHILLA.optimum(flops)[0] * np.tile(np.geomspace(1 / 6, 6, 12), len(BUDGETS))
    d = flops / 6 / n
    noise = np.exp(0.005 * generator.normal(size=len(n)))
    return Points(n, d, flops, CHINCHILLA.loss(n, d) * noise)


def published_objective(points: Points) -> float:
    """The error of the published numbers on these points, as the fitter counts it."""
    law = CHINCHILLA
    x = np.array([np.log(law.A), np.log(law.B), np.log(law.E), law.alpha, law.beta])
    n, d, y = (np.log(v) for v in (points.parameters, points.tokens, points.loss))
    return objective(x, n, d, y)[0]


def row(
    name: str, points: Points, goal: float | None, **options: Any
) -> tuple[dict[str, Any], Fit]:
    wall, cpu = time.perf_counter(), time.process_time()
    fit = fit_law(points, **options)
    spent = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    truth, found = asdict(CHINCHILLA), asdict(fit.law)
    off = {key: found[key] / truth[key] - 1 for key in truth}
    worst = max(map(abs, off.values()))
    line = {"runs": name, "n": len(points), **found, "a": fit.law.exponent, "worst": worst,
            "objective": fit.objective, "published": published_objective(points), **spent,
            "ok": None if goal is None else worst <= goal}  # fmt: skip
    return line, fit


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results/workshop")
    options = parser.parse_args()
    require_scipy()
    points = stored(options.data)
    if points is None:
        if not options.quick:
            parser.error("give --data with the stored set: cabin data get --eval chinchilla_runs")
        line, _ = row("made", made(), None, bootstrap=0, starts=20)
        return harness.report("chinchilla", options, [line])
    chosen = points.with_data(FEWEST)
    starts, draws = (20, 0) if options.quick else (100, 0)
    first, _ = row("240: as published", chosen, GOAL, bootstrap=draws, starts=starts)
    every, _ = row("all 245", points, None, bootstrap=draws, starts=starts)
    detail: dict[str, Any] = {"published": asdict(CHINCHILLA)}
    rows = [first, every]
    if not options.quick:
        line, fit = row("240, 400 draws", chosen, GOAL, bootstrap=400, starts=starts)
        rows.append(line)
        detail["intervals"] = fit.facts()["law"]
        isoflop = fit_isoflop(points, BUDGETS)
        detail["isoflop"] = {"exponent": isoflop.exponent, "interval": isoflop.interval}
    return harness.report("chinchilla", options, rows, detail=detail)


if __name__ == "__main__":
    raise SystemExit(main())
