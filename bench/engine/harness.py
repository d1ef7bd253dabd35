"""What every bench shares: options, models, statistics, machine facts, the table and the JSON line.

A bench is a script `bench/engine/NAME.py`. It prints a table for people, writes everything to
`bench/results/NAME.json`, and prints exactly one JSON line last. `--quick` stays under a minute and
makes a 30M-parameter model on the spot.
"""

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import make_models

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results"
PEERS = {"llama-cpp": "LLAMA_CPP", "ik-llama": "IK_LLAMA", "llama2c": "LLAMA2C"}

Row = dict[str, Any]


def parser(doc: str | None, *, repeats: int = 5) -> argparse.ArgumentParser:
    """The options all benches share; a bench adds its own to the result."""
    result = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--quick", action="store_true", help="one small model, under a minute")
    result.add_argument("--models", nargs="+", type=Path, help="GGUF files, named SHAPE-TYPE.gguf")
    result.add_argument("--threads", nargs="+", type=int, help="thread counts (default: 1 and all)")
    result.add_argument(
        "--repeats", type=int, help=f"repeats of each measurement (default {repeats})"
    )
    result.add_argument("--results", type=Path, default=RESULTS, help="folder for NAME.json")
    for flag, variable in PEERS.items():
        result.add_argument(
            f"--{flag}",
            metavar="DIR",
            type=Path,
            default=os.environ.get(variable),
            help=f"built tree or folder of binaries (default: ${variable})",
        )
    result.set_defaults(default_repeats=repeats)
    return result


def finish(options: argparse.Namespace) -> argparse.Namespace:
    """Fill what the user left open: threads, repeats, and for --quick the model."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    options.threads = options.threads or sorted({1, cores})
    options.repeats = options.repeats or (3 if options.quick else options.default_repeats)
    return options


def arguments(doc: str | None, *, repeats: int = 5) -> argparse.Namespace:
    """Parse the command line of a bench with no options of its own."""
    return finish(parser(doc, repeats=repeats).parse_args())


def models(options: argparse.Namespace, types: Sequence[str] = ("Q4_0", "Q8_0")) -> list[Path]:
    """The GGUF files to measure: the user's, or 30M ones of `types` made for --quick."""
    if options.models:
        for path in options.models:
            if not path.is_file():
                raise SystemExit(f"bench: no such model file: {path}")
        return [path.resolve() for path in options.models]
    if not options.quick:
        raise SystemExit("bench: give --models FILE… (see make_models.py), or --quick")
    folder = Path(tempfile.gettempdir()) / f"cabin-bench-{os.getuid()}"
    return [make_models.make(folder, "30M", type_name) for type_name in types]


def engine() -> Any:
    """The module `cabinos.engine.model`: the installed one, else the one of this tree."""
    try:
        from cabinos.engine import model
    except ImportError:
        sys.path.insert(0, str(ROOT / "src"))
        from cabinos.engine import model
    return model


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Median, best (largest), worst, and spread = (best − worst) / median of speeds."""
    middle = statistics.median(values)
    return {
        "median": middle,
        "best": max(values),
        "worst": min(values),
        "spread": (max(values) - min(values)) / middle if middle else 0.0,
        "n": len(values),
    }


def processor() -> dict[str, Any]:
    """The processor's name and the instruction sets that matter here."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    pairs = (line.partition(":") for line in info.splitlines())
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    wanted = ["avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "asimddp", "i8mm"]
    return {
        "cpu": fields.get("model name", platform.processor() or platform.machine()),
        "flags": [flag for flag in wanted if flag in flags],
        "cores": os.cpu_count(),
    }


def commit(folder: Path) -> str:
    """The git commit checked out at `folder`, or "unknown"."""
    command = ["git", "-C", str(folder), "rev-parse", "--short=9", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def facts() -> dict[str, Any]:
    """Where and when this ran."""
    return {
        **processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "cabin": commit(ROOT),
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def text_of(value: Any) -> str:
    """One table cell: three significant digits for measured numbers."""
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return "" if value is None else str(value)


def table(title: str, rows: Sequence[Row], columns: Sequence[str] = ()) -> None:
    """Print `rows`; without `columns`, one column for each key that holds a plain value."""
    from rich.console import Console
    from rich.table import Table

    plain = (str, int, float, type(None))
    if not columns:
        keys = [key for row in rows for key, value in row.items() if isinstance(value, plain)]
        columns = list(dict.fromkeys(keys))
    view = Table(title=title)
    for column in columns:
        words = any(isinstance(row.get(column), str) for row in rows)
        view.add_column(column, justify="left" if words else "right")
    for row in rows:
        view.add_row(*(text_of(row.get(column)) for column in columns))
    Console(width=None if sys.stdout.isatty() else 180).print(view)


def report(
    name: str,
    options: argparse.Namespace,
    rows: list[Row],
    *,
    columns: Sequence[str] = (),
    detail: dict[str, Any] | None = None,
) -> int:
    """Print the table, write NAME.json with machine facts, and print the JSON line.

    A row may say whether it reached a goal with `ok` (True, False, or None where none is set). The
    answer is the exit status, 0: a missed goal is a result, not a failure of the bench.
    """
    table(name, rows, columns)
    judged = sum(row.get("ok") is not None for row in rows)
    missed = sum(row.get("ok") is False for row in rows)
    head = {"bench": name, "quick": options.quick, "goals": judged, "missed": missed}
    result = {**head, "machine": facts(), **(detail or {}), "rows": rows}
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / (f"{name}-quick.json" if options.quick else f"{name}.json")
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{judged - missed} of {judged} goals reached; all figures in {path}")
    print(json.dumps(result, separators=(",", ":")))
    return 0
