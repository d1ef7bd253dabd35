"""What a fork of a process with a window of 100,000 tokens costs: time and bytes.

    python bench/kernel/fork.py [--quick]

Pages are shared, so a child is a row with a copy of the page table. `one, on disk` includes the
commit and so the disk's fsync; `the kernel's part` is the same without waiting for the disk; bytes
are the growth of the store for each of many children, with their lines in the journal.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import measure
import workload
from cabinos.kernel import births
from cabinos.kernel.driver import ThinkRequest, Thought, tool
from cabinos.kernel.kernel import Kernel, ProcessHandle, Spawn
from stubs import Stub, call, turn_of

TOKENS = 100_000
RESULT, ANSWER = 1400, 200  # characters: 400 tokens a turn
TIME_GOAL, BYTES_GOAL = 1.0, 16_384  # ms, bytes
MANY = 200


class Talker(Stub):
    """Calls a tool until its window holds TOKENS, then answers."""

    async def think(self, request: ThinkRequest) -> Thought:
        turn = turn_of(request.messages)
        said = workload.text("answer", 1, turn, ANSWER)
        more = turn < TOKENS * 4 // (RESULT + ANSWER)
        return Thought(said, call(workload.TOOL, n=turn) if more else ())


async def _grown(kernel: Kernel) -> ProcessHandle:
    """A process with TOKENS tokens that waits for its next message."""
    [handle] = await kernel.spawn_many(
        [Spawn(request="talk", tools=[workload.TOOL], stay=True, max_steps=1_000_000)]
    )
    while handle.state != "blocked":
        await asyncio.sleep(0.01)
    return handle


async def work(folder: Path, forks: int) -> dict[str, Any]:
    @tool(name=workload.TOOL, effect="pure", label="trusted")
    async def lookup(n: int) -> str:
        """Looks a text up."""
        return workload.text("result", 1, n, RESULT)

    store = folder / "state.db"

    def opened() -> Kernel:
        return Kernel.open(store, drivers=[], models=[Talker()], tools=[lookup])

    async with opened() as kernel:
        parent = await _grown(kernel)
        tokens, pages = kernel.memory.resident(parent.process), len(parent.process.pages)
        alone, on_disk = [], []
        for _ in range(forks):
            start = time.perf_counter()
            births.fork(kernel, parent.process)
            alone.append(1e3 * (time.perf_counter() - start))
            await kernel.store.commit()
            start = time.perf_counter()
            await parent.fork()
            on_disk.append(1e3 * (time.perf_counter() - start))
    before = workload.disk(store)
    async with opened() as kernel:
        start = time.perf_counter()
        await kernel.process(parent.pid).fork(MANY)
        together = 1e3 * (time.perf_counter() - start) / MANY
    size = (workload.disk(store) - before) / MANY
    return {"tokens": tokens, "pages": pages, "alone": alone, "on_disk": on_disk,
            "together": together, "bytes": size}  # fmt: skip


def main() -> int:
    options: argparse.Namespace = measure.finish(measure.parser(__doc__, repeats=5).parse_args())
    floor = measure.sync_floor(options.folder)
    runs = []
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            runs.append(asyncio.run(work(Path(folder), 10 if options.quick else 30)))
    alone = measure.spread([value for run in runs for value in run["alone"]])
    on_disk = measure.spread([value for run in runs for value in run["on_disk"]])
    size = measure.spread([run["bytes"] for run in runs])
    together = measure.spread([run["together"] for run in runs])
    what = f"fork of {runs[0]['tokens']} tokens in {runs[0]['pages']} pages"
    rows: list[measure.Row] = [
        {"what": f"{what}: the kernel's part, ms", **alone, "goal": TIME_GOAL,
         "ok": alone["median"] <= TIME_GOAL},
        {"what": "one, on disk, ms", **on_disk},
        {"what": f"each of {MANY} in one commit, on disk, ms", **together, "goal": TIME_GOAL,
         "ok": together["median"] <= TIME_GOAL},
        {"what": "bytes each", **size, "goal": BYTES_GOAL, "ok": size["median"] <= BYTES_GOAL},
        {"what": "floor: one fsync, ms", **floor},
    ]  # fmt: skip
    return measure.report("fork", options, rows)


if __name__ == "__main__":
    sys.exit(main())
