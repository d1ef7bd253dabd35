"""Cabin beside LangGraph, DBOS and AIOS: steps, crowds, spawns and storage, in one run.

    python bench/kernel/beside.py --peers-python PEERS/bin/python --aios AIOS --cerebrum Cerebrum

- steps: one process at full durability, a model that takes no time; milliseconds a step.
- crowd: many processes at once against a model of 50 ms; wall, CPU a step, peak memory.
- spawn: durable new processes a second, one by one and in one batch.
- storage: bytes in use on disk after 50, 100 and 200 steps, over those of the empty store, ÷ bytes
  of all messages.

A step is one thought or one call. `floor` is what one fsync took here between the repeats. Without
peers the bench measures Cabin alone. Peers run the crowd of 1,000 `--peer-repeats` times only.
"""

import argparse
import statistics
import sys
from typing import Any

import measure
from measure import Row, Side
from workload import Workload

NAMES = ("steps", "crowd", "spawn", "storage")
STEP_GOAL = 1.0  # ms
CPU_GOAL, WALL_GOAL, MEMORY_GOAL = 60.0, 2.0, 80.0  # µs a step, s, MB: 1,000 processes × 10 turns
SPAWN_GOAL = {False: 1_500.0, True: 20_000.0}  # a second: single, batched
STORAGE_GOAL = 2.0  # × transcript
LINEAR = 1.25  # the ratio at the longest transcript against the ratio at the shortest


def few(options: argparse.Namespace) -> int:
    """Repeats of the peers: they take most of the time."""
    return 1 if options.quick else int(options.repeats)


def judge(row: Row, side: Side, value: float, goal: float, *, least: bool = False) -> Row:
    """Adds goal and verdict to one of our rows; peers have no goals."""
    if side.name != "cabin":
        return row
    return {**row, "goal": goal, "ok": value >= goal if least else value <= goal}


def row_of(side: Side, what: str, results: list[Row], values: list[float]) -> Row:
    """A row with the spread of `values` and the medians of what else was measured."""
    row: Row = {"what": what, "side": side.name, **measure.spread(values), "n": len(values)}
    row["CPU µs/step"] = statistics.median(1e6 * r["cpu"] / r["steps"] for r in results)
    if all("fsyncs" in r for r in results):
        row["fsyncs/step"] = statistics.median(r["fsyncs"] / r["steps"] for r in results)
    row["peak MB"] = statistics.median(r["rss"] for r in results) / 1e6
    return row


def steps_rows(options: argparse.Namespace, sides: list[Side]) -> list[Row]:
    turns = 13 if options.quick else 50
    load = {"processes": 1, "turns": turns, "latency": 0, "folder": options.folder}
    aios = {"turns": 2 if options.quick else 4}  # over a second each, however many
    found = measure.compare(
        "steps", sides, load, options.repeats, only={"aios": aios}, peer_repeats=few(options)
    )
    rows = []
    for side in sides:
        results, what = found[side.name], "steps, ms/step"
        if (why := measure.unusable(results)) is not None:
            rows.append({"what": what, "side": side.name, **why})
            continue
        values = [1e3 * r["wall"] / r["steps"] for r in results]
        row = row_of(side, what, results, values)
        rows.append(judge(row, side, row["median"], STEP_GOAL))
    return rows


def crowd_rows(options: argparse.Namespace, sides: list[Side], size: int, turns: int) -> list[Row]:
    load = {"processes": size, "turns": turns, "folder": options.folder}
    repeats = options.peer_repeats if size >= 1000 else few(options)
    found = measure.compare("crowd", sides, load, options.repeats, peer_repeats=repeats)
    rows = []
    for side in sides:
        results, what = found[side.name], f"crowd, {size} × {turns} turns, s"
        if (why := measure.unusable(results)) is not None:
            rows.append({"what": what, "side": side.name, **why})
            continue
        row = row_of(side, what, results, [r["wall"] for r in results])
        if size == 1000:
            row = judge(row, side, row["median"], WALL_GOAL)
        rows.append(row)
        if size == 1000 and side.name == "cabin":
            for name, goal in (("CPU µs/step", CPU_GOAL), ("peak MB", MEMORY_GOAL)):
                values = measure.spread(
                    [1e6 * r["cpu"] / r["steps"] for r in results]
                    if name == "CPU µs/step"
                    else [r["rss"] / 1e6 for r in results]
                )
                extra = {"what": f"crowd, {name}", "side": side.name, **values, "n": len(results)}
                rows.append(judge(extra, side, values["median"], goal))
    return rows


