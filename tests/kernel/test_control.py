"""Orders from other programs: done once, answered in the journal, harmless if they are bad."""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from cabinos.kernel import control
from cabinos.kernel.control import order, withdraw
from cabinos.kernel.kernel import Kernel
from cabinos.kernel.process import State
from cabinos.store.database import Store
from cabinos.store.errors import StoreError
from tests.kernel.help import asked, open_kernel, run, until
from tests.kernel.models import ScriptedModel, calls


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "PERIOD", 0.005)


async def obeyed(kernel: Kernel, number: int) -> dict[str, Any]:
    """The journal's row about an order."""
    while True:
        for entry in kernel.entries():
            if entry.kind == "order" and entry.body["order"] == number:
                return entry.body
        await asyncio.sleep(0.005)


def test_orders_do_what_the_methods_do(tmp_path: Path) -> None:
    path = tmp_path / "cabin.db"

    async def main() -> None:
        model = ScriptedModel(calls(("ask", {"question": "?"})), "done")
        async with open_kernel(tmp_path, model) as k:
            p = await k.spawn("go")
            number = await asked(k, p.pid)
            await obeyed(k, order(path, "stop", pid=p.pid))
            assert p.state == State.STOPPED
            await obeyed(k, order(path, "nice", pid=p.pid, nice=7))
            assert p.process.nice == 7
            await obeyed(k, order(path, "budget", pid=p.pid, budget={"tokens": 9000}))
            assert p.process.account.token_limit == 9000
            await obeyed(k, order(path, "send", pid=p.pid, text="half \ud800 a letter"))
            await obeyed(k, order(path, "answer", ask=number, answer="half \ud800 yes"))
            await obeyed(k, order(path, "cont", pid=p.pid))
            assert await p.result() == "done"
            said = "\n".join(m.text for m in model.requests[-1].messages)
            assert "half ? yes" in said
            assert "half ? a letter" in said
            forked = await obeyed(k, order(path, "fork", pid=p.pid))
            assert "error" not in forked
            await until(k, 2, State.BLOCKED)
            await obeyed(k, order(path, "kill", pid=2))
            assert k.process(2).state == State.EXITED
            assert k.store.rows("SELECT count(*) FROM control") == [(0,)]

    run(main())


BAD: list[tuple[str, Any]] = [
    ("kill", {}),
    ("kill", {"pid": 99}),
    ("kill", {"pid": 2**80}),
    ("kill", {"pid": None}),
    ("kill", {"pid": "x"}),
    ("kill", {"pid": 1e999}),
    ("kill", []),
    ("kill", "text"),
    ("kill", None),
    ("cont", {"pid": 1}),
    ("explode", {"pid": 1}),
    ("answer", {"ask": 5, "answer": "x"}),
    ("answer", {"ask": 2**80, "answer": "x"}),
    ("send", {"pid": 1}),
    ("nice", {"pid": 1, "nice": 99}),
    ("budget", {"pid": 1, "budget": {"tokens": -1}}),
    ("budget", {"pid": 1, "budget": 5}),
    ("budget", {"pid": 1, "budget": {"nonsense": 1}}),
    ("spawn", {}),
    ("spawn", {"request": "x", "capabilities": [], "budget": {}}),
    ("spawn", {"request": "x", "capabilities": {"tools": 5}, "budget": {}}),
    ("fork", {"pid": 99}),
]


def test_bad_orders_are_answered_and_harm_nobody(tmp_path: Path) -> None:
    path = tmp_path / "cabin.db"

    async def main() -> None:
        async with open_kernel(tmp_path, ScriptedModel(calls(("ask", {"question": "?"})))) as k:
            p = await k.spawn("go")
            await until(k, p.pid, State.BLOCKED)
            numbers = [order(path, verb, **body) for verb, body in BAD if isinstance(body, dict)]
            with sqlite3.connect(path) as db:
                for text in ("", "not json", "[" * 100_000, '{"pid": 1e999}', "[]", "5"):
                    query = "INSERT INTO control (verb, body) VALUES ('kill', ?)"
                    cursor = db.execute(query, [text])
                    numbers.append(int(cursor.lastrowid or 0))
                for verb, body in BAD:
                    if not isinstance(body, dict):
                        cursor = db.execute(
                            "INSERT INTO control (verb, body) VALUES (?, ?)",
                            (verb, json.dumps(body)),
                        )
                        numbers.append(int(cursor.lastrowid or 0))
            for number in numbers:
                assert (await obeyed(k, number))["error"]
            last = await obeyed(k, order(path, "stop", pid=p.pid))
            assert "error" not in last
            assert p.state == State.STOPPED
            assert len(k.ps(exited=True)) == 1

    run(main())


def test_orders_that_wait_are_carried_out_at_the_start_or_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "cabin.db"

    async def main() -> None:
        async with open_kernel(tmp_path, ScriptedModel(calls(("ask", {"question": "?"})))) as k:
            p = await k.spawn("go")
            await until(k, p.pid, State.BLOCKED)
        first, second = order(path, "kill", pid=1), order(path, "nice", pid=1, nice=5)
        assert withdraw(path, second)
        async with open_kernel(tmp_path) as k:
            await obeyed(k, first)
            assert k.process(1).state == State.EXITED
            assert k.process(1).process.nice == 0
        assert not withdraw(path, first)

    run(main())


def test_an_order_for_a_store_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="could not be left"):
        order(tmp_path / "nowhere.db", "kill", pid=1)
    (tmp_path / "text.db").write_text("Dear diary" * 100)
    with pytest.raises(StoreError, match="could not be left"):
        order(tmp_path / "text.db", "kill", pid=1)


def test_orders_while_much_is_going_on(tmp_path: Path) -> None:
    path = tmp_path / "cabin.db"

    async def main() -> None:
        async with open_kernel(tmp_path, ScriptedModel("x", latency=0.002)) as k:
            handles = [await k.spawn(f"go {n}", stay=True) for n in range(20)]

            def give() -> list[int]:
                numbers = []
                for n in range(20):
                    numbers.append(order(path, "send", pid=n + 1, text="more"))
                    numbers.append(order(path, "kill" if n % 2 else "nice", pid=n + 1, nice=3))
                return numbers

            for number in await asyncio.to_thread(give):
                await obeyed(k, number)
            for handle in handles:
                gone = handle.pid % 2 == 0
                await until(k, handle.pid, State.EXITED if gone else State.BLOCKED)
            await k.store.commit()
            assert k.journal.verify() > 0

    run(main(), 20)


def test_a_view_sees_what_a_kernel_does(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path) as k:
            view = Store.open(tmp_path / "cabin.db", read_only=True)
            await (await k.spawn("go")).result()
            await k.store.commit()
            assert view.rows("SELECT state FROM process") == [("exited",)]
            view.abandon()

    run(main())
