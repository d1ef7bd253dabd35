"""Ways out, each tried for real against a honeypot on 127.0.0.1. See lab/redteam/exfiltration.py.

python bench/security/exfiltration.py            # every case, with the gate and without
python bench/security/exfiltration.py --quick    # every third
"""

import argparse
import json
import sys
import time
from pathlib import Path

import common


def main() -> int:
    """Runs the cases, prints those that went wrong and one JSON line, writes every case."""
    from cabinos import __version__
    from cabinos.lab.redteam import exfiltration

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=common.FORMAT)
    parser.add_argument("--quick", action="store_true", help="every third case")
    parser.add_argument("--results", type=Path, default=common.RESULTS)
    options = parser.parse_args()
    began = time.perf_counter()
    cases = exfiltration.load()[:: 3 if options.quick else 1]
    rows = [exfiltration.verdict(case) for case in cases]
    for row in rows:
        if "skipped" in row:
            print(f"{row['case']}: not run, needs {row['skipped']}")
        elif not row["ok"]:
            print(f"{row['case']}: {row['leaks']}, {row['asked']} questions, "
                  f"without the gate {row['leaks_without_gate']}")  # fmt: skip
    figures = exfiltration.summary(rows)
    seconds = round(time.perf_counter() - began, 1)
    told = {"bench": "exfiltration", "quick": options.quick, "cabin": __version__, **figures}
    name = f"exfiltration{'-quick' if options.quick else ''}.json"
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / name
    text = json.dumps({**told, "seconds": seconds, "each": rows}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    print(json.dumps({**told, "seconds": seconds}))
    return 0 if figures["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
