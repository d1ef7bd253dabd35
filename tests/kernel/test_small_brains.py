"""Help for small brains: few tools shown, the kernel's words left out, and handing over."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from cabinos.kernel.births import SYSTEM
from cabinos.kernel.budget import Budget
from cabinos.kernel.capability import ClientTool, files
from cabinos.kernel.driver import Thought, Tool, ToolCall
from cabinos.kernel.errors import ModelError
from cabinos.kernel.kernel import Kernel
from cabinos.kernel.process import State
from cabinos.lab.replay import replay
from tests.kernel.help import add, asked, fetch, open_kernel, run, until
from tests.kernel.models import Reply, ScriptedModel, calls

UP = calls(("escalate", {"why": "too hard"}))
LARGER = {"cabin": {"escalate": "large"}}


class SmallModel(ScriptedModel):
    """Sees two tools at a time, and was trained to be Cabin's."""

    tools_shown = 2
    assistant = True

    def tool_tokens(self, tool: Tool) -> int:
        return len(tool.description) // 4 + 1


def small(*replies: Reply, **options: Any) -> SmallModel:
    return SmallModel(*replies, name="small", **options)


def large(*replies: Reply, **options: Any) -> ScriptedModel:
    return ScriptedModel(*replies, name="large", **options)


def far(*replies: Reply) -> ScriptedModel:
    model = large(*replies, price=(1.0, 1.0))
    model.local = False
    return model


def make(name: str, description: str) -> Tool:
    return dataclasses.replace(add, name=name, description=description)


TOOLS = [
    add,
    fetch,
    make("weather", "Tells the weather of a city."),
    make("spell", "Spells a word."),
    make("translate", "Translates a word into French."),
    make("plot", "Plots a curve."),
]


def names(model: ScriptedModel) -> list[list[str]]:
    """What was on offer in each of its thoughts."""
    return [[tool.name for tool in request.tools] for request in model.requests]


# ---- few tools -----------------------------------------------------------------------------------


def test_a_small_model_is_shown_what_the_request_is_about(tmp_path: Path) -> None:
    brain = small("Sunny.", "B-o-b.", "Hm.")

    async def work() -> None:
        async with open_kernel(tmp_path, brain, tools=TOOLS) as kernel:
            chat = await kernel.spawn("What is the weather in Rome?", stay=True)
            await until(kernel, chat.pid, State.BLOCKED)
            await chat.send("Spell a word")
            await until(kernel, chat.pid, State.BLOCKED)

    run(work())
    weather, spell = names(brain)
    assert weather == ["weather"]
    assert spell[0] == "spell"
    assert len(spell) == 2


def test_what_was_called_stays_on_offer(tmp_path: Path) -> None:
    brain = small(calls(("add", {"a": 1, "b": 2})), "3", "No.", "No.", "No.")

    async def work() -> None:
        async with open_kernel(tmp_path, brain, tools=TOOLS) as kernel:
            chat = await kernel.spawn("Add two numbers, then weather and spell", stay=True)
            for message in ("no, I meant the weather", "what about the word?", "and frogs?"):
                await until(kernel, chat.pid, State.BLOCKED)
                await chat.send(message)
            await until(kernel, chat.pid, State.BLOCKED)

    run(work())
    shown = names(brain)
    assert all("add" in tools for tools in shown[:3])  # in this turn and in the one after it
    assert "add" not in shown[3]
    assert max(map(len, shown)) <= 2


def test_a_clients_tools_take_part(tmp_path: Path) -> None:
    brain = small("Done.")
    schema = json.dumps({"type": "object", "properties": {}})
    jukebox = ClientTool("jukebox", "Plays a song.", schema)

    async def work() -> None:
        async with open_kernel(tmp_path, brain, tools=TOOLS) as kernel:
            handle = await kernel.spawn("play me a song", client=[jukebox])
            await handle.result()

    run(work())
    assert names(brain) == [["jukebox"]]


def test_a_fork_is_shown_the_same(tmp_path: Path) -> None:
    brain = small("Sunny.", "Sunny.", "Sunny.")

    async def work() -> None:
        async with open_kernel(tmp_path, brain, tools=TOOLS) as kernel:
            chat = await kernel.spawn("the weather, and spell it", stay=True)
            await until(kernel, chat.pid, State.BLOCKED)
            (child,) = await chat.fork()
            await until(kernel, child.pid, State.BLOCKED)
            for handle in (chat, child):
                await handle.send("translate it")
                await until(kernel, handle.pid, State.BLOCKED)

    run(work())
    shown = names(brain)
    assert shown[-1] == shown[-2]


