"""How long `cabin --help` takes, beside an empty Python.

    python bench/kernel/cabin_help.py [--quick]

Whole processes, from start to end.
"""

import argparse
import os
import subprocess
import sys
import time

import measure

GOAL = 150.0  # ms
WAYS = {
    "cabin --help": ["-m", "cabinos", "--help"],
    "python -c pass": ["-c", "pass"],
}


def main() -> int:
    options: argparse.Namespace = measure.finish(measure.parser(__doc__, repeats=21).parse_args())
    samples: dict[str, list[float]] = {name: [] for name in WAYS}
    env = {**os.environ, "PYTHONPATH": str(measure.ROOT / "src")}
    for _ in range(options.repeats + 1):
        for name, arguments in WAYS.items():
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=env
            )
            samples[name].append(1e3 * (time.perf_counter() - start))
    rows: list[measure.Row] = []
    for name, values in samples.items():
        row: measure.Row = {"what": f"{name}, ms", **measure.spread(values[1:])}  # one to warm up
        if name.startswith("cabin"):
            row |= {"goal": GOAL, "ok": row["median"] <= GOAL}
        rows.append(row)
    return measure.report("cabin_help", options, rows)


if __name__ == "__main__":
    sys.exit(main())
