"""Does a budget hold across restarts? Victims are killed at random while a tree spends one.

    python bench/kernel/budget.py [--quick]

Four agents of one tree think without end under a budget of tokens; their kernel is killed again and
again. The model charges for a thought when it is asked, and writes it down outside of the kernel;
whoever is killed meanwhile has spent it. `over the limit` must not be more than one thought may
cost; what was reserved when a victim died counts as spent, so a killed tree gets less than its
budget, never more.
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
from pathlib import Path

import chaos
import measure
from cabinos.kernel import births
from cabinos.kernel.budget import Budget
from cabinos.kernel.driver import ThinkRequest, Thought, Tool, tool
from cabinos.kernel.kernel import Kernel, Spawn
from stubs import Stub, call

LIMIT = 200_000  # tokens
AGENTS = 4
ANSWER = 40  # tokens


class Costly(Stub):
    """Charges for each thought before it is thought."""

    def __init__(self, book: Path) -> None:
        super().__init__(window=16_384)
        self._book = os.open(book, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    async def think(self, request: ThinkRequest) -> Thought:
        prompt = self.prompt(request.messages)
        os.write(self._book, f"{prompt + ANSWER} {prompt + request.max_tokens}\n".encode())
        await asyncio.sleep(0.01)
        return Thought("x", call("again"), input_tokens=prompt, output_tokens=ANSWER)


def again_tool() -> Tool:
    @tool(effect="pure", label="trusted")
    async def again() -> str:
        """Goes on."""
        return "go on " * 20

    return again


async def live(store: Path, book: Path, offered: list[Tool]) -> None:
    """Runs until the budget stops every agent."""
    async with Kernel.open(store, drivers=[], models=[Costly(book)], tools=offered) as kernel:
        made = len(kernel.ps(exited=True))
        if made == 0:
            await kernel.spawn_many([Spawn(code="recv()", budget=Budget(tokens=LIMIT))])
        root = kernel.process(1).process
        for number in range(max(made, 1), AGENTS + 1):
            child = births.make_child(kernel, root, Spawn(request=f"agent {number}"))
            child.image_state["max_steps"] = 1_000_000
        await kernel.store.commit()
        while len(kernel.ps()) > 1:
            await asyncio.sleep(0.005)


def one_tree(folder: Path, kills: int, chance: random.Random) -> dict[str, float]:
    """Kills victims of one store until its budget is gone, at most `kills`."""
    store, book, offered = folder / "state.db", folder / "book", [again_tool()]
    killed = 0

    def work() -> None:
        asyncio.run(live(store, book, offered))

    while chaos.run_victim(work, "random" if killed < kills else "", chance):
        killed += 1
    costs = [tuple(map(int, line.split())) for line in book.read_text().splitlines()]
    spent, dearest = sum(cost for cost, _ in costs), max(most for _, most in costs)
    return {"kills": killed, "spent": spent, "dearest": dearest, "thoughts": len(costs)}


def main() -> int:
    options: argparse.Namespace = measure.finish(measure.parser(__doc__, repeats=10).parse_args())
    chance, runs = random.Random(1), []
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            runs.append(one_tree(Path(folder), 10, chance))
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        undisturbed = one_tree(Path(folder), 0, chance)
    over = max(run["spent"] - LIMIT for run in runs)
    rows: list[measure.Row] = [
        {"what": "kills", "median": sum(run["kills"] for run in runs)},
        {"what": "tokens over the limit, worst tree", "median": over,
         "goal": max(run["dearest"] for run in runs),
         "ok": all(run["spent"] - LIMIT <= run["dearest"] for run in runs)},
        {"what": "spent ÷ limit, nobody killed", "median": undisturbed["spent"] / LIMIT},
        {"what": "spent ÷ limit", **measure.spread([run["spent"] / LIMIT for run in runs])},
        {"what": "thoughts", **measure.spread([run["thoughts"] for run in runs])},
    ]  # fmt: skip
    return measure.report("budget", options, rows)


if __name__ == "__main__":
    sys.exit(main())
