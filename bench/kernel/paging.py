"""Does a page survive being swapped out, is it found again, and does the cache stay warm?

    python bench/kernel/paging.py [--quick]

One process with a window of 8,192 tokens works until 50 evictions have taken place. Then every
original is compared byte for byte with what was said, and recalled by its handle and by a word that
only it holds. Cached: of the tokens of every request, how many stood at its beginning just as they
stood in the request before, so that a prefix cache has them.
"""

import argparse
import asyncio
import os.path
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import measure
import workload
from cabinos.kernel.driver import ThinkRequest, Thought, tool
from cabinos.kernel.kernel import Kernel, Spawn
from stubs import Stub, call

WINDOW = 8192
CACHED_GOAL = 0.90
RESULT, ANSWER = 600, 120  # characters


def flat(messages: Any) -> str:
    """A request as one text, as a prefix cache sees it."""
    return "".join(f"<{message.role}>{message.text}" for message in messages)


def word(turn: int) -> str:
    """A word that only the result of this turn holds."""
    return f"keyword{turn}x"


def result_of(turn: int) -> str:
    return workload.text(word(turn), 1, turn, RESULT)


class Talker(Stub):
    """Calls a tool in every turn until told to end; remembers what it said and was shown."""

    def __init__(self) -> None:
        super().__init__(window=WINDOW)
        self.said: list[str] = []
        self.turn = 0
        self.end = False
        self.tokens = self.cached = 0
        self.longest = 0
        self._before = ""

    async def think(self, request: ThinkRequest) -> Thought:
        shown = flat(request.messages)
        common = len(os.path.commonprefix([shown, self._before]))  # noqa: RUF071 - of characters
        if self._before:
            self.tokens += self.count(shown)
            self.cached += common // 4
        self._before = shown
        self.longest = max(self.longest, self.prompt(request.messages))
        self.turn += 1
        self.said.append(workload.text("answer", 1, self.turn, ANSWER))
        calls = () if self.end else call(workload.TOOL, n=self.turn)
        return Thought(self.said[-1], calls)


async def work(folder: Path, evictions: int) -> dict[str, Any]:
    """Runs until `evictions` have taken place, then looks at every page."""

    @tool(name=workload.TOOL, effect="pure", label="trusted")
    async def lookup(n: int) -> str:
        """Looks a text up."""
        return result_of(n)

    model = Talker()
    async with Kernel.open(
        folder / "state.db", drivers=[], models=[model], tools=[lookup], synchronous="normal"
    ) as kernel:
        with kernel.events.subscribe() as events:
            [handle] = await kernel.spawn_many(
                [Spawn(request="go on and on", tools=[workload.TOOL], max_steps=1_000_000)]
            )
            evicted = 0
            while True:
                event = await events.get()
                if event.kind == "fault" and event.data["action"] == "evict":
                    evicted += 1
                    model.end = evicted >= evictions
                if event.kind == "exit":
                    break
        process = handle.process
        originals = [*model.said, *(result_of(turn) for turn in range(1, model.turn))]
        mapped = process.pages.ids()
        stubs = [page_id for page_id, stub, _ in process.pages if stub]
        lost_handles = 0
        for page_id in stubs:
            page = kernel.pages.get(page_id)
            text, *_ = await kernel.memory.recall(process, WINDOW, handle=page.handle)
            lost_handles += text != page.text
        lost_words = 0
        for turn in range(1, model.turn):
            text, *_ = await kernel.memory.recall(process, WINDOW, query=word(turn))
            lost_words += result_of(turn)[:100] not in text
    with closing(sqlite3.connect(folder / "state.db")) as file:  # not what the kernel remembers
        kept = {text for id_, text in file.execute("SELECT id, text FROM page") if id_ in mapped}
    return {
        "evictions": evicted,
        "originals": len(originals),
        "changed": sum(original not in kept for original in originals),
        "swapped out": len(stubs),
        "not found by handle": lost_handles,
        "not found by word": lost_words,
        "cached": model.cached / model.tokens,
        "longest": model.longest,
    }


def main() -> int:
    options: argparse.Namespace = measure.finish(measure.parser(__doc__, repeats=1).parse_args())
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = asyncio.run(work(Path(folder), 50))
    rows: list[measure.Row] = [
        {"what": "evictions", "value": found["evictions"], "goal": 50,
         "ok": found["evictions"] >= 50},
        {"what": f"originals changed or gone, of {found['originals']}", "value": found["changed"],
         "goal": 0, "ok": found["changed"] == 0},
        {"what": f"not found by handle, of {found['swapped out']}",
         "value": found["not found by handle"], "goal": 0, "ok": not found["not found by handle"]},
        {"what": "not found by a word", "value": found["not found by word"], "goal": 0,
         "ok": not found["not found by word"]},
        {"what": "tokens of a prompt that a prefix cache has", "value": found["cached"],
         "goal": CACHED_GOAL, "ok": found["cached"] >= CACHED_GOAL},
        {"what": "longest prompt, tokens", "value": found["longest"], "goal": WINDOW,
         "ok": found["longest"] <= WINDOW},
    ]  # fmt: skip
    return measure.report("paging", options, rows)


if __name__ == "__main__":
    sys.exit(main())
