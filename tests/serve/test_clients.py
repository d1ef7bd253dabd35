"""Conversations that are held from outside: the client's tools, its window, its branches."""

import asyncio
from pathlib import Path

import pytest

from cabinos.kernel.capability import ClientTool
from cabinos.kernel.driver import Message, tool
from cabinos.kernel.errors import ContextOverflow, KernelError
from cabinos.kernel.kernel import ProcessHandle, Spawn
from cabinos.kernel.process import State
from cabinos.serve.clients import change, deliver, fork_at
from tests.kernel.help import open_kernel, run
from tests.kernel.models import ScriptedModel, calls

WEATHER = ClientTool("weather", "The weather.", '{"type": "object"}')


async def waits(handle: ProcessHandle, why: str) -> None:
    async with asyncio.timeout(10):
        while handle.process.waiting != why:
            await asyncio.sleep(0.002)


def test_a_clients_call_waits_through_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        model = ScriptedModel(calls(("weather", {}), ("weather", {})), "sunny")
        async with open_kernel(tmp_path, model) as k:
            handle = await k.spawn("weather?", tools=[], client=[WEATHER], stay=True)
            await waits(handle, "its client, its client")
            first, second = handle.process.pending["calls"]
            deliver(k, handle.process, second, "rain")
            for call in (second, "c9-9"):
                with pytest.raises(KernelError, match="does not wait"):
                    deliver(k, handle.process, call, "again")
            await k.store.commit()
        async with open_kernel(tmp_path, model) as k:
            handle = k.process(handle.pid)
            deliver(k, handle.process, first, "half \ud83d sun")
            await waits(handle, "a message")
            shown = model.requests[-1].messages
            assert [m.text for m in shown[-2:]] == ["half ? sun", "rain"]
            assert [m.name for m in shown[-2:]] == ["weather", "weather"]
            assert handle.process.label == "untrusted"

    run(main())


def test_a_clients_tool_hides_another_of_its_name_and_is_not_inherited(tmp_path: Path) -> None:
    @tool(effect="pure")
    async def weather() -> str:
        """The weather of this house."""
        raise AssertionError

    async def main() -> None:
        model = ScriptedModel(calls(("weather", {}), ("spawn", {"request": "be"})), "child", "done")
        async with open_kernel(tmp_path, model, tools=[weather]) as k:
            handle = await k.spawn("weather?", client=[WEATHER])
            await waits(handle, "its client")
            deliver(k, handle.process, "c1-0", "sunny")
            assert await handle.result()
            async with asyncio.timeout(10):
                await k.process(2).ended()
        offered = [[t.description for t in r.tools if t.name == "weather"] for r in model.requests]
        assert sorted(offered) == [["The weather of this house."], *[["The weather."]] * 2]

    run(main())


def test_hand_back_ends_with_the_calls(tmp_path: Path) -> None:
    async def main() -> None:
        said = [
            Message("user", "hello"),
            Message("assistant", "", calls(("f", {})).calls),
            Message("tool", "seen", call_id="x0", name="f"),
        ]
        model = ScriptedModel(calls(("f", {"x": "half \ud83d"}), text="\ud83d"))
        async with open_kernel(tmp_path, model) as k:
            handle = await k.spawn(messages=said, system="", tools=[], hand_back=True)
            assert await handle.result() == "?"
            assert handle.process.label == "untrusted"
            last = k.pages.get(list(handle.process.pages)[-1][0])
            assert '"f"' in (last.meta or "")
        assert model.requests[0].messages == said

    run(main())


def test_a_whole_conversation_is_never_shortened(tmp_path: Path) -> None:
    async def main() -> None:
        model = ScriptedModel("yes", window=1000)
        long = "word " * 400
        async with open_kernel(tmp_path, model) as k:
            handle = await k.spawn(
                messages=[Message("user", long)], system="", tools=[], whole=True
            )
            assert await handle.result() == "yes"
            assert model.requests[0].messages[0].text == long
            with pytest.raises(ContextOverflow, match="room for 750"):
                await k.spawn(messages=[Message("user", long)] * 2, system="", whole=True, tools=[])
            handle = await k.spawn("start", system="", tools=[], whole=True, stay=True)
            await waits(handle, "a message")
            await handle.send(long * 2)
            async with asyncio.timeout(10):
                while handle.state != State.STOPPED:
                    await asyncio.sleep(0.002)
            assert "room for 750" in (handle.process.waiting or "")

    run(main())


def test_a_fork_at_a_page_knows_nothing_of_what_came_after(tmp_path: Path) -> None:
    async def main() -> None:
        model = ScriptedModel("one", "two", "three")
        async with open_kernel(tmp_path, model) as k:
            handle = await k.spawn("a", system="be kind", stay=True)
            await waits(handle, "a message")
            length = len(handle.process.pages)
            await handle.send("b")
            async with asyncio.timeout(10):
                while len(handle.process.pages) < length + 2:
                    await asyncio.sleep(0.002)
            await waits(handle, "a message")
            child = fork_at(k, handle.process, length)
            change(k, child, Spawn(system="be brief", temperature=0.1))
            k.post(child.pid, "c")
            await k.store.commit()
            k.start(child)
            await waits(k.process(child.pid), "a message")
        shown = model.requests[-1]
        assert [m.text for m in shown.messages] == ["be brief", "a", "one", "c"]
        assert shown.temperature == 0.1
        assert child.parent == handle.pid

    run(main())
