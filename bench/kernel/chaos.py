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
- local: its file is there with the right content. pure: its result is in the transcript.
- No effect without an intent in the journal; every chain unbroken; every answer arrived in order;
  no child was born twice and no message read twice.
"""

import argparse
import asyncio
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import measure
from cabinos.kernel import call as calls
from cabinos.kernel.driver import (
    Context,
    Outcome,
    ThinkRequest,
    Thought,
    Tool,
    ToolCall,
    tool,
)
from cabinos.kernel.kernel import Kernel, Spawn
from cabinos.kernel.process import State
from cabinos.store.journal import Journal
from tests.fixtures.world import Effect, running, tell

POINTS = ("before intent", "after intent", "after effect", "before result")
MODES = ("random", *POINTS)
KINDS = ("look", "note", "pay", "post", "ship")  # pure, local, keyed, raw, raw with a check
OUTSIDE = ("pay", "post", "ship")
WORKERS, TURNS = 6, 8  # processes of a world, turns of each
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


# ---- the work ------------------------------------------------------------------------------------


def plan(agent: int, turn: int) -> list[tuple[str, str]]:
    """(tool, argument) of the calls an agent makes at once in a turn (from 1)."""
    if turn > TURNS:
        return []
    chosen = random.Random(1000 * agent + turn)
    count = chosen.choice((1, 1, 2, 3))
    return [(chosen.choice(KINDS), f"{agent}.{turn}.{number}") for number in range(count)]


def everything() -> Iterator[tuple[str, str]]:
    """All calls of all workers."""
    for worker in range(WORKERS):
        for turn in range(1, TURNS + 1):
            yield from plan(worker, turn)


def program(worker: int) -> str:
    """The plan of a worker as a program; the first one also has a family."""
    answers = {"look": "seen {}", "note": "noted", "pay": "{}"}
    lines = ["sleep(0.01)"]
    if worker == 0:
        lines += [
            "child = spawn(code='a = recv()\\nb = recv()\\na + b')['pid']",
            "send('one ', child)",
        ]
    for turn in range(1, TURNS + 1):
        for name, what in plan(worker, turn):
            said = answers.get(name)  # of a raw call in doubt the output may be lost
            check = f" == {said.format(what)!r}" if said else ""
            lines.append(f"assert {name}(what={what!r}){check}")
    if worker == 0:
        lines += ["send('two', child)", "assert wait(child) == 'one two'"]
    return "\n".join([*lines, f"'done {worker}'"])


def born(programs: bool) -> list[Spawn]:
    """The workers of a world."""
    if programs:
        return [Spawn(code=program(n), tools=KINDS) for n in range(WORKERS)]
    return [Spawn(request=f"be agent {n}", tools=KINDS) for n in range(WORKERS)]


class Agent:
    """The model: keeps to the plan, and checks that what it is shown is what it asked for."""

    name = "stub"
    window = 100_000
    slots = 100
    local = True
    price = (0.0, 0.0)

    def count(self, text: str) -> int:
        return len(text) // 4 + 1

    async def think(self, request: ThinkRequest) -> Thought:
        await asyncio.sleep(0.001)
        messages = [message for message in request.messages if message.role != "system"]
        agent = int(messages[0].text.split()[-1])
        turn = 1
        waits: list[str] = []  # ids of calls without a result so far
        for message in messages[1:]:
            if message.role == "assistant":
                asked = [(call.name, (call.arguments or {}).get("what")) for call in message.calls]
                if waits or asked != plan(agent, turn):
                    return Thought(f"wrong: turn {turn} asked for {asked}, {waits} not answered")
                waits, turn = [call.id for call in message.calls], turn + 1
            elif message.role != "tool" or not waits or message.call_id != waits.pop(0):
                return Thought(f"wrong: a message out of order in turn {turn}: {message}")
        planned = plan(agent, turn)
        if waits or not planned:
            return Thought(f"wrong: {waits} not answered" if waits else f"done {agent}")
        asked_now = [
            ToolCall(str(number), name, {"what": what})
            for number, (name, what) in enumerate(planned)
        ]
        return Thought("", tuple(asked_now), "calls")


def tools(address: str, folder: Path) -> list[Tool]:
    """One tool of each effect class. Their labels are trusted, so that no policy stands between."""

    @tool(effect="pure", label="trusted")
    async def look(what: str) -> str:
        """Looks at something."""
        return f"seen {what}"

    @tool(effect="local", label="trusted")
    async def note(what: str) -> str:
        """Writes a file of its own, whole or not at all."""
        draft = folder / f".{what}"
        draft.write_text(f"noted {what}")
        draft.rename(folder / what)
        return "noted"

    @tool(effect="keyed", label="trusted")
    async def pay(what: str, key: str) -> str:
        """Does something outside, once for each key."""
        return str((await tell(address, "keyed", key, what))["done"])

    @tool(effect="raw", label="trusted")
    async def post(what: str) -> str:
        """Does something outside each time it is asked."""
        return str((await tell(address, "raw", "", what))["done"])

    async def shipped(_context: Context, what: str) -> Outcome:
        found = await tell(address, "happened", "", what)
        return "happened" if found["happened"] else "did not happen"

    @tool(effect="raw", label="trusted", check=shipped)
    async def ship(what: str) -> str:
        """Does something outside each time it is asked; one can look whether it was done."""
        return str((await tell(address, "raw", "", what))["done"])

    return [look, note, pay, post, ship]


# ---- the victim ----------------------------------------------------------------------------------


async def live(
    store: Path, offered: list[Tool], address: str, work: list[Spawn], patience: float
) -> None:
    """A kernel until all work is done, with a person who decides doubts after `patience` s."""
    async with Kernel.open(store, drivers=[], models=[Agent()], tools=offered) as kernel:
        if not kernel.ps(exited=True):
            await kernel.spawn_many(work)
        await asyncio.sleep(patience)
        while running := kernel.ps():
            if stopped := [p for p in running if p.state == State.STOPPED]:
                raise RuntimeError(f"process {stopped[0].pid} stopped: {stopped[0].waiting}")
            for ask in kernel.open_asks():
                if kernel.table.get(ask.pid).state == State.IN_DOUBT:  # it is shown by `cabin ps`
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
            under_way |= interrupted(store)
            found.wrong += [f"{mode}: {wrong}" for wrong in without_intent(store, world.effects())]
        found.wrong += compare(store, notes, world.effects(), under_way, found)


def journal(store: Path) -> list[tuple[str, dict[str, Any]]]:
    """(kind, body) of every row, read without the kernel's help."""
    import json

    if not store.exists():
        return []
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        try:
            rows = connection.execute("SELECT kind, body, pid FROM journal ORDER BY seq").fetchall()
        except sqlite3.OperationalError:  # killed before there were tables
            return []
    return [(kind, {**json.loads(body), "pid": pid}) for kind, body, pid in rows]


