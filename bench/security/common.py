"""What the security benches share: where results go, and how they are told."""

import argparse
import gzip
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[1:1] = [str(HERE), str(ROOT / "bench" / "engine"), str(ROOT / "src")]

FORMAT = argparse.RawDescriptionHelpFormatter
RESULTS = ROOT / "bench/results/security"


def report(name: str, options: argparse.Namespace, rows: Sequence[Mapping[str, Any]]) -> int:
    """Writes all rows as JSON, prints the figures of each, and returns 1 if a goal was missed.

    The `cases` of a row go into a file of their own, packed.
    """
    from cabinos import __version__

    quick = "-quick" if getattr(options, "quick", False) else ""
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / f"{name}{quick}.json"
    plain = [{k: v for k, v in row.items() if k != "cases"} for row in rows]
    told = {"bench": name, "quick": bool(quick), "cabin": __version__, "rows": plain}
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    if cases := {row["policy"]: row["cases"] for row in rows if "cases" in row}:
        text = json.dumps(cases, separators=(",", ":"), ensure_ascii=False)
        packed = gzip.compress(text.encode(), mtime=0)
        path.with_name(f"{name}-cases{quick}.json.gz").write_bytes(packed)
    for row in rows:
        print(", ".join(f"{k} {v}" for k, v in row.items() if not isinstance(v, list | dict)))
    print(f"written to {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}")
    return 0 if all(row.get("ok", True) for row in rows) else 1
