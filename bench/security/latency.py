"""How long one decision takes: every row of the policy's table, a hundred thousand checks.

python bench/security/latency.py
"""

import argparse
import importlib.util
import sys
import time
from pathlib import Path

import common

from cabinos.kernel.policy import Policy, check

GOAL = 20.0  # µs, 99th percentile


def main() -> int:
    """Measures each call by itself; the figure of the best of five rounds is the machine's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=common.FORMAT)
    parser.add_argument("--quick", action="store_true", help="a tenth of the checks")
    parser.add_argument("--results", type=Path, default=common.RESULTS)
    options = parser.parse_args()
    path = common.ROOT / "tests/security/test_policy.py"
    spec = importlib.util.spec_from_file_location("table", path)
    assert spec is not None
    assert spec.loader is not None
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    rows = [(subject, request) for _, subject, request, *_ in table.TABLE]
    policy, rounds = Policy(), []
    each = (2_000 if options.quick else 20_000) // len(rows)
    for _ in range(5):
        times = []
        for subject, request in rows * each:
            began = time.thread_time_ns()
            check(subject, request, policy)
            times.append((time.thread_time_ns() - began) / 1000)
        times.sort()
        rounds.append((times[len(times) * 99 // 100], sum(times) / len(times)))
    p99, mean = min(rounds)
    row = {"checks": 5 * each * len(rows), "p99_us": round(p99, 2), "mean_us": round(mean, 2),
           "goal": GOAL, "ok": p99 < GOAL, "rounds": [round(p, 2) for p, _ in rounds]}  # fmt: skip
    return common.report("latency", options, [row])


if __name__ == "__main__":
    sys.exit(main())
