"""Is a model shared fairly under a 10:1 load, and how long does a person wait?

    python bench/kernel/fairness.py [--quick]

Gap: 20 processes a slot of one tree and 2 of another think without pause. Of two trees that always
have work, the virtual token counter promises that in any interval the service of one exceeds that
of the other by at most 2U, U = max(w_in · L_in, w_out · M): L_in the longest prompt, M the most
tokens that are in the model at once (Sheng et al. 2024, arXiv:2401.00588, theorem 4.4). Service is
measured at the model, as w_in · prompt + w_out · answer, token by token.

Wait: 10 processes decode answers of 1,024 tokens; somebody interactive asks at random moments. The
wait is from standing in the queue to the slot, in quanta: of the tokens that others decoded
meanwhile, and by the clock, where a quantum is as long as the model really took for it. Whatever
else keeps the machine busy makes the latter longer. First come, first served ("fifo") is shown
beside it.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import measure
from cabinos.kernel.driver import ThinkRequest, Thought
from cabinos.kernel.kernel import Kernel, Spawn
from cabinos.kernel.scheduler import INPUT_WEIGHT, OUTPUT_WEIGHT, QUANTUM
from stubs import Stub, call

HEAVY, LIGHT = 20, 2  # processes of the two trees, for each slot of the model
CHUNK = 16  # tokens between two questions whether the quantum is over
TOKEN = 0.0005  # seconds to decode a token
Policy = Literal["fair", "fifo"]


class Decoder(Stub):
    """Decodes in chunks, gives way when asked to, and keeps the books of who was served."""

    def __init__(self, slots: int, answer: dict[str, int]) -> None:
        super().__init__(slots=slots)
        self._answer = answer  # tokens of an answer, by the first word of the request
        self.service: list[tuple[str, float]] = []  # (tree, weighted tokens) in order
        self.prompts = 0  # the longest
        self.held = 0  # tokens in the model now, and at most
        self.most = 0
        self.busy = 0.0  # seconds of decoding
        self.decoded = 0  # tokens in them

    async def think(self, request: ThinkRequest) -> Thought:
        assert request.lease is not None
        user = next(message for message in request.messages if message.role == "user")
        who = user.text.split()[0]
        prompt, answer = self.prompt(request.messages), self._answer[who]
        self.prompts = max(self.prompts, prompt)
        self.service.append((who, INPUT_WEIGHT * prompt))
        self._hold(prompt + answer)
        for _ in range(answer // CHUNK):
            start = time.perf_counter()
            await asyncio.sleep(CHUNK * TOKEN)
            self.busy, self.decoded = self.busy + time.perf_counter() - start, self.decoded + CHUNK
            self.service.append((who, OUTPUT_WEIGHT * CHUNK))
            if request.lease.over(CHUNK):
                self._hold(-prompt - answer)
                await request.lease.give_way()
                self._hold(prompt + answer)
        self._hold(-prompt - answer)
        calls = call("again") if who != "person" else ()
        return Thought("x", calls, input_tokens=prompt, output_tokens=answer)

    def _hold(self, tokens: int) -> None:
        self.held += tokens
        self.most = max(self.most, self.held)


def widest_gap(service: list[tuple[str, float]]) -> float:
    """The most by which one tree was served more than the other, over all intervals."""
    lead = highest = lowest = 0.0
    for who, tokens in service:
        lead += tokens if who == "heavy" else -tokens
        highest, lowest = max(highest, lead), min(lowest, lead)
    return highest - lowest


async def _spawn_trees(kernel: Kernel, slots: int) -> None:
    """Two trees that never run out of work: each a root with many children."""
    from cabinos.kernel import births

    for name, count in (("heavy", HEAVY), ("light", LIGHT)):
        [root] = await kernel.spawn_many([Spawn(code="recv()")])
        for number in range(count * slots):
            births.make_child(kernel, root.process, Spawn(request=f"{name} {number}"))


def again_tool() -> Any:
    from cabinos.kernel.driver import tool

    @tool(effect="pure", label="trusted")
    async def again() -> str:
        """Goes on."""
        return "go on"

    return again


async def gap(
    folder: Path, policy: Policy, seconds: float, slots: int
) -> tuple[float, float, float]:
    """(widest gap, 2U, share of the heavy tree) of a run."""
    model = Decoder(slots, {"heavy": 96, "light": 32})
    store = folder / "state.db"
    async with Kernel.open(
        store, drivers=[], models=[model], tools=[again_tool()], policy=policy, synchronous="normal"
    ) as kernel:
        await _spawn_trees(kernel, slots)
        while len({who for who, _ in model.service}) < 2:
            await asyncio.sleep(0.01)
        model.service.clear()  # from now on both always have work
        await asyncio.sleep(seconds)
        service = list(model.service)
    bound = 2 * max(INPUT_WEIGHT * model.prompts, OUTPUT_WEIGHT * model.most)
    heavy = sum(tokens for who, tokens in service if who == "heavy")
    return widest_gap(service), bound, heavy / sum(tokens for _, tokens in service)


async def waits(folder: Path, policy: Policy, asks: int) -> tuple[list[float], list[float]]:
    """Quanta that an interactive process waits for its slot each time it is asked something.

    By the tokens others decoded meanwhile, and by the clock.
    """
    chance = random.Random(1)
    tokens: list[float] = []
    seconds: list[float] = []
    model = Decoder(1, {"batch": 1024, "person": 32})
    async with Kernel.open(
        folder / "state.db",
        drivers=[],
        models=[model],
        tools=[again_tool()],
        policy=policy,
        synchronous="normal",
    ) as kernel:
        queue = kernel.queues["stub"]
        real = queue.acquire

        async def acquire(process: Any) -> Any:
            start, decoded = time.perf_counter(), model.decoded
            lease = await real(process)
            if process.interactive:
                tokens.append((model.decoded - decoded) / QUANTUM)
                seconds.append(time.perf_counter() - start)
            return lease

        queue.acquire = acquire  # type: ignore[method-assign]
        await kernel.spawn_many([Spawn(request=f"batch {n}") for n in range(10)])
        person = await kernel.spawn("person asks", interactive=True, stay=True)
        while len(tokens) < asks:
            done = len(tokens)
            await asyncio.sleep(chance.uniform(0.5, 2.5) * QUANTUM * TOKEN)
            if done and person.state != "blocked":
                continue
            await person.send("person asks more")
    quantum = QUANTUM * model.busy / model.decoded
    return tokens, [taken / quantum for taken in seconds]


def gap_rows(options: argparse.Namespace) -> list[measure.Row]:
    rows = []
    seconds = 2.0 if options.quick else 5.0
    for policy in ("fair", "fifo"):
        for slots in (1, 4):
            runs = []
            for _ in range(options.repeats):
                with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                    runs.append(asyncio.run(gap(Path(folder), policy, seconds, slots)))
            ratios = [widest / bound for widest, bound, _ in runs]
            row: measure.Row = {"what": f"gap ÷ 2U, {policy}, {slots} slots"}
            row |= {**measure.spread(ratios), "n": len(runs), "2U": runs[0][1]}
            row["heavy tree's share"] = sorted(share for _, _, share in runs)[len(runs) // 2]
            if policy == "fair":
                row |= {"goal": 1.0, "ok": max(ratios) <= 1.0}
            rows.append(row)
    return rows


def wait_rows(options: argparse.Namespace) -> list[measure.Row]:
    rows = []
    cases: list[tuple[Policy, int]] = [("fair", 40 if options.quick else 200), ("fifo", 5)]
    for policy, asks in cases:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            tokens, seconds = asyncio.run(waits(Path(folder), policy, asks))
        for unit, found in (("tokens", sorted(tokens)), ("the clock", sorted(seconds))):
            p95 = found[int(0.95 * (len(found) - 1))]
            what = f"interactive p95 wait by {unit}, quanta, {policy}"
            row: measure.Row = {"what": what, "median": p95}
            row |= {"lowest": found[0], "highest": found[-1], "n": len(found)}
            if policy == "fair" and unit == "tokens":
                row |= {"goal": 1.0, "ok": p95 <= 1.0}
            rows.append(row)
    return rows


def main() -> int:
    options = measure.finish(measure.parser(__doc__).parse_args())
    rows = gap_rows(options) + wait_rows(options)
    return measure.report("fairness", options, rows, detail={"quantum": QUANTUM, "chunk": CHUNK})


if __name__ == "__main__":
    sys.exit(main())
