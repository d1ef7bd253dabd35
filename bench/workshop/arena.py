"""How many votes it takes to find out who is better, when the voter is wrong one time in ten.

    python bench/workshop/arena.py

Ten models of known order; a simulated rater prefers the better of two, and at the rate of the noise
the other. After so many votes, Kendall's τ between the truth and the ratings: the mean over the
seeds, the worst seed, and the share of seeds with τ ≥ 0.9 (two pairs of 45 in the wrong order).
"chosen": the arena's matchmaker says who meets; "chance": two at random. Where the noise is said in
logits, the world is Bradley and Terry's, with neighbours that far apart: at 0.5 the better of two
neighbours wins 62 %, and the best of all hardly ever loses to the last. The last rows send the
rater through the real ballot of `cabin arena vote`, log and repeats included, with ten models and
60 prompts: τ, and how often it said the same when asked twice (1 − 2·noise·(1 − noise) is
expected). Goal: a mean τ ≥ 0.9 at 500 votes with 10 % noise.

`--quick`: three seeds.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(ROOT / "bench" / "engine"), str(ROOT), str(ROOT / "src")]

import harness  # noqa: E402
from cabinos.lab.arena.answers import Answer  # noqa: E402
from cabinos.lab.arena.battles import Battles  # noqa: E402
from cabinos.lab.arena.leaderboard import build  # noqa: E402
from cabinos.lab.arena.simulate import kendall_tau, simulate, tau  # noqa: E402
from cabinos.lab.arena.voting import Voting, human_habits  # noqa: E402
from cabinos.lab.comparisons.collect import Question, collect  # noqa: E402
from cabinos.lab.comparisons.simulate import SimulatedRater  # noqa: E402

MODELS, VOTES, GOAL = 10, 500, 0.9
STEPS = (50, 100, 200, 300, 500)


def simulated(
    noise: float, spacing: float | None, active: bool, seeds: int
) -> list[dict[str, Any]]:
    """A row for each of STEPS."""
    runs = [
        simulate(MODELS, VOTES, noise=noise, spacing=spacing, seed=seed, active=active)
        for seed in range(seeds)
    ]
    rows = []
    for votes in STEPS:
        found = [tau(MODELS, run[:votes]) for run in runs]
        judged = votes == VOTES and active and noise == 0.1 and spacing is None
        rows.append({
            "who meets": "chosen" if active else "chance",
            "noise": f"{100 * noise:.0f} %" if spacing is None else f"{spacing} logits apart",
            "votes": votes,
            "tau": float(np.mean(found)),
            "worst": float(np.min(found)),
            "share": float(np.mean([value >= GOAL for value in found])),
            "seeds": seeds,
            "ok": float(np.mean(found)) >= GOAL if judged else None,
        })  # fmt: skip
    return rows


def worth(question: Question, side: str) -> float:
    """The better model's answer begins with the larger number."""
    shown = question.left if side == "left" else question.right
    return float(shown[0]["content"].split()[0])


def voted(noise: float, seed: int) -> dict[str, Any]:
    """The real ballot, in a folder of its own."""
    answers = {
        (f"m{n}", f"p{p}"): Answer(
            f"m{n}", f"hash {n}", f"p{p}", "", ("?",), (f"{MODELS - n} says {p}",)
        )
        for n in range(MODELS)
        for p in range(60)
    }
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        with Battles(Path(folder)) as battles:
            ballot = Voting(answers, battles, "human:simulated", seed=seed)
            collect(ballot, SimulatedRater(worth, noise=noise, seed=seed), limit=VOTES)
            board = build(battles.found, {})
            same, _ = human_habits(battles.found)
    order = [int(row.model[1:]) for row in board.standings]
    return {
        "who meets": "the ballot",
        "noise": f"{100 * noise:.0f} %",
        "votes": VOTES,
        "tau": kendall_tau(list(range(MODELS)), [float(order.index(n)) for n in range(MODELS)]),
        "agreement": same.share,
        "expected": 1 - 2 * noise * (1 - noise),
        "repeats": same.pairs,
        "cpu": time.process_time() - began,
        "ok": None,
    }


def main() -> int:
    """Prints the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three seeds, under a minute")
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results/workshop")
    options = parser.parse_args()
    seeds = 3 if options.quick else 20
    rows = []
    worlds: list[tuple[float, float | None]] = [(0.1, None)]
    if not options.quick:
        worlds += [(0.2, None), (0.0, 0.5)]
    for noise, spacing in worlds:
        for active in (True, False):
            rows += simulated(noise, spacing, active, seeds)
    rows += [voted(0.1, seed) for seed in range(1 if options.quick else 3)]
    return harness.report("arena", options, rows, detail={"models": MODELS})


if __name__ == "__main__":
    sys.exit(main())
