"""The one workload every side runs, and the meter that measures it. Standard library only.

An agent of T turns: a model that takes `latency` seconds and answers with a scripted call in turns
1 … T−1 and with a closing text in turn T; and one pure tool whose result has a fixed size. That is
T thoughts and T−1 calls, 2T−1 durable steps. Every text differs from every other, so that nobody
gains by storing equal ones once.

A side is a script `NAME_peer.py CASE JSON`: it runs one case once in its own fresh process and
prints one JSON line last. It says what it was given and what came out through `main`.
"""

import contextlib
import ctypes
import functools
import importlib.metadata
import json
import random
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

VOCABULARY = (
    "time person year way day thing man world life hand part child eye woman place work week case"
    " point company number group problem fact river letter garden winter engine bridge harbour"
    " candle market island doctor kitchen mountain paper soldier window music evening stone glass"
).split()
TOOL = "lookup"  # the tool's name; its one argument is the turn, "n"


@dataclass(frozen=True)
class Workload:
    """Sizes in characters, the latency in seconds."""

    processes: int = 1
    turns: int = 10
    latency: float = 0.05
    request: int = 200
    answer: int = 120
    result: int = 400

    @property
    def steps(self) -> int:
        """Durable steps of one process: thoughts and calls."""
        return 2 * self.turns - 1

    @property
    def transcript(self) -> int:
        """Bytes of all messages of one process, and no more: no roles, names or arguments."""
        return self.request + self.turns * self.answer + (self.turns - 1) * self.result

    @property
    def json_lines(self) -> int:
        """Bytes of the same as JSON lines in the messages of a chat API, calls and ids included."""
        call = {"name": TOOL, "arguments": json.dumps({"process": 1, "n": 10})}
        calls = [{"id": "call-10", "type": "function", "function": call}]
        asked = {"role": "assistant", "content": "", "tool_calls": calls}
        lines: list[Any] = [
            {"role": "user", "content": ""},
            {"role": "assistant", "content": ""},
        ]
        lines += [asked, {"role": "tool", "tool_call_id": "call-10", "content": ""}] * (
            self.turns - 1
        )
        return self.transcript + sum(len(json.dumps(line)) + 1 for line in lines)


@functools.cache
def words(seed: int, size: int) -> str:
    """The same `size` characters of plain words for the same seed."""
    chosen = random.Random(seed)
    text = ""
    while len(text) < size:
        text += chosen.choice(VOCABULARY) + " "
    return text[:size]


def text(kind: str, process: int, turn: int, size: int) -> str:
    """One message: `size` characters that no other (kind, process, turn) has."""
    head = f"{kind} {process}.{turn}: "
    return (head + words(turn + 1000 * len(kind), size))[:size]


def is_last(turn: int, load: Workload) -> bool:
    """Whether turn (from 1) is the one that closes with a text."""
    return turn >= load.turns


# ---- The meter -----------------------------------------------------------------------------------


def _fsyncs() -> int:
    """Calls of fsync and fdatasync so far; −1 where the counter is not preloaded."""
    try:
        count = ctypes.CDLL(None).cabin_fsyncs
    except AttributeError:
        return -1
    return int(count())


def _cpu() -> float:
    """User and system seconds of this process and its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


class Meter:
    """Measures a section: `with Meter() as meter: …`, then `meter.figures`."""

    figures: dict[str, Any]

    def __enter__(self) -> Self:
        self._fsyncs, self._cpu, self._wall = _fsyncs(), _cpu(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        wall = time.perf_counter() - self._wall
        self.figures = {"wall": wall, "cpu": _cpu() - self._cpu}
        if self._fsyncs >= 0:
            self.figures["fsyncs"] = _fsyncs() - self._fsyncs


def peak_rss() -> int:
    """The most resident bytes this process ever had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def disk(store: Path) -> int:
    """Bytes in use in an SQLite file once its WAL has been moved in: free pages do not count."""
    with contextlib.closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size, used, free = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_size", "page_count", "freelist_count")
        )
    return int(size * (used - free))


# ---- The shape of a side -------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One run of a case: an empty folder, the workload, and whatever else was given."""

    folder: Path
    load: Workload
    given: dict[str, Any]

    @property
    def store(self) -> Path:
        """Where a side keeps its SQLite file."""
        return self.folder / "state.db"


Case = Callable[[Run], dict[str, Any]]


def main(cases: Mapping[str, Case], distributions: Sequence[str] = ()) -> int:
    """Runs the case named on the command line in an empty folder and prints what it found.

    The case "versions" needs no function: it tells the versions of `distributions`.
    """
    name, given = sys.argv[1], json.loads(sys.argv[2])
    if name == "versions" and name not in cases:
        print(json.dumps({"versions": {d: importlib.metadata.version(d) for d in distributions}}))
        return 0
    fields = {key: given.pop(key) for key in list(given) if key in Workload.__dataclass_fields__}
    load = Workload(**fields)
    started = peak_rss()
    with tempfile.TemporaryDirectory(dir=given.pop("folder", None)) as folder:
        found = cases[name](Run(Path(folder), load, given))
    found = {**found, "rss": peak_rss(), "rss_started": started, "load": asdict(load)}
    print(json.dumps(found), flush=True)
    return 0
