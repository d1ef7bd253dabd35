"""A chat that ran is run again over its journal, and comes out the same or says where not."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from cabinos.kernel.driver import Tool, tool
from cabinos.kernel.errors import KernelError, NoSuchProcess
from cabinos.kernel.kernel import Kernel
from cabinos.lab.replay import Replay, replay
from cabinos.store.database import Store
from tests.kernel.models import ScriptedModel, calls


@tool(effect="pure")
async def double(n: int) -> int:
    """Twice n."""
    return 2 * n


@tool(effect="pure")
async def fails(n: int) -> int:
    """Never works."""
    raise ValueError("no")


TOOLS: list[Tool] = [double, fails]


def run(path: Path, *replies: object, **options: object) -> int:
    """Runs a request to its end and returns the pid."""

    async def main() -> int:
        models = [ScriptedModel(*replies)]  # type: ignore[arg-type]
        async with Kernel.open(path, drivers=[], tools=TOOLS, models=models) as k:
            handle = await k.spawn("go", **options)
            await handle.ended()
            return handle.pid

    return asyncio.run(main())


def again(path: Path, pid: int) -> Replay:
    store = Store.open(path, read_only=True)
    try:
        return replay(store, pid)
    finally:
        store.abandon()


SCRIPT = (calls(("double", {"n": 2}), ("fails", {"n": 1}), ("fly", None)), "four")


def test_every_step_comes_out_the_same(tmp_path: Path) -> None:
    pid = run(tmp_path / "s.db", *SCRIPT)
    outcome = again(tmp_path / "s.db", pid)
    assert outcome.difference == ""
    assert [sorted(step.values()) for step in outcome.steps] == [
        ["think"], ["double", "fails", "fly"], ["think"], ["recv"],
    ]  # fmt: skip


def test_a_structured_answer_with_retries(tmp_path: Path) -> None:
    schema = {"type": "object", "required": ["n"]}
    pid = run(tmp_path / "s.db", "nonsense", "{}", '{"n": 1}', schema=schema)
    outcome = again(tmp_path / "s.db", pid)
    assert outcome.difference == ""
    assert len(outcome.steps) == 3


def test_a_failure_is_replayed_too(tmp_path: Path) -> None:
    pid = run(tmp_path / "s.db", SCRIPT[0], max_steps=2)
    assert again(tmp_path / "s.db", pid).difference == ""


def test_a_conversation_and_its_fork(tmp_path: Path) -> None:
    path = tmp_path / "s.db"

    async def main() -> tuple[int, int]:
        models = [ScriptedModel("one", "two", "three", "four")]
        async with Kernel.open(path, drivers=[], models=models) as k:
            first = await k.spawn("go")
            await first.ended()
            (second,) = await first.fork(stay=True)
            with k.events.subscribe(second.pid) as queue:
                for text in ("more", "and more"):
                    await second.send(text)
                    while (event := await queue.get()).kind != "state":
                        pass
                    assert event.why == "a message"
            return first.pid, second.pid

    first, second = asyncio.run(main())
    assert again(path, first).difference == ""
    outcome = again(path, second)
    assert outcome.difference == ""
    assert [*outcome.steps[-1].values()] == ["recv"]
    assert sum("think" in step.values() for step in outcome.steps) == 3


def test_one_that_waits_for_a_person_is_the_same_so_far(tmp_path: Path) -> None:
    path = tmp_path / "s.db"

    async def main() -> int:
        models = [ScriptedModel(calls(("double", {"n": 2}), ("ask", {"question": "Why?"})))]
        async with Kernel.open(path, drivers=[], tools=TOOLS, models=models) as k:
            handle = await k.spawn("go")
            with k.events.subscribe(handle.pid) as queue:
                while (await queue.get()).kind != "state":
                    pass
            return handle.pid

    assert again(path, asyncio.run(main())).difference == ""


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE journal SET kind = 'recv' WHERE kind = 'double'", "asks for double"),
        ("DELETE FROM journal WHERE kind = 'double'", "asks for double"),
        ("UPDATE process SET result = 1", "answered"),
        ('UPDATE process SET image_state = \'{"phase": "think"}\'', "last state"),
    ],
)
def test_what_was_changed_is_found(tmp_path: Path, change: str, told: str) -> None:
    path = tmp_path / "s.db"
    pid = run(path, *SCRIPT)
    with sqlite3.connect(path) as db:
        db.execute(change)
    db.close()
    assert told in again(path, pid).difference


def test_programs_and_strangers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.db"

    async def main() -> None:
        async with Kernel.open(path, drivers=[]) as k:
            assert await k.exec("1 + 1") == 2

    asyncio.run(main())
    with pytest.raises(KernelError, match="program"):
        again(path, 1)
    with pytest.raises(NoSuchProcess):
        again(path, 7)
