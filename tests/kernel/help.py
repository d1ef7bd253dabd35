"""What the kernel's tests share: bounded runs, waiting on states, tools with gates."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cabinos.kernel.driver import Model, Tool, tool
from cabinos.kernel.kernel import Kernel
from cabinos.kernel.process import State
from tests.kernel.models import ScriptedModel

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T], seconds: float = 10.0) -> T:
    """Runs a test's coroutine; a hang is a failure, not a wait."""

    async def bounded() -> T:
        async with asyncio.timeout(seconds):
            return await work

    return asyncio.run(bounded())


def open_kernel(place: Path, *models: Model, tools: Sequence[Tool] = (), **options: Any) -> Kernel:
    """A kernel on `place`/cabin.db with these models (default: one that says "done")."""
    return Kernel.open(
        place / "cabin.db",
        drivers=[],
        models=models or [ScriptedModel()],
        tools=tools,
        synchronous=options.pop("synchronous", "normal"),
        **options,
    )


async def until(kernel: Kernel, pid: int, *states: State) -> None:
    """Waits until a process is in one of the states."""
    with kernel.events.subscribe(pid) as queue:
        while kernel.table.get(pid).state not in states:
            await queue.get()


async def asked(kernel: Kernel, pid: int) -> int:
    """Waits until a process has an open question, and returns its id."""
    with kernel.events.subscribe(pid) as queue:
        while not (asks := kernel.open_asks(pid)):
            await queue.get()
    return asks[0].id


@tool(effect="pure", label="trusted")
async def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@tool(effect="pure", label="untrusted")
async def fetch(size: int = 10) -> str:
    """Text from outside."""
    return ("outside words " * (size // 14 + 1))[:size]


class World:
    """Outside of the machine: effects that were done, and gates that hold them up.

    `started` is set when an effect begins; it then waits for `gate`.
    """

    def __init__(self, *, open_gate: bool = True) -> None:
        self.done: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.began: Counter[str] = Counter()
        self.started = asyncio.Event()
        self.gate = asyncio.Event()
        self.found: Any = "unknown"  # what the check finds out; an exception is raised
        if open_gate:
            self.gate.set()

    async def _do(self, what: str) -> str:
        self.began[what] += 1
        self.started.set()
        await self.gate.wait()
        self.done[what] += 1
        return f"did {what}"

    def tools(self, *, check: bool = False, ask: bool = False) -> list[Tool]:
        async def look(context: Any, **_: Any) -> Any:
            if isinstance(self.found, BaseException):
                raise self.found
            return self.found

        @tool(effect="raw", label="trusted", check=look if check else None, ask=ask)
        async def fire(what: str) -> str:
            """Does something outside, once."""
            return await self._do(what)

        @tool(effect="keyed", label="trusted", ask=ask)
        async def post(what: str, *, key: str) -> str:
            """Does something outside, once for each key."""
            if key in self.keys:
                return f"did {what}"
            answer = await self._do(what)
            self.keys.add(key)
            return answer

        @tool(effect="pure", label="trusted", ask=ask)
        async def look_up(what: str) -> str:
            """Looks, slowly."""
            return await self._do(what)

        return [fire, post, look_up]