def spawn_rows(options: argparse.Namespace, sides: list[Side]) -> list[Row]:
    rows = []
    for batched in (False, True):
        size = (1000 if batched else 100) if options.quick else (10_000 if batched else 500)
        load = {"processes": size, "batched": batched, "folder": options.folder}
        slow = {"dbos": {"processes": min(size, 2000)}}
        what = f"spawn, {'batched' if batched else 'single'}, 1/s"
        found = measure.compare(
            "spawn", sides, load, options.repeats, only=slow, peer_repeats=few(options)
        )
        for side in sides:
            results = found[side.name]
            if (why := measure.unusable(results)) is not None:
                rows.append({"what": what, "side": side.name, **why})
                continue
            row = row_of(side, what, results, [r["steps"] / r["wall"] for r in results])
            rows.append(judge(row, side, row["median"], SPAWN_GOAL[batched], least=True))
    return rows


def storage_rows(options: argparse.Namespace, sides: list[Side]) -> list[Row]:
    rows = []
    ratios: dict[str, list[float]] = {}
    counts = (50, 100) if options.quick else (50, 100, 200)
    for count in counts:
        load = Workload(turns=count // 2 + 1, latency=0)
        asked = {"turns": load.turns, "latency": 0, "folder": options.folder}
        found = measure.compare("storage", sides, asked, 1)
        for side in sides:
            what = f"storage after {load.steps} steps, × transcript"
            if (why := measure.unusable(found[side.name])) is not None:
                rows.append({"what": what, "side": side.name, **why})
                continue
            result = found[side.name][0]
            ratio = (result["disk"] - result["empty"]) / load.transcript
            ratios.setdefault(side.name, []).append(ratio)
            row: Row = {"what": what, "side": side.name, "median": ratio}
            row |= {"KB": result["disk"] / 1e3, "empty KB": result["empty"] / 1e3}
            row["× JSON lines"] = ratio * load.transcript / load.json_lines
            rows.append(judge(row, side, ratio, STORAGE_GOAL) if count == 200 else row)
    for side in sides:
        if (found_ratios := ratios.get(side.name)) is not None:
            growth = found_ratios[-1] / found_ratios[0]
            row = {"what": "storage, last ratio ÷ first", "side": side.name, "median": growth}
            rows.append(judge(row, side, growth, LINEAR))
    return rows


def versions(sides: list[Side]) -> dict[str, Any]:
    """What each peer is, or why it is absent."""
    found: dict[str, Any] = {}
    for side in sides:
        if side.missing:
            found[side.name] = {"absent": side.missing}
            continue
        try:
            found[side.name] = measure.run(side, "versions", {}, {})["versions"]
        except measure.SideError as error:
            found[side.name] = {"failed": str(error)}
    return found


def main() -> int:
    parser = measure.peers_parser(__doc__)
    parser.add_argument("--cases", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--peer-repeats", type=int, default=1, help="of the crowd of 1,000")
    parser.add_argument("--name", default="beside", help="of the results file")
    options = measure.finish(parser.parse_args())
    options.folder = str(options.folder) if options.folder is not None else None
    every = measure.sides(options)
    sides = [side for side in every if not side.missing]
    floor, stick = [measure.sync_floor(options.folder)], [measure.yardstick()]
    rows: list[Row] = []
    for case in options.cases:
        if case == "steps":
            rows += steps_rows(options, sides)
        elif case == "crowd":
            for size, turns in [(20, 4)] if options.quick else [(200, 10), (1000, 10)]:
                rows += crowd_rows(options, sides, size, turns)
        elif case == "spawn":
            rows += spawn_rows(options, sides)
        else:
            rows += storage_rows(options, sides)
        floor.append(measure.sync_floor(options.folder))
        stick.append(measure.yardstick())
    medians = [value["median"] for value in floor]
    rows.append({"what": "floor: one fsync, ms", "side": "disk", **measure.spread(medians)})
    yard = {"what": "yardstick: a fixed loop, ms of CPU", "side": "machine"}
    rows.append({**yard, **measure.spread(stick)})
    for side in every:
        if side.missing:
            rows.append({"what": "all", "side": side.name, "absent": side.missing})
    detail = {"sides": versions(every), "fsync floor, ms": floor}
    return measure.report(options.name, options, rows, detail=detail)


if __name__ == "__main__":
    sys.exit(main())
