"""The work of the kill -9 campaign: calls of every effect class, by agents and by programs.

Everything is planned: what each worker calls in each turn follows from their numbers, so that a
worker taken up after a crash, and whoever compares at the end, know what there should be.
"""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

from cabinos.kernel.driver import Context, Outcome, ThinkRequest, Thought, Tool, ToolCall, tool
from cabinos.kernel.kernel import Spawn
from stubs import Stub
from tests.fixtures.world import tell

# pure, local, keyed, raw, raw with a check, keyed with a person's approval of each call
KINDS = ("look", "note", "pay", "post", "ship", "sign")
OUTSIDE = ("pay", "post", "ship", "sign")
WORKERS, TURNS = 6, 8  # processes of a world, turns of each


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
    answers = {"look": "seen {}", "note": "noted", "pay": "{}", "sign": "{}"}
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


class Agent(Stub):
    """The model: keeps to the plan, and checks that what it is shown is what it asked for."""

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

    @tool(effect="keyed", label="trusted", ask=True)
    async def sign(what: str, key: str) -> str:
        """Does something outside, once for each key, if a person approves."""
        return str((await tell(address, "keyed", key, what))["done"])

    return [look, note, pay, post, ship, sign]
