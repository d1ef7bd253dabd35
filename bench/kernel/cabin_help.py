"""How long `cabin --help` takes, beside an empty Python.

    python bench/kernel/cabin_help.py [--quick]

Whole processes, from start to end; the first of each, which may have to compile, does not count.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

import measure

GOAL = 150.0  # ms
WAYS = {
    "cabin --help": ["-m", "cabinos", "--help"],
    "python -c pass": ["-c", "pass"],
}


def children_cpu() -> float:
    """Seconds of user and system time of all processes this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    options: argparse.Namespace = measure.finish(measure.parser(__doc__, repeats=21).parse_args())
    samples: dict[str, list[float]] = {name: [] for name in WAYS}
    used: dict[str, list[float]] = {name: [] for name in WAYS}
    env = {**os.environ, "PYTHONPATH": str(measure.ROOT / "src")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled
    for _ in range(options.repeats + 1):
        for name, arguments in WAYS.items():
            start, cpu = time.perf_counter(), children_cpu()
            subprocess.run(
                [sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=env
            )
            samples[name].append(1e3 * (time.perf_counter() - start))
            used[name].append(1e3 * (children_cpu() - cpu))
    rows: list[measure.Row] = []
    for name, values in samples.items():
        row: measure.Row = {"what": f"{name}, ms", **measure.spread(values[1:])}
        row["CPU ms"] = statistics.median(used[name][1:])
        if name.startswith("cabin"):
            row |= {"goal": GOAL, "ok": row["median"] <= GOAL}
        rows.append(row)
    return measure.report("cabin_help", options, rows)


if __name__ == "__main__":
    sys.exit(main())
