"""The agent loop: structured answers, calls in parallel, mail in between, whatever a model says."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from cabinos.kernel.driver import ThinkRequest, Thought, ToolCall
from cabinos.kernel.errors import InvalidArguments, KernelError
from cabinos.kernel.process import State
from tests.kernel.help import World, add, asked, fetch, open_kernel, run, until
from tests.kernel.models import ScriptedModel, calls


class City(BaseModel):
    name: str
    people: int


GOOD = '{"name": "Bern", "people": 134000}'


def test_a_structured_answer_is_its_value(tmp_path: Path) -> None:
    async def main() -> None:
        model = ScriptedModel(GOOD)
        async with open_kernel(tmp_path, model) as k:
            p = await k.spawn("a city", schema=City)
            assert await p.result() == {"name": "Bern", "people": 134000}
            assert await p.result(City) == City(name="Bern", people=134000)
            assert model.requests[0].schema == City.model_json_schema()

    run(main())


@pytest.mark.parametrize(
    "bad",
    [
        "Bern",
        "",
        '{"name": "Bern"}',
        '{"name": 5, "people": 1}',
        "[" * 100_000,
        '{"a":' * 50_000,
        "NaN",
        '{"name": "Bern", "people": 1e999}',
        "1" * 5000,
        "half \ud800",
        "x" * 500_000,
        json.dumps({"name": "x" * 500_000}),
    ],
    ids=lambda bad: bad[:20],
)
def test_an_answer_that_does_not_fit_goes_back_with_the_reason(tmp_path: Path, bad: str) -> None:
    async def main() -> None:
        model = ScriptedModel(bad, bad, GOOD)
        async with open_kernel(tmp_path, model) as k:
            p = await k.spawn("a city", schema=City)
            assert (await p.result(City)).name == "Bern"
            last = model.requests[-1].messages[-1]
            assert last.role == "user"
            assert last.text.startswith("That does not fit: ")
            assert len(last.text) < 5000
        model = ScriptedModel(bad)
        async with open_kernel(tmp_path, model) as k:
            p = await k.spawn("a city", schema=City)
            with pytest.raises(KernelError, match="no answer fits the schema after 3 retries"):
                await p.result()
            assert len(model.requests) == 4

    run(main())


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"type": 5},
        {"pattern": "("},
        {"properties": {1, 2}},
        {"minimum": "x"},
    ],
    ids=str,
)
def test_a_schema_that_is_none_is_refused_at_once(tmp_path: Path, schema: dict[str, Any]) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path, ScriptedModel('"x"')) as k:
            with pytest.raises(InvalidArguments, match="schema"):
                await k.spawn("a city", schema=schema)
            assert await (await k.spawn("hello")).result() == '"x"'

    run(main())


def test_a_schema_that_refers_into_nowhere_is_said_to(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path, ScriptedModel('"x"')) as k:
            p = await k.spawn("a city", schema={"$ref": "#/nowhere"})
            with pytest.raises(KernelError, match="the schema itself is not valid"):
                await p.result()

    run(main())


def test_mail_during_a_thought_and_at_the_end_is_read(tmp_path: Path) -> None:
    async def main() -> None:
        gate, started = asyncio.Event(), asyncio.Event()

        class Slow(ScriptedModel):
            async def think(self, request: ThinkRequest) -> Thought:
                started.set()
                self.requests.append(request)
                await gate.wait()
                return Thought(f"answer {len(self.requests)}")

        model = Slow()
        async with open_kernel(tmp_path, model) as k:
            p = await k.spawn("first")
            await started.wait()
            await p.send("second")
            await p.send("third")
            gate.set()
            assert await p.result() == "answer 2"
            assert [m.role for m in model.requests[1].messages] == [
                "system", "user", "assistant", "user",
            ]  # fmt: skip
            assert model.requests[1].messages[-1].text == "second\n\nthird"

    run(main())


def test_a_conversation_stays_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path, ScriptedModel("one", "two")) as k:
            p = await k.spawn("hello", stay=True, max_steps=1)
            for _ in range(3):
                await until(k, p.pid, State.BLOCKED)
                assert p.process.waiting == "a message"
                await p.send("more")
            await until(k, p.pid, State.BLOCKED)
        model = ScriptedModel("three")
        async with open_kernel(tmp_path, model) as k:
            p = k.process(1)
            assert p.state == State.BLOCKED
            await p.send("and more")
            await until(k, 1, State.BLOCKED)
            while not model.requests:
                await asyncio.sleep(0)
            texts = [m.text for m in model.requests[0].messages if m.role == "assistant"]
            assert texts == ["one", "two", "two", "two"]

    run(main())


def test_parallel_calls_settle_by_id_whatever_becomes_of_each(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(open_gate=False)
        model = ScriptedModel(
            calls(
                ("ask", {"question": "colour?"}),
                ("add", {"a": "x"}),
                ("look_up", {"what": "slow"}),
                ("nonsense", {}),
                ("add", {"a": 1, "b": 2}),
                ("add", None),
            ),
            "done",
        )
        async with open_kernel(tmp_path, model, tools=[add, *world.tools()]) as k:
            p = await k.spawn("go")
            await world.started.wait()
            await k.answer(await asked(k, p.pid), "blue")
            world.gate.set()
            assert await p.result() == "done"
            results = [m for m in model.requests[-1].messages if m.role == "tool"]
            assert [m.call_id for m in results] == [f"c1-{n}" for n in range(6)]
            texts = [m.text for m in results]
            assert texts[0] == "blue"
            assert "valid integer" in texts[1]
            assert texts[2] == "did slow"
            assert "no tool 'nonsense'" in texts[3]
            assert texts[4] == "3"
            assert "not a JSON object" in texts[5]
            assert world.began == {"slow": 1}

    run(main())


def test_ids_of_a_models_calls_do_not_matter(tmp_path: Path) -> None:
    async def main() -> None:
        same = tuple(ToolCall("same", "add", {"a": n, "b": 1}) for n in range(3))
        model = ScriptedModel(Thought("", same, "calls"), Thought("", same, "calls"), "done")
        async with open_kernel(tmp_path, model, tools=[add]) as k:
            p = await k.spawn("go")
            assert await p.result() == "done"
            results = [m for m in model.requests[-1].messages if m.role == "tool"]
            assert [m.text for m in results] == ["1", "2", "3"] * 2
            assert len({m.call_id for m in results}) == 6

    run(main())


def test_calls_that_were_cut_off_by_a_kill_are_answered_in_a_fork(tmp_path: Path) -> None:
    """Many servers refuse a conversation in which a call has no result."""

    async def main() -> None:
        world = World(open_gate=False)
        model = ScriptedModel(calls(("look_up", {"what": "x"}), ("add", {"a": 1, "b": 2})), "done")
        async with open_kernel(tmp_path, model, tools=[add, *world.tools()]) as k:
            p = await k.spawn("go")
            await world.started.wait()
            await p.kill()
            [child] = await p.fork()
            await child.send("what happened?")
            assert await child.result() == "done"
            open_calls: list[str] = []
            for message in model.requests[-1].messages:
                if message.role == "tool":
                    open_calls.remove(message.call_id)
                else:
                    assert not open_calls
                    open_calls = [call.id for call in message.calls]

    run(main())


def test_what_was_read_taints_and_children_inherit_it(tmp_path: Path) -> None:
    async def main() -> None:
        model = ScriptedModel(calls(("fetch", {})), calls(("spawn", {"request": "x"})), "done")
        async with open_kernel(tmp_path, model, tools=[fetch]) as k:
            p = await k.spawn("go")
            await p.result()
            assert p.process.label == "untrusted"
            child = k.table.get(2)
            assert child.label == "untrusted"
            [[label]] = k.store.rows("SELECT label FROM page WHERE role = 'user' AND text = 'x'")
            assert label == "untrusted"

    run(main())


def test_tools_that_do_not_exist_are_refused_at_spawn(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path, tools=[add]) as k:
            with pytest.raises(InvalidArguments, match="no tool 'nonsense'"):
                await k.spawn("go", tools=["add", "nonsense"])
            assert await (await k.spawn("go", tools=["add", "exec", add])).result() == "done"

    run(main())


def test_an_answer_that_was_cut_off_says_so(tmp_path: Path) -> None:
    cut = Thought('"half', finish="length")

    async def main() -> None:
        model = ScriptedModel(cut, cut, '"all"', cut, "whole")
        async with open_kernel(tmp_path, model) as k:
            p = await k.spawn("hello")
            events = [event async for event in p.events()]
            assert [e.finish for e in events if e.kind == "thought"] == ["length"]
            assert "was cut off" in events[-1].note
            assert "was cut off" in (p.process.status or {})["note"]
            await k.store.commit()
            assert any("was cut off" in e.body.get("note", "") for e in k.entries(p.pid))
            p = await k.spawn("hello", schema={"type": "string"})
            assert await p.result() == "all"  # the half one did not fit, and counts no more
            assert "note" not in (p.process.status or {})
            p = await k.spawn("hello", stay=True)
            await until(k, p.pid, State.BLOCKED)
            with k.events.subscribe(p.pid) as queue:
                await p.send("again")
                while (await queue.get()).data.get("why") != "a message":
                    pass
            assert "note" not in p.process.image_state

    run(main())
