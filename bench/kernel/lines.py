"""How much there is to read: lines of the kernel and the store, file by file.

    python bench/kernel/lines.py

Everything counts: code, docstrings, comments and blank lines.
"""

import argparse
import ast
import sys
from pathlib import Path

import measure

GOAL = 4000  # lines of kernel and store together, everything counted
ROOMS = ("kernel", "store")


def count(path: Path) -> measure.Row:
    """Lines of a file: all, blank, and of its longest function."""
    text = path.read_text()
    lines = text.splitlines()
    longest = 0
    if path.suffix == ".py":
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
        longest = max(((f.end_lineno or 0) - f.lineno + 1 for f in functions), default=0)
    return {
        "file": str(path.relative_to(measure.ROOT / "src" / "cabinos")),
        "lines": len(lines),
        "blank": sum(not line.strip() for line in lines),
        "longest function": longest,
    }


def main() -> int:
    options: argparse.Namespace = measure.finish(measure.parser(__doc__, repeats=1).parse_args())
    source = measure.ROOT / "src" / "cabinos"
    paths = [p for room in ROOMS for p in sorted((source / room).rglob("*")) if p.is_file()]
    rows = [count(path) for path in paths if path.suffix in (".py", ".sql")]
    total = sum(row["lines"] for row in rows)
    rows.append(
        {
            "file": "kernel and store",
            "lines": total,
            "blank": sum(row["blank"] for row in rows),
            "longest function": max(row["longest function"] for row in rows),
            "goal": GOAL,
            "ok": total < GOAL,
        }
    )
    return measure.report("lines", options, rows)


if __name__ == "__main__":
    sys.exit(main())