def interrupted(store: Path) -> set[str]:
    """Arguments of raw calls without a check whose last intent has no result."""
    waiting: dict[tuple[int, str], str] = {}
    for kind, body in journal(store):
        place = (body["pid"], body.get("call", "0"))  # "0": the only call of a step
        if kind == "intent" and body["tool"] == "post":
            waiting[place] = body["arguments"]["what"]
        elif kind in KINDS:
            waiting.pop(place, None)
    return set(waiting.values())


def without_intent(store: Path, effects: list[Effect]) -> list[str]:
    """Effects that happened though no intent of theirs is on disk."""
    intended = {b["arguments"]["what"] for kind, b in journal(store) if kind == "intent"}
    return [
        f"{e.argument} happened without an intent" for e in effects if e.argument not in intended
    ]


def compare(
    store: Path, notes: Path, effects: list[Effect], under_way: set[str], found: Findings
) -> list[str]:
    """Everything that is wrong at the end of one world's work."""
    wrong = []
    happened = Counter(effect.argument for effect in effects)
    found.effects += len(effects)
    for name, what in everything():
        if name in OUTSIDE and happened[what] != 1:
            wrong.append(f"{name} {what} happened {happened[what]} times")
        if name == "note" and (notes / what).read_text() != f"noted {what}":
            wrong.append(f"note {what} is damaged")
    if strangers := set(happened) - {what for name, what in everything() if name in OUTSIDE}:
        wrong.append(f"nobody asked for {strangers}")
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        asked = connection.execute(
            "SELECT json_extract(detail, '$.arguments.what'), answer FROM ask WHERE kind = 'doubt'"
        ).fetchall()
        ended = connection.execute(
            "SELECT title, state, text FROM process LEFT JOIN page ON page.id = result "
            "WHERE parent IS NULL ORDER BY pid"
        ).fetchall()
        children = connection.execute("SELECT count(*) FROM process WHERE parent = 1").fetchone()[0]
    found.doubts += len(asked)
    found.happened += sum(answer == "happened" for _, answer in asked)
    if hidden := under_way - {what for what, _ in asked}:
        wrong.append(f"in doubt, but never shown: {hidden}")
    for worker, (title, state, text) in enumerate(ended):
        if state != "exited" or text != f"done {worker}":
            wrong.append(f"{title}: {state}, {text!r}")
    if len(ended) != WORKERS or children > 1:
        wrong.append(f"{len(ended)} processes with {children} children")
    wrong += damaged(store)
    return wrong


def damaged(store: Path) -> list[str]:
    """Whether the journal's chain is broken."""
    from cabinos.store.database import Store

    opened = Store.open(store, read_only=True)
    try:
        Journal(opened).verify()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return [str(error)]
    finally:
        opened.abandon()
    return []


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
