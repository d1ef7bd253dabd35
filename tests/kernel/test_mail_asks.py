"""Mail and questions: delivered once, answered once, an approval good for one call."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cabinos.kernel.errors import KernelError
from cabinos.kernel.kernel import Kernel
from cabinos.kernel.process import State
from tests.kernel.help import World, add, asked, fetch, open_kernel, run, until
from tests.kernel.models import ScriptedModel, calls

EFFECTS = ["fire", "post", "look_up"]


def told(model: ScriptedModel) -> list[str]:
    return [m.text for m in model.requests[-1].messages if m.role == "tool"]


@pytest.mark.parametrize("name", EFFECTS)
def test_an_approval_is_bound_and_spent_once(tmp_path: Path, name: str) -> None:
    async def main() -> None:
        world = World()
        model = ScriptedModel(calls((name, {"what": "x"})), calls((name, {"what": "x"})), "done")
        async with open_kernel(tmp_path, model, tools=world.tools(ask=True)) as k:
            p = await k.spawn("go")
            first = await asked(k, p.pid)
            [ask] = k.open_asks(p.pid)
            assert ask.kind == "approval"
            assert ask.detail["tool"] == name
            assert ask.detail["arguments"] == {"what": "x"}
            with pytest.raises(KernelError, match="approved, denied"):
                await k.answer(first, "yes, and all others too")
            assert not world.began
            await k.answer(first, "approved")
            with pytest.raises(KernelError, match="answered"):
                await k.answer(first, "approved")
            second = await asked(k, p.pid)
            assert second != first
            assert world.done == {"x": 1}
            await k.answer(second, "denied")
            assert await p.result() == "done"
            assert world.done == {"x": 1}
            assert "refused" in told(model)[-1]

    run(main())


@pytest.mark.parametrize("name", EFFECTS)
@pytest.mark.parametrize("answered", [False, True])
def test_a_question_outlives_the_kernel_and_is_asked_once(
    tmp_path: Path, name: str, answered: bool
) -> None:
    async def main() -> None:
        world = World()
        model = ScriptedModel(calls((name, {"what": "x"})), "done")
        async with open_kernel(tmp_path, model, tools=world.tools(ask=True)) as k:
            p = await k.spawn("go")
            number = await asked(k, p.pid)
            if answered:
                await p.stop()
                await k.answer(number, "approved")
        for _ in range(2):
            async with open_kernel(tmp_path, model, tools=world.tools(ask=True)) as k:
                assert [ask.id for ask in k.open_asks()] == ([] if answered else [number])
        async with open_kernel(tmp_path, model, tools=world.tools(ask=True)) as k:
            if answered:
                await k.cont(1)
            else:
                await k.answer(number, "approved")
            assert await k.process(1).result() == "done"
            assert world.done == {"x": 1}
            assert k.store.rows("SELECT count(*) FROM ask") == [(1,)]

    run(main())


def test_a_keyed_call_that_was_approved_is_not_asked_again_after_a_crash(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(open_gate=False)
        model = ScriptedModel(calls(("post", {"what": "x"})), "done")
        async with open_kernel(tmp_path, model, tools=world.tools(ask=True)) as k:
            p = await k.spawn("go")
            await k.answer(await asked(k, p.pid), "approved")
            await world.started.wait()
            k._tasks[p.pid].cancel()
        world.gate.set()
        async with open_kernel(tmp_path, model, tools=world.tools(ask=True)) as k:
            assert await k.process(1).result() == "done"
            assert k.store.rows("SELECT count(*) FROM ask") == [(1,)]
            assert world.done == {"x": 1}

    run(main())


def test_answers_in_any_order_go_to_their_own_calls(tmp_path: Path) -> None:
    async def main() -> None:
        world = World()
        model = ScriptedModel(
            calls(*(("fire", {"what": what}) for what in "abc"), ("ask", {"question": "?"})), "done"
        )
        async with open_kernel(tmp_path, model, tools=world.tools(ask=True)) as k:
            p = await k.spawn("go")
            while len(k.open_asks(p.pid)) < 4:
                await asyncio.sleep(0)
            by = {a.detail.get("arguments", {}).get("what", "?"): a.id for a in k.open_asks()}
            await k.answer(by["?"], "words")
            await k.answer(by["c"], "approved")
            await k.answer(by["b"], "denied")
            assert p.state in (State.BLOCKED, State.READY)
            await k.answer(by["a"], "approved")
            assert await p.result() == "done"
            assert told(model)[0] == "did a"
            assert "refused" in told(model)[1]
            assert told(model)[2:] == ["did c", "words"]
            assert world.done == {"a": 1, "c": 1}

    run(main())


def test_questions_of_who_is_gone_are_withdrawn(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path, ScriptedModel(calls(("ask", {"question": "?"})))) as k:
            p = await k.spawn("go")
            number = await asked(k, p.pid)
            await p.kill()
            assert k.open_asks() == []
            with pytest.raises(KernelError, match=f"question {number}"):
                await k.answer(number, "too late")
            with pytest.raises(KernelError, match="question 99"):
                await k.answer(99, "x")
            assert k.store.rows("SELECT answer FROM ask") == [("withdrawn",)]

    run(main())


def test_an_old_question_cannot_answer_a_new_call(tmp_path: Path) -> None:
    """A program's calls all have the id "0": an old question is not the next's."""

    async def main() -> None:
        world = World()
        source = "ask('first?')\nfire('x')"
        async with open_kernel(tmp_path, tools=world.tools(ask=True)) as k:
            p = await k.spawn(code=source)
            first = await asked(k, p.pid)
            stale = k.asks.add(p.pid, "0", "approval", b"other", "Allow something else?", {})
            await k.answer(first, "go on")
            while not any(a.id > stale.id for a in k.open_asks()):
                await asyncio.sleep(0)
            await k.answer(stale.id, "approved")
            await until(k, p.pid, State.BLOCKED, State.EXITED)
            assert not world.began
            [real] = k.open_asks()
            await k.answer(real.id, "approved")
            assert await p.result() == "did x"

    run(main())


def test_a_question_that_is_moot_is_closed(tmp_path: Path) -> None:
    """Its call was settled in another way: here the tool is gone after a restart."""

    async def main() -> None:
        world = World()
        model = ScriptedModel(calls(("fire", {"what": "x"})), calls(("ask", {"question": "?"})))
        async with open_kernel(tmp_path, model, tools=world.tools(ask=True)) as k:
            p = await k.spawn("go")
            await asked(k, p.pid)
        async with open_kernel(tmp_path, model) as k:
            await k.process(1).send("wake")
            while [ask.kind for ask in k.open_asks()] != ["question"]:
                await asyncio.sleep(0)

    run(main(), 5)


@pytest.mark.parametrize("text", ["half \ud800", "nul \0", "x" * 5000, "approved"])
def test_any_words_answer_a_question_and_any_words_ask_one(tmp_path: Path, text: str) -> None:
    async def main() -> None:
        model = ScriptedModel(calls(("ask", {"question": text})), "done")
        async with open_kernel(tmp_path, model) as k:
            p = await k.spawn(text)
            await k.answer(await asked(k, p.pid), text)
            await p.send(text)
            assert await p.result() == "done"
            await k.store.commit()
        async with open_kernel(tmp_path, model) as k:
            assert [entry.kind for entry in k.entries(1)].count("answer") == 1

    run(main())


def test_events_tell_and_take_answers(tmp_path: Path) -> None:
    async def main() -> None:
        world = World()
        model = ScriptedModel(calls(("fire", {"what": "x"}), ("ask", {"question": "?"})), "done")
        async with open_kernel(tmp_path, model, tools=world.tools(ask=True)) as k:
            p = await k.spawn("go")
            kinds = []
            async for event in p.events():
                kinds.append(event.kind)
                if event.kind == "ask":
                    await (event.approve() if event.about == "approval" else event.reply("yes"))
            assert kinds[-1] == "exit"
            assert kinds.count("ask") == 2
            assert told(model) == ["did x", "yes"]
            assert [event.kind async for event in p.events()] == ["exit"]

    run(main())


# ---- mail ----------------------------------------------------------------------------------------


def test_mail_is_in_order_and_survives(tmp_path: Path) -> None:
    async def main() -> None:
        source = "ask('start?')\n[recv() for n in range(5)]"
        async with open_kernel(tmp_path) as k:
            p = await k.spawn(code=source)
            await asked(k, p.pid)
            for number in range(3):
                await p.send(f"letter {number}")
        async with open_kernel(tmp_path) as k:
            p = k.process(1)
            await p.send("letter 3")
            await k.answer(k.open_asks()[0].id, "now")
            await until(k, 1, State.BLOCKED)
            await p.send("letter 3")  # the same words again are another letter
            assert await p.result() == ["letter 0", "letter 1", "letter 2", "letter 3", "letter 3"]
            assert k.store.rows("SELECT count(*) FROM message") == [(0,)]

    run(main())


def test_who_may_write_to_whom(tmp_path: Path) -> None:
    async def main() -> None:
        child = (
            "send('to my parent')\ntry:\n    send('to a stranger', 1)\n    said = 'sent'\n"
            "except Exception as e:\n    said = str(e)\nsaid"
        )
        async with open_kernel(tmp_path) as k:
            stranger = await k.spawn(code="recv()")
            assert stranger.pid == 1
            p = await k.spawn(code=f"c = spawn(code={child!r})['pid']\n[recv(), wait(c)]")
            said = await p.result()
            assert said[0] == "to my parent"
            assert "not a child" in said[1]

    run(main())


def test_a_letter_carries_its_senders_label(tmp_path: Path) -> None:
    async def main() -> None:
        child = "send(fetch(20))"
        async with open_kernel(tmp_path, tools=[fetch, add]) as k:
            p = await k.spawn(code=f"spawn(code={child!r})\nrecv()")
            await p.result()
            assert p.process.label == "untrusted"

    run(main())


def test_mail_wakes_who_waits_for_it_at_every_moment(tmp_path: Path) -> None:
    """Sent at each of the first moments of a process's life, it is always found."""

    async def one(k: Kernel, moments: int) -> Any:
        p = await k.spawn(code="recv()")
        for _ in range(moments):
            await asyncio.sleep(0)
        await p.send(f"after {moments}")
        return await p.result()

    async def main() -> None:
        async with open_kernel(tmp_path) as k:
            for moments in range(40):
                assert await one(k, moments) == f"after {moments}"

    run(main())


def test_a_childs_end_wakes_its_parent_at_every_moment(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path) as k:
            for spins in range(0, 4000, 200):
                source = f"c = spawn(code='1')['pid']\nfor n in range({spins}):\n    pass\nwait(c)"
                assert await k.exec(source) == 1

    run(main())
