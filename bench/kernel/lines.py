"""How much there is to read: lines of the kernel and the store, file by file.

    python bench/kernel/lines.py

`lines` counts everything. `code` leaves out blank lines, comments and docstrings: it is what the
goal is for, so that explaining costs nothing.
"""

import argparse
import ast
import sys
from pathlib import Path

import measure

GOAL = 4000  # lines of code of kernel and store together
ROOMS = ("kernel", "store")


def words(tree: ast.AST) -> set[int]:
    """The lines of docstrings."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
            first = node.body[0]
            found |= set(range(first.lineno, (first.end_lineno or 0) + 1))
    return found


def count(path: Path) -> measure.Row:
    """Lines of a file: all, of code, and of its longest function."""
    text = path.read_text()
    lines = text.splitlines()
    longest, said = 0, set[int]()
    if path.suffix == ".py":
        tree = ast.parse(text)
        said = words(tree)
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        functions = [node for node in ast.walk(tree) if isinstance(node, kinds)]
        longest = max(((f.end_lineno or 0) - f.lineno + 1 for f in functions), default=0)
    return {
        "file": str(path.relative_to(measure.ROOT / "src" / "cabinos")),
        "lines": len(lines),
        "code": sum(
            bool(line.strip()) and not line.lstrip().startswith(("#", "--")) and number not in said
            for number, line in enumerate(lines, 1)
        ),
        "longest function": longest,
    }


def main() -> int:
    options: argparse.Namespace = measure.finish(measure.parser(__doc__, repeats=1).parse_args())
    source = measure.ROOT / "src" / "cabinos"
    paths = [p for room in ROOMS for p in sorted((source / room).rglob("*")) if p.is_file()]
    rows = [count(path) for path in paths if path.suffix in (".py", ".sql")]
    code = sum(row["code"] for row in rows)
    rows.append(
        {
            "file": "kernel and store",
            "lines": sum(row["lines"] for row in rows),
            "code": code,
            "longest function": max(row["longest function"] for row in rows),
            "goal": GOAL,
            "ok": code < GOAL,
        }
    )
    return measure.report("lines", options, rows)


if __name__ == "__main__":
    sys.exit(main())
