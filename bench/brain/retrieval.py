"""How often a small brain is shown the tool that it needs.

    python bench/brain/retrieval.py [--quick] [--data FOLDER]

Conversations are drawn as those that assistants are trained on, and performed with the real
devices. Before each call the kernel's choice of TOOLS_SHOWN tools is asked for, among all that the
process is offered. Of each family: recall, the share of calls whose tool is shown, and `idle`, how
many tools are shown on average where none is wanted. Held-out templates, and with --data held-out
words, are those that no training, and no tuning of the tools' hints, has seen.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(1, str(ROOT / "src"))

from cabinos.kernel.driver import Message, Tool, ToolCall  # noqa: E402
from cabinos.kernel.retrieval import ESCALATE, shown  # noqa: E402
from cabinos.train.dialogues.families import SHARES, family  # noqa: E402
from cabinos.train.dialogues.fillers import Fillers  # noqa: E402
from cabinos.train.dialogues.stage import Stage, StageError  # noqa: E402
from cabinos.train.tokenizer import TOOLS_SHOWN  # noqa: E402

GOAL = 0.95  # recall on held-out templates
NOW = datetime(2026, 3, 14, 15, 9, tzinfo=UTC)


@dataclass(slots=True)
class Family:
    """What was counted in its conversations."""

    calls: int = 0
    found: int = 0
    idle: list[int] = field(default_factory=list)  # tools shown where none was wanted
    seconds: list[float] = field(default_factory=list)  # that each choice took

    def add(self, tools: Sequence[Tool], messages: Sequence[Message]) -> None:
        """Counts a conversation in which `tools` were on offer."""
        for n, message in enumerate(messages):
            if message.role != "assistant":
                continue
            start = time.perf_counter()
            chosen = shown(tools, reversed(messages[:n]), TOOLS_SHOWN)
            self.seconds.append(time.perf_counter() - start)
            names = {tool.name for tool in chosen} - {ESCALATE}
            wanted = {call.name for call in message.calls} - {ESCALATE}
            self.calls += len(wanted)
            self.found += len(wanted & names)
            if not wanted and messages[n - 1].role == "user":
                self.idle.append(len(names))


async def measure(rows: int, data: Path | None, held_out: bool) -> dict[str, Family]:
    """Counts by family, and in "all"."""
    fillers = Fillers(data, held_out=held_out and data is not None)  # the built-in lists are short
    counts: dict[str, Family] = defaultdict(Family)
    async with Stage() as stage:
        for number in range(rows):
            rng = Random(f"retrieval/{number}")
            name = rng.choices(list(SHARES), list(SHARES.values()))[0]
            script = rng.choice(family(name, held_out)).write(rng, fillers)
            try:
                told = await stage.perform(script, now=NOW, seed=number)
            except StageError:  # words drawn by chance now and then mean two things of their world
                continue
            for key in (name, "all"):
                counts[key].add(stage.tools(script), [_message(said) for said in told])
    return counts


def _message(said: dict[str, Any]) -> Message:
    calls = (ToolCall("", call["name"], call["arguments"]) for call in said.get("tool_calls", ()))
    return Message(said["role"], said["content"], tuple(calls))


def facts(counted: Family) -> dict[str, float]:
    """The figures of a family; those that nothing was counted for are left out."""
    found: dict[str, float] = {"calls": counted.calls}
    if counted.calls:
        found["recall"] = round(counted.found / counted.calls, 4)
    if counted.idle:
        found["idle"] = round(statistics.mean(counted.idle), 2)
    return found


def main() -> int:
    """A table, then one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few conversations")
    parser.add_argument("--data", type=Path, help="a data folder, for more words")
    options = parser.parse_args()
    rows = 400 if options.quick else 3000
    result: dict[str, Any] = {"bench": "retrieval", "shown": TOOLS_SHOWN, "rows": rows}
    for split, held_out in (("trained", False), ("held_out", True)):
        counts = asyncio.run(measure(rows, options.data, held_out))
        result[split] = {name: facts(counts[name]) for name in [*SHARES, "all"] if name in counts}
        result[split]["all"]["us"] = round(1e6 * statistics.median(counts["all"].seconds), 1)
    print(f"{'':12}" + "".join(f"{split:>22}" for split in ("trained", "held_out")))
    print(f"{'family':12}" + f"{'calls  recall   idle':>22}" * 2)
    for name in [*SHARES, "all"]:
        cells = [result[split].get(name, {}) for split in ("trained", "held_out")]
        print(f"{name:12}" + "".join(map(_cell, cells)))
    result["ok"] = result["held_out"]["all"]["recall"] >= GOAL
    print(json.dumps(result))
    return 0 if result["ok"] else 1


def _cell(found: dict[str, float]) -> str:
    recall = f"{found['recall']:.3f}" if "recall" in found else "-"
    idle = f"{found['idle']:.2f}" if "idle" in found else "-"
    return f"{found.get('calls', 0):9}{recall:>7}{idle:>6}"


if __name__ == "__main__":
    sys.exit(main())