def test_only_the_tools_it_is_shown_take_room(tmp_path: Path) -> None:
    many = [make(f"tool_{n}", "Does something that takes a hundred words. " * 20) for n in range(9)]
    brain = small("Done.", window=1024)

    async def work() -> Any:
        async with open_kernel(tmp_path, brain, tools=many) as kernel:
            handle = await kernel.spawn("do something")
            return await handle.result()

    assert run(work()) == "Done."


def test_a_trained_assistant_is_not_told_what_it_is(tmp_path: Path) -> None:
    brain, other = small("Hi."), large("Hi.")

    async def work() -> None:
        async with open_kernel(tmp_path, brain, other) as kernel:
            await (await kernel.spawn("Hello")).result()
            await (await kernel.spawn("Hello", system="Be brief.")).result()
            await (await kernel.spawn("Hello", model="large")).result()

    run(work())
    first, second = brain.requests
    assert [message.role for message in first.messages] == ["user"]
    assert second.messages[0].text == "Be brief."
    assert other.requests[0].messages[0].text == SYSTEM


# ---- handing over --------------------------------------------------------------------------------


def test_it_hands_over_to_the_larger_model(tmp_path: Path) -> None:
    brain, larger = small(UP), large(calls(("add", {"a": 1, "b": 2})), "It is 3.")

    async def work() -> tuple[str, str, list[Any]]:
        async with open_kernel(tmp_path, brain, larger, tools=TOOLS, config=LARGER) as kernel:
            handle = await kernel.spawn("Hm?")
            with kernel.events.subscribe(handle.pid) as queue:
                answer = await handle.result()
                events = [queue.get_nowait() for _ in range(queue.qsize())]
            rows = [entry for entry in kernel.entries(handle.pid) if entry.kind == "model"]
            assert [row.body["model"] for row in rows] == ["large"]
            assert replay(kernel.store, handle.pid).difference == ""
            return answer, handle.process.model, events

    answer, model, events = run(work())
    assert (answer, model) == ("It is 3.", "large")
    told = [e.data["text"] for e in events if e.kind == "result" and e.data["name"] == "escalate"]
    assert told == ["handed over to large, which goes on from here."]
    assert names(brain) == [["escalate"]]
    first = larger.requests[0]
    assert first.messages[0].text == SYSTEM
    assert [message.role for message in first.messages[1:]] == ["user", "assistant", "tool"]
    assert first.messages[-1].text == told[0]
    assert "escalate" not in names(larger)[0]
    assert {"add", "weather", "exec"} <= set(names(larger)[0])


def test_escalate_comes_on_top_of_the_tools_shown(tmp_path: Path) -> None:
    brain = small("Done.")

    async def work() -> None:
        async with open_kernel(tmp_path, brain, large(), tools=TOOLS, config=LARGER) as kernel:
            await (await kernel.spawn("spell and translate a word, and the weather")).result()

    run(work())
    assert len(names(brain)[0]) == 3
    assert names(brain)[0][-1] == "escalate"


def test_without_a_larger_model_it_is_not_on_offer(tmp_path: Path) -> None:
    brain = ScriptedModel(UP, "I cannot.")

    async def work() -> tuple[str, list[str]]:
        async with open_kernel(tmp_path, brain) as kernel:
            handle = await kernel.spawn("Hard!")
            answer = await handle.result()
            pages = [kernel.pages.get(p[0]) for p in handle.process.pages]
            return answer, [page.text for page in pages if page.role == "tool"]

    answer, results = run(work())
    assert answer == "I cannot."
    assert "there is no larger model" in results[0]
    assert "escalate" not in names(brain)[0]


def test_a_client_that_makes_its_calls_itself_is_not_offered_it(tmp_path: Path) -> None:
    brain = small("Done.")

    async def work() -> None:
        async with open_kernel(tmp_path, brain, large(), config=LARGER) as kernel:
            await (await kernel.spawn("Hello", hand_back=True)).result()

    run(work())
    assert "escalate" not in names(brain)[0]


def test_a_larger_model_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'large'.*There are: scripted"):
        open_kernel(tmp_path, config=LARGER)


