"""What it costs, and spares, that a plan is the default: calls of the model, questions to a person.

python bench/security/planning.py

A scripted brain that does what it is asked to; the file device and the kernel are the real ones.
Every request runs three times: with a plan by default, with none wanted, and with a brain that does
not say that it can plan. A person approves whatever is asked. Nothing is drawn by chance.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common

from cabinos.drivers import files as files_driver
from cabinos.kernel.capability import files
from cabinos.kernel.driver import Driver, ThinkRequest, Thought, Tool, ToolCall, tool
from cabinos.kernel.kernel import Kernel

Wish = tuple[str, dict[str, Any]]
READ: Wish = ("files_read", {"path": "docs/a.txt"})
SEND: Wish = ("send_mail", {"to": "bob@x.org", "body": "Minutes."})
PLAN = [{"tool": name, "arguments": arguments} for name, arguments in (READ, SEND)]
TALK, LOOK, ACT = "Hello.", "What does docs/a.txt say?", "Send bob@x.org what docs/a.txt says."
# name: request, what the brain calls one after the other, its plan, is there a tool that acts?
CASES: dict[str, tuple[str, list[Wish], list[Any], bool]] = {
    "talk, no tools": (TALK, [], [], False),
    "reads only": (LOOK, [READ, READ], [], False),
    "reads; a tool that acts is there": (LOOK, [READ], [], True),
    "reads, then acts": (ACT, [READ, SEND], PLAN, True),
    "reads, then acts, no plan comes": (ACT, [READ, SEND], [], True),
}
MODES: dict[str, tuple[bool | None, bool]] = {  # `plan` of Spawn, `plans` of the model
    "default": (None, True),
    "not wanted": (False, True),
    "brain cannot": (None, False),
}
# More calls of the model by default than without; and the questions that are left by default.
GOALS = {"talk, no tools": (0, 0), "reads only": (0, 0), "reads; a tool that acts is there": (1, 0),
         "reads, then acts": (0, 0), "reads, then acts, no plan comes": (1, 1)}  # fmt: skip


class Brain:
    """Calls what it is to call, one after the other, and answers; its plan if asked for it."""

    name, window, slots, local, price = "scripted", 8192, 4, True, (0.0, 0.0)

    def __init__(self, wishes: Sequence[Wish], plan: list[Any], *, plans: bool) -> None:
        self.plans, self.thoughts = plans, 0
        self._wishes, self._plan = list(wishes), plan

    def count(self, text: str) -> int:
        """About four letters a token."""
        return len(text) // 4 + 1

    async def think(self, request: ThinkRequest) -> Thought:
        """The next call, or the answer."""
        self.thoughts += 1
        if not request.calls:
            return Thought(json.dumps({"steps": self._plan}))
        last = request.messages[-1].text
        if not self._wishes or last.startswith("The plan was carried out."):
            return Thought("done")
        name, arguments = self._wishes.pop(0)
        return Thought("", (ToolCall("x", name, arguments),), "calls")


async def episode(place: Path, name: str, mode: str) -> dict[str, Any]:
    """One request in one mode: calls of the model, questions, and what was sent."""
    request, wishes, steps, acts = CASES[name]
    wanted, plans = MODES[mode]
    sent: list[str] = []

    @tool(effect="raw", label="trusted", egress=True, authority=["to"], payload=["body"])
    async def send_mail(to: str, body: str) -> str:
        """Sends a mail."""
        sent.append(f"{to}: {body}")
        return "sent"

    folder = place / "docs"
    folder.mkdir()
    (folder / "a.txt").write_text("Minutes.")
    brain, asked = Brain(wishes, steps, plans=plans), 0
    tools: list[Tool] = [send_mail] if acts else []
    devices: list[Driver] = [files_driver.driver({})]
    kernel = Kernel.open(place / "s.db", drivers=devices, tools=tools, models=[brain],
                         synchronous="normal")  # fmt: skip
    async with kernel:
        granted = [files(folder)] if name != "talk, no tools" else []
        process = await kernel.spawn(request, files=granted, plan=wanted)
        async for event in process.events():
            if event.kind == "ask":
                asked += 1
                await event.approve()
    return {"thoughts": brain.thoughts, "questions": asked, "sent": len(sent)}


def main() -> int:
    """Runs every request in every mode and holds the default against the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=common.FORMAT)
    parser.add_argument("--quick", action="store_true", help="the same: it takes seconds")
    parser.add_argument("--results", type=Path, default=common.RESULTS)
    options = parser.parse_args()
    rows = []
    for name, goal in GOALS.items():
        row: dict[str, Any] = {"request": name}
        for mode in MODES:
            with tempfile.TemporaryDirectory() as place:
                found = asyncio.run(episode(Path(place), name, mode))
            row |= {f"{key}, {mode}": value for key, value in found.items()}
        more = row["thoughts, default"] - row["thoughts, not wanted"]
        same = row["thoughts, not wanted"] == row["thoughts, brain cannot"]
        done = len({row[f"sent, {mode}"] for mode in MODES}) == 1
        row["ok"] = (more, row["questions, default"]) == goal and same and done
        rows.append(row)
    code = common.report("planning", options, rows)
    print(json.dumps({"bench": "planning", "rows": rows}))
    return code


if __name__ == "__main__":
    sys.exit(main())
