"""kill -9, a thousand times: is any effect lost, repeated, or in doubt without being shown?

    python bench/kernel/chaos.py [--kills 1000] [--seed 1]

A world outside (tests/fixtures/world.py) does what it is told and remembers it. A victim runs a
kernel in which several processes make pure, local, keyed and raw calls against that world, and is
killed with SIGKILL: at random times, and at the kernel's four named points. A new victim opens the
same store, and so on until all work is done; then world, journal, files and transcripts are
compared. The victim is a fork of this process, so that its imports are not paid for a thousand
times; all the kernel's own state begins anew.

Every other world is worked by agents (image chat), every other one by programs (image code): these
also spawn children, wait for them, send them messages and sleep.

What must hold, of every call of every process:

- keyed, and raw with a check of its own: happened exactly once.
- raw without a check: happened at most once before anybody decided; if it was under way when its
  victim died, its process stood as `in_doubt` with a question to a person; and after the person
  (here: somebody who looks at the world) decided, exactly once.
- approved by a person: asked once, and done after that only.
- local: its file is there with the right content. pure: its result is in the transcript.
- No effect without an intent in the journal; every chain unbroken; every answer arrived in order;
  no child was born twice and no message read twice.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import measure  # first: it says where tests and cabinos are
import reckoning
from cabinos.kernel import call as calls
from cabinos.kernel.driver import Tool
from cabinos.kernel.kernel import Kernel, Spawn
from cabinos.kernel.process import State
from errands import Agent, born, tools
from tests.fixtures.world import running, tell

POINTS = ("before intent", "after intent", "after effect", "before result")
MODES = ("random", *POINTS)
MOST = 15  # kills in one world; then its work is finished in peace


@dataclass
class Findings:
    """What a campaign counted, and what it found wrong."""

    kills: Counter[str] = field(default_factory=Counter)  # by mode
    worlds: int = 0
    effects: int = 0
    doubts: int = 0  # questions to a person, each about one raw call
    happened: int = 0  # of them: the effect had happened
    wrong: list[str] = field(default_factory=list)


# ---- the victim ----------------------------------------------------------------------------------


async def live(
    store: Path, offered: list[Tool], address: str, work: list[Spawn], patience: float
) -> None:
    """A kernel until all work is done, with a person who answers after `patience` s."""
    async with Kernel.open(store, drivers=[], models=[Agent()], tools=offered) as kernel:
        if not kernel.ps(exited=True):
            await kernel.spawn_many(work)
        await asyncio.sleep(patience)
        while running := kernel.ps():
            if stopped := [p for p in running if p.state == State.STOPPED]:
                raise RuntimeError(f"process {stopped[0].pid} stopped: {stopped[0].waiting}")
            for ask in kernel.open_asks():
                if ask.kind == "approval":
                    await kernel.answer(ask.id, "approved")
                elif kernel.table.get(ask.pid).state == State.IN_DOUBT:  # `cabin ps` shows it
                    what = ask.detail["arguments"]["what"]
                    found = await tell(address, "happened", "", what)
                    await kernel.answer(ask.id, "happened" if found["happened"] else "again")
            await asyncio.sleep(0.002)


def _killer(point: str, passing: int) -> Callable[[str], None]:
    """A fault that kills this process at the n-th passing of a point."""
    left = passing

    def fault(here: str) -> None:
        nonlocal left
        if here == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return fault


def run_victim(
    work: Callable[[], Any], mode: str, chance: random.Random, longest: float = 0.12
) -> bool:
    """One victim to its death, at random within `longest` seconds, or to the end of the work.

    Says whether it was killed. Raises RuntimeError if it ended in another way.
    """
    delay = chance.uniform(0.0, longest)
    passing = chance.randint(1, 6)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            if mode != "random":
                calls.fault = _killer(mode, passing)  # type: ignore[assignment]
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - nothing may come back from a fork
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    if mode == "random":
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)  # not yet waited for, so the pid is still its own
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if os.WEXITSTATUS(status):
        raise RuntimeError(f"a victim failed by itself, with status {status}")
    return False


# ---- one world -----------------------------------------------------------------------------------


def one_world(folder: Path, kills: int, chance: random.Random, found: Findings) -> None:
    """Kills victims of one store, at most `kills` in all; finishes its work; then compares."""
    store, notes = folder / "state.db", folder / "notes"
    notes.mkdir()
    programs = found.worlds % 2 == 1
    found.worlds += 1
    work, longest = born(programs), 0.4 if programs else 0.12
    under_way: set[str] = set()  # arguments of raw calls that a death interrupted
    kills = min(kills, sum(found.kills.values()) + MOST)
    with running(folder) as world:
        offered = tools(world.address, notes)
        while True:
            killed = sum(found.kills.values())
            mode = MODES[killed % len(MODES)] if killed < kills else ""
            patience = chance.choice((0.0, 0.0, 0.05)) if mode else 0.0

            def victim(patience: float = patience) -> None:
                asyncio.run(live(store, offered, world.address, work, patience))

            died = run_victim(victim, mode, chance, longest)
            world.quiet()
            if not died:
                break
            found.kills[mode] += 1
            under_way |= reckoning.interrupted(store)
            early = reckoning.without_intent(store, world.effects())
            found.wrong += [f"{mode}: {wrong}" for wrong in early]
        effects = world.effects()
        ended = reckoning.compare(store, notes, effects, under_way)
    found.effects += len(effects)
    found.doubts += ended.doubts
    found.happened += ended.happened
    found.wrong += ended.wrong


def campaign(kills: int, seed: int, folder: Path | None) -> Findings:
    """Worlds, one after the other, until so many victims were killed."""
    chance, found = random.Random(seed), Findings()
    while sum(found.kills.values()) < kills:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            one_world(Path(place), kills, chance, found)
        print(f"{sum(found.kills.values())} kills, {len(found.wrong)} wrong", file=sys.stderr)
    return found


def main() -> int:
    parser = measure.parser(__doc__, repeats=1)
    parser.add_argument("--kills", type=int, help="how many (default 1000, quick: 50)")
    parser.add_argument("--seed", type=int, default=1)
    options: argparse.Namespace = measure.finish(parser.parse_args())
    kills = options.kills or (50 if options.quick else 1000)
    start = time.perf_counter()
    found = campaign(kills, options.seed, options.folder)
    rows: list[measure.Row] = [
        {"what": f"kills, {mode}", "value": found.kills[mode]} for mode in MODES
    ]
    rows += [
        {"what": "worlds", "value": found.worlds},
        {"what": "effects outside", "value": found.effects},
        {"what": "doubts shown", "value": found.doubts},
        {"what": "of them had happened", "value": found.happened},
        {"what": "lost, repeated, hidden or damaged", "value": len(found.wrong), "goal": 0,
         "ok": not found.wrong},
    ]  # fmt: skip
    seconds = round(time.perf_counter() - start, 1)
    detail = {"kills": sum(found.kills.values()), "seed": options.seed, "seconds": seconds}
    status = measure.report("chaos", options, rows, detail={**detail, "wrong": found.wrong[:50]})
    return 1 if found.wrong else status


if __name__ == "__main__":
    sys.exit(main())