def test_a_clean_process_may_hand_over_to_a_model_far_away(tmp_path: Path) -> None:
    async def work() -> Any:
        async with open_kernel(tmp_path, small(UP), far("Yes."), config=LARGER) as kernel:
            return await (await kernel.spawn("Is it?")).result()

    assert run(work()) == "Yes."


@pytest.mark.parametrize("private", ["files", "tool", "context"])
def test_a_person_decides_whether_private_things_leave(tmp_path: Path, private: str) -> None:
    use = [calls(("add", {"a": 1, "b": 2}))] if private == "tool" else []
    brain, larger = small(*use, UP, "Then not."), far("Yes.")
    given: dict[str, Any] = {}
    if private == "files":
        given["files"] = [files(tmp_path)]
    if private == "context":
        given["context"] = "words from elsewhere"

    async def work() -> Any:
        async with open_kernel(tmp_path, brain, larger, tools=TOOLS, config=LARGER) as kernel:
            no = await kernel.spawn("Is it?", **given)
            number = await asked(kernel, no.pid)
            question = next(a.question for a in kernel.open_asks() if a.id == number)
            assert "large is not on this machine" in question
            assert larger.requests == []
            await kernel.answer(number, "denied")
            assert await no.result() == "Then not."
            assert no.process.model == "small"

    run(work())

    async def yes() -> Any:
        brain = small(*use, UP)
        async with Kernel.open(
            tmp_path / "yes.db", drivers=[], models=[brain, far("Yes.")], tools=TOOLS, config=LARGER
        ) as kernel:
            handle = await kernel.spawn("Is it?", **given)
            await kernel.answer(await asked(kernel, handle.pid), "approved")
            return await handle.result()

    assert run(yes()) == "Yes."


def test_a_local_model_is_handed_everything(tmp_path: Path) -> None:
    async def work() -> Any:
        async with open_kernel(tmp_path, small(UP), large("Yes."), config=LARGER) as kernel:
            handle = await kernel.spawn("Is it?", files=[files(tmp_path)], context="elsewhere")
            return await handle.result()

    assert run(work()) == "Yes."


def test_the_budget_holds_for_the_larger_model(tmp_path: Path) -> None:
    async def work() -> tuple[str, int]:
        async with open_kernel(tmp_path, small(UP), far("Yes."), config=LARGER) as kernel:
            handle = await kernel.spawn("Is it?", budget=Budget(usd=0.000001))
            await until(kernel, handle.pid, State.STOPPED)
            return handle.process.waiting or "", handle.process.account.micros

    why, spent = run(work())
    assert "the next thought may cost" in why
    assert spent == 0


def test_the_instructions_follow_the_model(tmp_path: Path) -> None:
    brain, larger = small("Hi.", "Back."), large("Hello.")

    async def work() -> None:
        async with open_kernel(tmp_path, brain, larger) as kernel:
            chat = await kernel.spawn("Hello", stay=True)
            own = await kernel.spawn("Hello", system="Be a pirate.", stay=True)
            await until(kernel, chat.pid, State.BLOCKED)
            await until(kernel, own.pid, State.BLOCKED)
            for model in ("large", "small"):
                for handle in (chat, own):
                    await kernel.set_model(handle.pid, model)
                    await handle.send("And now?")
                    await until(kernel, handle.pid, State.BLOCKED)

    run(work())
    mine, theirs = larger.requests
    assert mine.messages[0].text == SYSTEM
    assert theirs.messages[0].text == "Be a pirate."
    assert brain.requests[-2].messages[0].role == "user"
    assert brain.requests[-1].messages[0].text == "Be a pirate."


def test_a_built_in_model_is_the_default_only_where_there_is_no_other(tmp_path: Path) -> None:
    own, other = ScriptedModel(name="own"), ScriptedModel(name="other")
    own.built_in = True  # type: ignore[attr-defined]
    kernel = open_kernel(tmp_path, own, other)
    assert list(kernel.models) == ["other", "own"]
    kernel.store.abandon()


def test_calls_beside_it_are_made(tmp_path: Path) -> None:
    both = Thought("", (ToolCall("1", "escalate", {}), ToolCall("2", "add", {"a": 1, "b": 2})))
    larger = large("Yes.")

    async def work() -> Any:
        async with open_kernel(tmp_path, small(both), larger, tools=[add], config=LARGER) as kernel:
            return await (await kernel.spawn("Is it?")).result()

    assert run(work()) == "Yes."
    assert [m.text for m in larger.requests[0].messages if m.role == "tool"][1] == "3"
