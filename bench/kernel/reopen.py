"""How long a kernel takes to open a store in which 1,000 processes were alive when it was killed.

    python bench/kernel/reopen.py [--quick]

A first process grows 1,000 agents to five turns each and dies by SIGKILL while all of them think. A
second one, fresh, opens the store. `open`: until the kernel is ready. `all going on`: until the
model has been asked again by every one of them, with its whole conversation. Imports do not count;
`with imports` is the whole second process.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure
import workload
from cabinos.kernel.driver import ThinkRequest, Thought, Tool, tool
from cabinos.kernel.kernel import Kernel, Spawn
from stubs import Quiet, Stub, call, turn_of

GOAL = 1.0  # seconds
TURNS = 5


class Short(Stub):
    """Calls a tool for some turns, then never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = 0

    async def think(self, request: ThinkRequest) -> Thought:
        turn = turn_of(request.messages)
        if turn > TURNS:
            self.stuck += 1
            await asyncio.Event().wait()
        said = workload.text("answer", request.pid, turn, 120)
        return Thought(said, call(workload.TOOL, process=request.pid, n=turn))


def lookup() -> Tool:
    @tool(name=workload.TOOL, effect="pure", label="trusted")
    async def found(process: int, n: int) -> str:
        """Looks a text up."""
        return workload.text("result", process, n, 400)

    return found


async def grow(store: Path, count: int) -> None:
    """Makes the store, and dies."""
    model = Short()
    async with Kernel.open(store, drivers=[], models=[model], tools=[lookup()]) as kernel:
        requests = (workload.text("request", n, 0, 200) for n in range(count))
        await kernel.spawn_many([Spawn(request=text) for text in requests])
        while model.stuck < count:
            await asyncio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)


async def again(store: Path, count: int) -> dict[str, float]:
    """Opens it, and waits until everybody thinks again."""
    model, tools = Quiet(), [lookup()]
    start = time.perf_counter()
    async with Kernel.open(store, drivers=[], models=[model], tools=tools):
        opened = time.perf_counter() - start
        while model.asked < count:
            await asyncio.sleep(0.001)
        going = time.perf_counter() - start
    return {"opened": opened, "going": going, "rss": workload.peak_rss()}


def main() -> int:
    if len(sys.argv) > 1 and sys.argv[1] in ("grow", "again"):
        role = grow if sys.argv[1] == "grow" else again
        print(json.dumps(asyncio.run(role(Path(sys.argv[2]), int(sys.argv[3])))))
        return 0
    options: argparse.Namespace = measure.finish(measure.parser(__doc__, repeats=5).parse_args())
    count = 200 if options.quick else 1000
    samples: dict[str, list[float]] = {"opened": [], "going": [], "whole": [], "rss": []}
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            arguments = [str(Path(folder) / "state.db"), str(count)]
            first = subprocess.run([sys.executable, __file__, "grow", *arguments], check=False)
            if first.returncode != -signal.SIGKILL:
                raise SystemExit(f"reopen: the first process ended with {first.returncode}")
            start = time.perf_counter()
            second = subprocess.run(
                [sys.executable, __file__, "again", *arguments],
                check=True, text=True, stdout=subprocess.PIPE,
            )  # fmt: skip
            samples["whole"].append(time.perf_counter() - start)
            found = json.loads(second.stdout.splitlines()[-1])
            for name, value in found.items():
                samples[name].append(value)
    spreads = {name: measure.spread(values) for name, values in samples.items()}
    rows: list[measure.Row] = [
        {"what": f"open, {count} live processes, s", **spreads["opened"], "n": options.repeats},
        {"what": "all going on, s", **spreads["going"], "goal": GOAL,
         "ok": spreads["going"]["median"] <= GOAL},
        {"what": "with imports, s", **spreads["whole"]},
        {"what": "peak MB", **{k: v / 1e6 for k, v in spreads["rss"].items()}},
    ]  # fmt: skip
    return measure.report("reopen", options, rows)


if __name__ == "__main__":
    sys.exit(main())
