"""Cabin's side: the chat image, a model that answers after a fixed latency, one pure tool.

    python bench/kernel/cabin_peer.py CASE JSON
"""

import asyncio
import gc
import sys
from pathlib import Path
from typing import Any

import workload
from cabinos.kernel.driver import ThinkRequest, Thought, Tool, ToolCall, tool
from cabinos.kernel.kernel import Kernel
from workload import Meter, Workload


class Scripted:
    """The model of the workload: a call in each turn but the last."""

    name = "stub"
    window = 1_000_000
    slots = 1_000_000
    local = True
    price = (0.0, 0.0)

    def __init__(self, load: Workload) -> None:
        self._load = load

    def count(self, text: str) -> int:
        return len(text) // 4 + 1

    async def think(self, request: ThinkRequest) -> Thought:
        if self._load.latency:
            await asyncio.sleep(self._load.latency)
        turn = len(request.messages) // 2 + 1
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


def opened(folder: Path, load: Workload) -> Kernel:
    """A kernel on a fresh store at full durability, its default."""
    return Kernel.open(
        folder / "state.db", drivers=[], models=[Scripted(load)], tools=[lookup(load)]
    )


def request(process: int, load: Workload) -> str:
    return workload.text("request", process, 0, load.request)


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
            process = await kernel.spawn(request(1, load), model="stub", tools=[workload.TOOL])
            await finish(process, load)
    size = workload.disk(folder / "state.db")
    return {**meter.figures, "steps": load.steps, "disk": size, "empty": empty}


async def _crowd(folder: Path, load: Workload) -> dict[str, Any]:
    async with opened(folder, load) as kernel:
        with Meter() as meter:
            crowd = await kernel.spawn_many(
                [request(p, load) for p in range(load.processes)],
                model="stub",
                tools=[workload.TOOL],
            )
            await asyncio.gather(*(finish(process, load) for process in crowd))
    return {
        **meter.figures,
        "steps": load.processes * load.steps,
        "disk": workload.disk(folder / "state.db"),
    }


async def _spawn(folder: Path, load: Workload, *, batched: bool) -> dict[str, Any]:
    """New processes on disk; stopped, so that making them is all that is measured."""
    requests = [request(p, load) for p in range(load.processes)]
    async with opened(folder, load) as kernel:
        gc.collect()
        with Meter() as meter:
            if batched:
                await kernel.spawn_many(requests, model="stub", start=False)
            else:
                for text in requests:
                    await kernel.spawn(text, model="stub", start=False)
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
