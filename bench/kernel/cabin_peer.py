"""Cabin's side: the chat image, a model that answers after a fixed latency, one pure tool.

    python bench/kernel/cabin_peer.py CASE JSON

Full durability is the kernel's default; a pure call needs no commit of its own before it is made.
"""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import workload
from cabinos.kernel.driver import ThinkRequest, Thought, Tool, tool
from cabinos.kernel.kernel import Kernel, Spawn
from stubs import Stub, call, turn_of
from workload import Meter, Run, Workload


class Scripted(Stub):
    """The model of the workload: a call in each turn but the last."""

    def __init__(self, load: Workload, slots: int) -> None:
        super().__init__(slots=slots)
        self._load = load

    async def think(self, request: ThinkRequest) -> Thought:
        if self._load.latency:
            await asyncio.sleep(self._load.latency)
        turn = turn_of(request.messages)
        said = workload.text("answer", request.pid, turn, self._load.answer)
        if workload.is_last(turn, self._load):
            return Thought(said)
        return Thought(said, call(workload.TOOL, process=request.pid, n=turn), "calls")


def lookup(load: Workload) -> Tool:
    """The workload's tool."""

    @tool(name=workload.TOOL, effect="pure", label="trusted")
    async def found(process: int, n: int) -> str:
        """Looks a text up."""
        return workload.text("result", process, n, load.result)

    return found


def opened(store: Path, load: Workload, slots: int = 1_000_000) -> Kernel:
    """A kernel at full durability, its default."""
    return Kernel.open(store, drivers=[], models=[Scripted(load, slots)], tools=[lookup(load)])


def work(process: int, load: Workload) -> Spawn:
    """What one process is given."""
    request = workload.text("request", process, 0, load.request)
    return Spawn(request=request, tools=[workload.TOOL], max_steps=load.turns)


async def finish(process: Any, load: Workload) -> None:
    """A process that did not do all its work must not be counted."""
    said = await process.result()
    if said != workload.text("answer", process.pid, load.turns, load.answer):
        raise SystemExit(f"cabin: process {process.pid} ended with {said!r}")


async def _steps(run: Run) -> dict[str, Any]:
    load = run.load
    async with opened(run.store, load):
        pass
    empty = workload.disk(run.store)
    async with opened(run.store, load) as kernel:
        with Meter() as meter:
            [process] = await kernel.spawn_many([work(1, load)])
            await finish(process, load)
    size = workload.disk(run.store)
    return {**meter.figures, "steps": load.steps, "disk": size, "empty": empty}


async def _crowd(run: Run) -> dict[str, Any]:
    load = run.load
    async with opened(run.store, load) as kernel:
        with Meter() as meter:
            crowd = await kernel.spawn_many([work(p, load) for p in range(load.processes)])
            await asyncio.gather(*(finish(process, load) for process in crowd))
    count = load.processes * load.steps
    return {**meter.figures, "steps": count, "disk": workload.disk(run.store)}


async def _spawn(run: Run) -> dict[str, Any]:
    """New processes on disk. The model has one slot and is busy, so that they wait for it."""
    spawns = [work(p, run.load) for p in range(run.load.processes)]
    async with opened(run.store, replace(run.load, latency=3600), slots=1) as kernel:
        with Meter() as meter:
            if run.given["batched"]:
                await kernel.spawn_many(spawns)
            else:
                for spawn in spawns:
                    await kernel.spawn_many([spawn])
    return {**meter.figures, "steps": len(spawns), "disk": workload.disk(run.store)}


def steps(run: Run) -> dict[str, Any]:
    return asyncio.run(_steps(run))


def crowd(run: Run) -> dict[str, Any]:
    return asyncio.run(_crowd(run))


def spawn(run: Run) -> dict[str, Any]:
    return asyncio.run(_spawn(run))


def versions(_run: Run) -> dict[str, Any]:
    import cabinos

    return {"versions": {"cabinos": cabinos.__version__}}


CASES = {"steps": steps, "storage": steps, "crowd": crowd, "spawn": spawn, "versions": versions}

if __name__ == "__main__":
    sys.exit(workload.main(CASES))
