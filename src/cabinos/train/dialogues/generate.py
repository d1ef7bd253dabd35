"""As many conversations as wanted, one a line: the same for the same seed, by any number of hands.

Row n is drawn from a generator seeded with the seed and n alone. Rows are made in chunks, kept in
order, and one that says again what was said is left out.
"""

import asyncio
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import IO, Any

from cabinos.drivers.model.call_format import as_function
from cabinos.kernel import driver, retrieval
from cabinos.kernel.driver import Tool
from cabinos.train.dialogues.families import SHARES, family
from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.phrases import Liberal
from cabinos.train.dialogues.script import Template
from cabinos.train.dialogues.stage import Message, Stage, StageError
from cabinos.train.errors import CorpusError
from cabinos.train.tokenizer import TOOLS_SHOWN

__all__ = ["Produced", "generate", "make_row"]

FEWER = 0.2  # share of rows in which some that would be shown are not
CHUNK = 1000  # rows that one worker makes in one go, at most
REPEATS = 12  # rows that say the same and differ in what the devices return
DRAWS = 3  # of a row: words drawn by chance now and then mean two things of its world
PATIENCE = 4  # rows that are made for one that is kept, at most
FIRST, DAYS = datetime(2023, 1, 1, tzinfo=UTC), 3650  # when conversations take place

Row = dict[str, Any]


@dataclass(slots=True)
class Produced:
    """What was written: rows by family and by template, and how many repeated others."""

    rows: int = 0
    repeated: int = 0
    families: Counter[str] = field(default_factory=Counter)
    templates: Counter[str] = field(default_factory=Counter)


def generate(
    seed: int,
    count: int,
    out: Path,
    *,
    held_out: bool = False,
    data: Path | None = None,
    workers: int = 1,
    progress: Callable[[int], object] = int,
) -> Produced:
    """Writes `count` rows to `out` as JSON lines, all or nothing; `progress` is told how many.

    `held_out`: only of the templates and words that are never trained on. `data`: a data folder,
    for more words. Raises CorpusError if there are not so many different ones, or if `out` cannot
    be written; StageError for a mistake in a template.
    """
    produced, seen = Produced(), Counter[tuple[str, ...]]()
    known: set[str] = set()
    with _written(out) as file, closing(_rows(seed, count, held_out, data, workers)) as rows:
        for row in rows:
            says = tuple(m["content"].lower() for m in row["messages"] if m["role"] == "user")
            line = json.dumps(row, ensure_ascii=False)
            told = json.dumps(row["messages"])
            if seen[says] >= REPEATS or told in known:
                produced.repeated += 1
                continue
            seen[says] += 1
            known.add(told)
            file.write(line + "\n")
            produced.rows += 1
            produced.families[row["family"]] += 1
            produced.templates[row["template"]] += 1
            progress(produced.rows)
            if produced.rows == count:
                return produced
        raise CorpusError(f"there are only {produced.rows:,} different rows of {count:,}.")


def _rows(
    seed: int, count: int, held_out: bool, data: Path | None, workers: int
) -> Generator[Row, None, None]:
    """Rows in the order of their numbers, for as long as they are wanted and patience lasts."""
    size = min(count, CHUNK)
    chunks = range(0, PATIENCE * count, size)
    make = partial(_chunk, seed, held_out, data, size)
    if workers == 1:
        for chunk in chunks:
            yield from make(chunk)
        return
    from multiprocessing import get_context

    with get_context("spawn").Pool(workers) as pool:
        for rows in pool.imap(make, chunks):
            yield from rows


def _chunk(seed: int, held_out: bool, data: Path | None, size: int, first: int) -> list[Row]:
    fillers = _fillers(data, held_out)

    async def made() -> list[Row]:
        async with Stage() as stage:
            return [
                await make_row(stage, fillers, seed, number, held_out)
                for number in range(first, first + size)
            ]

    return asyncio.run(made())


_kept: dict[tuple[Path | None, bool], Fillers] = {}


def _fillers(data: Path | None, held_out: bool) -> Fillers:
    if (data, held_out) not in _kept:
        _kept[data, held_out] = Fillers(data, held_out=held_out)
    return _kept[data, held_out]


async def make_row(
    stage: Stage, fillers: Fillers, seed: int, number: int, held_out: bool = False
) -> Row:
    """Row `number` of the seed."""
    # What is measured by is said as its template has it; training hears more ways to say it.
    rng = (Random if held_out else Liberal)(f"{seed}/{number}")
    for attempt in range(1, DRAWS + 1):
        name = rng.choices(list(SHARES), list(SHARES.values()))[0]
        try:
            return await perform(stage, rng.choice(family(name, held_out)), fillers, rng)
        except StageError:
            if attempt == DRAWS:
                raise
    raise AssertionError


async def perform(stage: Stage, template: Template, fillers: Fillers, rng: Random) -> Row:
    """A row of the template."""
    script = template.write(rng, fillers)
    now = FIRST + timedelta(days=rng.randrange(DAYS), seconds=rng.randrange(86_400))
    messages = await stage.perform(script, now=now, seed=rng.getrandbits(32))
    tools = shown(rng, stage.tools(script), messages)
    return {
        "template": template.name,
        "family": template.family,
        "messages": messages,
        "tools": [as_function(tool) for tool in tools],
    }


def shown(rng: Random, tools: list[Tool], messages: list[Message]) -> list[Tool]:
    """Those that the conversation calls and those that the kernel would show, in any order."""
    calls = [call["name"] for message in messages for call in message.get("tool_calls", ())]
    last = max(n for n, message in enumerate(messages) if message["role"] == "user")
    picked = retrieval.shown(tools, map(_message, reversed(messages[: last + 1])), TOOLS_SHOWN)
    chosen = [tool for tool in tools if tool.name in calls or tool.name == retrieval.ESCALATE]
    others = [tool for tool in picked if tool not in chosen]
    if rng.random() < FEWER:
        others = rng.sample(others, rng.randint(0, len(others)))
    chosen += others[: max(0, TOOLS_SHOWN - len(chosen))]
    rng.shuffle(chosen)
    return chosen


def _message(message: Message) -> driver.Message:
    calls = (driver.ToolCall("", c["name"], c["arguments"]) for c in message.get("tool_calls", ()))
    return driver.Message(message["role"], message["content"], tuple(calls))


@contextmanager
def _written(out: Path) -> Iterator[IO[str]]:
    """A file that takes its place when it is whole, and not at all if it never is."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(out)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CorpusError(f"{out}: cannot be written ({error.strerror or error}).") from None
