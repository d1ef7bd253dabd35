"""What the kernel's benches share: sides in fresh processes, run in turns, and their statistics.

A side is one of the systems compared (see workload.py). Every repeat of every side is a process of
its own, and the sides take turns within a repeat, so that a slow minute of the machine hits all.
Tables, machine facts and the JSON line are those of the engine's benches.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[1:1] = [str(ROOT / "bench" / "engine"), str(ROOT), str(ROOT / "src")]

import harness  # noqa: E402

Row = dict[str, Any]


@dataclass
class Side:
    """One system: how to run its script, or why it is `missing`."""

    name: str
    script: Path
    python: str
    given: dict[str, Any] = field(default_factory=dict)  # added to every case's parameters
    missing: str = ""


class SideError(Exception):
    """A side failed at a case; the message has its last words."""


def parser(doc: str | None, *, repeats: int = 5) -> argparse.ArgumentParser:
    """The options all of the kernel's benches share."""
    result = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--quick", action="store_true", help="small sizes, under a minute")
    result.add_argument("--repeats", type=int, help=f"repeats (default {repeats}, quick: 3)")
    result.add_argument("--results", type=Path, default=ROOT / "bench/results/kernel")
    result.add_argument("--folder", type=Path, help="where stores are made (default: temporary)")
    result.set_defaults(default_repeats=repeats)
    return result


def peers_parser(doc: str | None, *, repeats: int = 5) -> argparse.ArgumentParser:
    """The same with the options that name the peers."""
    result = parser(doc, repeats=repeats)
    result.add_argument(
        "--peers-python",
        metavar="PATH",
        default=os.environ.get("CABIN_PEERS_PYTHON"),
        help="a Python that has langgraph-checkpoint-sqlite and dbos (and what AIOS needs)",
    )
    result.add_argument("--aios", type=Path, metavar="DIR", help="source tree of AIOS")
    result.add_argument("--cerebrum", type=Path, metavar="DIR", help="source tree of its SDK")
    return result


def finish(options: argparse.Namespace) -> argparse.Namespace:
    """Fills in the repeats."""
    options.repeats = options.repeats or (3 if options.quick else options.default_repeats)
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
    return options


def sides(options: argparse.Namespace) -> list[Side]:
    """Ours, and the peers that are here; the others with the reason why not."""
    ours = Side("cabin", HERE / "cabin_peer.py", sys.executable)
    python = options.peers_python or ""
    missing = "" if python and shutil.which(python) else "no --peers-python"
    trees = {"aios": options.aios, "cerebrum": options.cerebrum}
    given = {name: str(Path(tree).resolve()) for name, tree in trees.items() if tree}
    without = missing or ("" if len(given) == len(trees) else "no --aios and --cerebrum")
    return [
        ours,
        Side("langgraph", HERE / "langgraph_peer.py", python, missing=missing),
        Side("dbos", HERE / "dbos_peer.py", python, missing=missing),
        Side("aios", HERE / "aios_peer.py", python, given, missing=without),
    ]


@contextmanager
def counted() -> Iterator[dict[str, str]]:
    """Environment in which fsyncs are counted, or an empty one where that cannot be had."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "fsyncs.so"
        source = str(HERE / "fsyncs.c")
        command = [compiler or "", "-O2", "-shared", "-fPIC", source, "-o", str(library), "-ldl"]
        usable = compiler is not None and sys.platform == "linux"
        if usable and subprocess.run(command, check=False).returncode == 0:
            yield {"LD_PRELOAD": str(library)}
        else:
            yield {}


def run(
    side: Side,
    case: str,
    parameters: Mapping[str, Any],
    environment: Mapping[str, str],
    *,
    timeout: float = 900,
) -> Row:
    """One case once, in a fresh process. Raises SideError if it fails."""
    asked = json.dumps({**parameters, **side.given})
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    try:
        done = subprocess.run(
            [side.python, str(side.script), case, asked],
            capture_output=True,
            check=False,
            text=True,
            errors="replace",
            timeout=timeout,
            env={**os.environ, "PYTHONPATH": path, **environment},
        )
    except subprocess.TimeoutExpired:
        raise SideError(f"took more than {timeout:.0f} s") from None
    if done.returncode != 0:
        raise SideError((done.stderr.strip() or done.stdout.strip())[-300:])
    found: Row = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def compare(
    case: str,
    present: Sequence[Side],
    parameters: Mapping[str, Any],
    repeats: int,
    *,
    only: Mapping[str, Mapping[str, Any]] | None = None,
    peer_repeats: int | None = None,
) -> dict[str, list[Row]]:
    """Every side's results of `repeats` interleaved runs; a side that fails has one with `failed`.

    `only` changes parameters for one side by name; `peer_repeats` is for all sides but ours.
    """
    found: dict[str, list[Row]] = {side.name: [] for side in present}
    with counted() as environment:
        for repeat in range(repeats):
            for side in present:
                rows = found[side.name]
                enough = repeats if side.name == "cabin" else peer_repeats or repeats
                if repeat >= enough or any("failed" in row or "absent" in row for row in rows):
                    continue
                changed = {**parameters, **(only or {}).get(side.name, {})}
                print(f"{case}: {side.name}, {repeat + 1} of {repeats}", file=sys.stderr)
                try:
                    rows.append(run(side, case, changed, environment))
                except SideError as error:
                    rows.append({"failed": str(error)})
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {
        "median": statistics.median(values),
        "lowest": min(values),
        "highest": max(values),
    }


def unusable(rows: Sequence[Row]) -> Row | None:
    """What a side's row says if it could not be measured."""
    for row in rows:
        for key in ("failed", "absent"):
            if key in row:
                return {key: row[key]}
    return None


def sync_floor(folder: Path | None, rounds: int = 40) -> dict[str, float]:
    """Milliseconds of appending a page to a file and waiting for the disk: nobody is below it."""
    taken = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(rounds):
            start = time.perf_counter()
            os.write(file.fileno(), b"x" * 4096)
            os.fsync(file.fileno())
            taken.append(1e3 * (time.perf_counter() - start))
    return spread(taken)


def yardstick() -> float:
    """Milliseconds of CPU of a fixed loop: on a busy machine the same work takes more of it."""
    start, total = time.process_time(), 0
    for number in range(1_000_000):
        total += number
    return 1e3 * (time.process_time() - start)


report = harness.report
