"""Can the loss of a larger run be said before it begins? Ladder, prediction, run, check.

    python bench/workshop/ladder.py --data DATA --out LADDER --full --target 1.4e15
    python bench/workshop/ladder.py --data DATA --out LADDER --small --target 1e12
    python bench/workshop/ladder.py --quick

DATA is a folder that `cabin data get` prepared. Every step is the command that a person would type
(`cabin scale plan`, `run`, `fit`, `predict`, `run`, `check`); all of them are resumable, so this is
too. Goal: the larger run within 3 % of what was written down before it began. Its loss by the runs'
own best guess, that of the largest rung, is reported beside: a prediction that is no better than
"like the last one" would be none.

`--full`: rungs of 1e12 to 3e13 operations, about two hours on one core of 2021, and ten more for
the run of 1.4e15. `--small`: rungs of 4e10 to 2e11, minutes. `--quick`: a tiny ladder on the text
of a book, without a goal.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cabinos.train.scaling.ladder import Ladder

ROOT = Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(ROOT / "bench" / "engine"), str(ROOT)]

import harness  # noqa: E402

GOAL = 0.03
FULL = ("--flops", "2.4e14", "--budgets", "4", "--sizes", "5", "--span", "30")
SMALL = ("--flops", "1.05e12", "--budgets", "3", "--sizes", "3", "--span", "5",
         "--batch-tokens", "512", "--context", "128", "--held-out", "4096")  # fmt: skip
TINY = ("--flops", "2e10", "--budgets", "3", "--sizes", "3", "--span", "3", "--batch-tokens", "16",
        "--context", "16", "--held-out", "256", "--mix", "books=1")  # fmt: skip


def cabin(*words: object) -> str:
    """What the command prints. Its progress is shown on stderr."""
    command = [sys.executable, "-m", "cabinos", "scale", *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def climb(ladder: Path, data: Path, plan: tuple[str, ...], target: str, options: Any) -> Any:
    """From a plan to an outcome; what is done already is left as it is."""
    machine = ("--threads", options.threads, "--device", options.device)
    place = ("--data", data)
    costs = json.loads(cabin("plan", ladder, *place, *plan, *machine, "--json"))
    cabin("run", ladder, *place, "--workers", options.workers, *machine)
    fit = json.loads(cabin("fit", ladder, "--json"))
    if not (ladder / "predictions.jsonl").is_file():
        cabin("predict", ladder, "--flops", target)
    cabin("run", ladder, *place, *machine)
    (outcome,) = json.loads(cabin("check", ladder, "--json"))
    return costs, fit, outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, help="the ladder's folder")
    parser.add_argument("--target", help="operations of the larger run")
    parser.add_argument("--small", action="store_true", help="a ladder of 1e12 operations")
    parser.add_argument("--full", action="store_true", help="a ladder of 2e14 operations")
    parser.add_argument("--threads", default="1")
    parser.add_argument("--workers", default="1")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results/workshop")
    options = parser.parse_args()
    began = time.perf_counter()
    if options.quick:
        from tests.train.fixtures import prepared

        with tempfile.TemporaryDirectory() as folder:
            data = prepared(Path(folder))
            found = climb(Path(folder) / "ladder", data, TINY, "1e10", options)
            return tell(Path(folder) / "ladder", found, began, options)
    if not (options.data and options.out and options.target and options.small != options.full):
        parser.error("give --data, --out, --target and --small or --full; or --quick alone")
    plan = SMALL if options.small else FULL
    found = climb(options.out, options.data, plan, options.target, options)
    return tell(options.out, found, began, options)


def tell(folder: Path, found: Any, began: float, options: argparse.Namespace) -> int:
    costs, fit, outcome = found
    del fit["source"]
    ladder = Ladder.open(folder)
    results = list(ladder.results())
    largest = min((r for r in results if r.flops > 0.9 * max(x.flops for x in results)),
                  key=lambda r: r.loss)  # fmt: skip
    seconds = sum(result.seconds for result in results)
    error = abs(outcome["error"])
    row = {
        "runs": len(results),
        "operations": costs["flops"],
        "training seconds": seconds,
        "predicted": outcome["predicted"],
        "measured": outcome["measured"],
        "error": outcome["error"],
        "inside": outcome["inside"],
        "like the last one": largest.loss / outcome["measured"] - 1,
        "ok": None if options.quick else error <= GOAL,
    }
    detail = {"fit": fit, "outcome": outcome, "rungs": [vars(result) for result in results],
              "seconds": time.perf_counter() - began}  # fmt: skip
    return harness.report("ladder", options, [row], detail=detail)


if __name__ == "__main__":
    raise SystemExit(main())
