"""Cabin's side: the chat image, a model that answers after a fixed latency, one pure tool.

    python bench/kernel/cabin_peer.py CASE JSON
"""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import workload
from cabinos.kernel.driver import ThinkRequest, Thought, Tool, ToolCall, tool
from cabinos.kernel.kernel import Kernel, Spawn
from workload import Meter, Workload


class Scripted:
    """The model of the workload: a call in each turn but the last."""

    name = "stub"
    window = 1_000_000
    local = True
    price = (0.0, 0.0)

    def __init__(self, load: Workload, slots: int = 1_000_000) -> None:
        self._load = load
        self.slots = slots

    def count(self, text: str) -> int:
        return len(text) // 4 + 1

    async def think(self, request: ThinkRequest) -> Thought:
        if self._load.latency:
            await asyncio.sleep(self._load.latency)
        turn = 1 + sum(message.role == "assistant" for message in request.messages)
        said = workload.text("answer", request.pid, turn, self._load.answer)
        if workload.is_last(turn, self._load):
            return Thought(said)
        call = ToolCall("x", workload.TOOL, {"process": request.pid, "n": turn})
        return Thought(said, (call,), "calls")


def lookup(load: Workload) -> Tool:
    """The workload's tool."""

    @tool(name=workload.TOOL, effect="pure", label="trusted")
    async def found(process: int, n: int) -> str:
        """Looks a text up."""
        return workload.text("result", process, n, load.result)

    return found


def opened(folder: Path, load: Workload, slots: int = 1_000_000) -> Kernel:
    """A kernel on a fresh store at full durability, its default."""
    return Kernel.open(
        folder / "state.db", drivers=[], models=[Scripted(load, slots)], tools=[lookup(load)]
    )


def work(process: int, load: Workload) -> Spawn:
    """What one process is given."""
    request = workload.text("request", process, 0, load.request)
    return Spawn(request=request, tools=[workload.TOOL], max_steps=load.turns)


async def finish(process: Any, load: Workload) -> None:
    """A process that did not do all its work must not be counted."""
    said = await process.result()
    if said != workload.text("answer", process.pid, load.turns, load.answer):
        raise SystemExit(f"cabin: process {process.pid} ended with {said!r}")


async def _steps(folder: Path, load: Workload) -> dict[str, Any]:
    async with opened(folder, load):
        pass
    empty = workload.disk(folder / "state.db")
    async with opened(folder, load) as kernel:
        with Meter() as meter:
            [process] = await kernel.spawn_many([work(1, load)])
            await finish(process, load)
    size = workload.disk(folder / "state.db")
    return {**meter.figures, "steps": load.steps, "disk": size, "empty": empty}


async def _crowd(folder: Path, load: Workload) -> dict[str, Any]:
    async with opened(folder, load) as kernel:
        with Meter() as meter:
            crowd = await kernel.spawn_many([work(p, load) for p in range(load.processes)])
            await asyncio.gather(*(finish(process, load) for process in crowd))
    return {
        **meter.figures,
        "steps": load.processes * load.steps,
        "disk": workload.disk(folder / "state.db"),
    }


async def _spawn(folder: Path, load: Workload, *, batched: bool) -> dict[str, Any]:
    """New processes on disk. The model has one slot and is busy, so that they wait for it."""
    spawns = [work(p, load) for p in range(load.processes)]
    async with opened(folder, replace(load, latency=3600), slots=1) as kernel:
        with Meter() as meter:
            if batched:
                await kernel.spawn_many(spawns)
            else:
                for spawn in spawns:
                    await kernel.spawn_many([spawn])
    return {
        **meter.figures,
        "steps": load.processes,
        "disk": workload.disk(folder / "state.db"),
    }


def steps(folder: Path, load: Workload, given: dict[str, Any]) -> dict[str, Any]:
    return asyncio.run(_steps(folder, load))


def crowd(folder: Path, load: Workload, given: dict[str, Any]) -> dict[str, Any]:
    return asyncio.run(_crowd(folder, load))


def spawn(folder: Path, load: Workload, given: dict[str, Any]) -> dict[str, Any]:
    return asyncio.run(_spawn(folder, load, batched=given["batched"]))


def versions(folder: Path, load: Workload, given: dict[str, Any]) -> dict[str, Any]:
    import cabinos

    return {"versions": {"cabinos": cabinos.__version__}}


CASES = {"steps": steps, "storage": steps, "crowd": crowd, "spawn": spawn, "versions": versions}

if __name__ == "__main__":
    sys.exit(workload.main(CASES))
