"""Models that misbehave: nothing is lost, nobody waits for ever, no budget is fooled."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cabinos.kernel import think as think_module
from cabinos.kernel.budget import Budget
from cabinos.kernel.driver import ThinkRequest, Thought, ToolCall
from cabinos.kernel.errors import ContextOverflow, KernelError, ModelError
from cabinos.kernel.kernel import Kernel
from cabinos.kernel.process import State
from tests.kernel.help import add, open_kernel, run, until
from tests.kernel.models import ScriptedModel, calls


class Raw(ScriptedModel):
    """Returns or raises the first thing as it is, the first `times`; then says "done"."""

    def __init__(self, first: Any, times: int = 1, **options: Any) -> None:
        super().__init__(**options)
        self.first, self.left = first, times

    async def think(self, request: ThinkRequest) -> Thought:
        self.left -= 1
        if self.left < 0:
            return await super().think(request)
        self.requests.append(request)
        if isinstance(self.first, BaseException):
            raise self.first
        return self.first  # type: ignore[no-any-return] # whatever it is


def settled(kernel: Kernel) -> None:
    for queue in kernel.queues.values():
        assert queue.running == queue.waiting == 0
    for pid, account in kernel.store.rows("SELECT pid, account FROM process"):
        assert "reserved" not in account, pid
        assert kernel.table.get(pid).account.tokens >= 0


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(think_module, "BACKOFF", 0.0)


@pytest.mark.parametrize(
    "first",
    [
        ModelError("out of order"),
        RuntimeError("broken"),
        ValueError("broken"),
        KeyError("broken"),
        TypeError("broken"),
        TimeoutError("broken"),
        OSError("broken"),
        asyncio.CancelledError(),
        AssertionError(),
        None,
        "a text",
        {"text": "x"},
        Thought(None),  # type: ignore[arg-type]
        Thought(5),  # type: ignore[arg-type]
        Thought("x", calls=None),  # type: ignore[arg-type]
        Thought("x", calls=("nonsense",)),  # type: ignore[arg-type]
        Thought("x", calls=(ToolCall("x", None, {}),)),  # type: ignore[arg-type]
        Thought("x", output_tokens="many"),  # type: ignore[arg-type]
    ],
    ids=repr,
)
@pytest.mark.parametrize("budget", [None, Budget(wall=600, tokens=100_000)])
def test_a_model_that_breaks_stops_its_process_and_cont_goes_on(
    tmp_path: Path, first: Any, budget: Budget | None
) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path, Raw(first)) as k:
            p = await k.spawn("hello", budget=budget)
            await until(k, p.pid, State.STOPPED, State.EXITED)
            assert p.state == State.STOPPED, p.process.status
            assert "Cabin" not in (p.process.waiting or "")
            assert p.process.waiting
            await k.store.commit()
            settled(k)
            await p.cont()
            assert await p.result() == "done"
            settled(k)

    run(main(), 5)


@pytest.mark.parametrize(
    ("input_tokens", "output_tokens"),
    [(-1000, -1000), (1 << 80, 1), (1, 1 << 80), (10**12, 10**12), (-1, 5)],
)
def test_nonsense_counts_give_no_credit_and_stop_no_store(
    tmp_path: Path, input_tokens: int, output_tokens: int
) -> None:
    async def main() -> None:
        model = Raw(
            Thought(
                "fine", input_tokens=input_tokens, output_tokens=output_tokens, cached_tokens=-7
            )
        )
        async with open_kernel(tmp_path, model, ScriptedModel(name="other")) as k:
            p = await k.spawn("hello", budget=Budget(tokens=10_000))
            await until(k, p.pid, State.STOPPED, State.EXITED)
            assert p.process.account.tokens >= 0
            assert await (await k.spawn("hello", model="other")).result() == "done"
            await k.store.commit()
            settled(k)
            served = k.queues["scripted"].served.values()
            assert all(value >= 0 for value in served)

    run(main())


@pytest.mark.parametrize("text", ["", "x" * 1_000_000, "half \ud800", "nul \0", "\n" * 1000])
def test_any_text_is_an_answer(tmp_path: Path, text: str) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path, ScriptedModel(text)) as k:
            p = await k.spawn("hello")
            expected = text.encode("utf-8", "replace").decode()
            assert await p.result() == expected
            [child] = await p.fork()
            await child.send("again?")
            assert await child.result() == expected

    run(main())


def test_hidden_thinking_does_not_hide_the_answer(tmp_path: Path) -> None:
    """Of a model that bills thousands of tokens for a short text, the text is what is shown."""

    async def main() -> None:
        model = ScriptedModel(
            Thought("the answer", input_tokens=10, output_tokens=5000), "second", window=8192
        )
        async with open_kernel(tmp_path, model) as k:
            p = await k.spawn("hello", stay=True)
            await until(k, p.pid, State.BLOCKED)
            await p.send("and now?")
            await until(k, p.pid, State.BLOCKED)
            while len(model.requests) < 2:
                await asyncio.sleep(0)
            assert [m.text for m in model.requests[1].messages if m.role == "assistant"] == [
                "the answer"
            ]

    run(main())


def test_an_error_that_passes_leaves_one_page_and_one_bill(tmp_path: Path) -> None:
    async def main() -> None:
        model = Raw(ModelError("busy", retryable=True), times=3)
        async with open_kernel(tmp_path, model) as k:
            p = await k.spawn("hello")
            assert await p.result() == "done"
            assert len(model.requests) == 4
            assert len(p.process.pages) == 3
            thoughts = [entry for entry in k.entries(p.pid) if entry.kind == "think"]
            assert len(thoughts) == 1
            assert p.process.account.tokens == thoughts[0].body["in"] + thoughts[0].body["out"]

    run(main())


def test_an_error_that_does_not_pass_stops_with_nothing_lost(tmp_path: Path) -> None:
    async def main() -> None:
        model = Raw(ModelError("busy", retryable=True), times=4)
        async with open_kernel(tmp_path, model) as k:
            p = await k.spawn("hello")
            with pytest.raises(KernelError, match="busy"):
                await p.result()
            await p.send("a letter")
        async with open_kernel(tmp_path, model) as k:
            p = k.process(p.pid)
            assert p.state == State.STOPPED
            await p.cont()
            assert await p.result() == "done"
            assert "a letter" in model.requests[-1].messages[-1].text

    run(main())


def test_a_model_that_finds_everything_too_long(tmp_path: Path) -> None:
    async def main() -> None:
        model = Raw(ContextOverflow("too long"), times=10**6)
        async with open_kernel(tmp_path, model) as k:
            p = await k.spawn("hello " * 1000)
            with pytest.raises(KernelError, match="too long|cannot be swapped out"):
                await p.result()
            assert p.state == State.STOPPED
            settled(k)
            model.left = 1  # once more
            await p.cont()
            assert await p.result() == "done"

    run(main())


def test_a_model_that_counts_otherwise_gets_fewer_pages(tmp_path: Path) -> None:
    """It refuses what is more than half of what it said its window was."""

    class Strict(ScriptedModel):
        async def think(self, request: ThinkRequest) -> Thought:
            if sum(self.count(m.text) for m in request.messages) > self.window // 3:
                raise ContextOverflow("too long")
            return await super().think(request)

    async def main() -> None:
        model = Strict("x" * 1000, window=8000)
        async with open_kernel(tmp_path, model) as k:
            p = await k.spawn("hello", stay=True)
            for number in range(30):
                await until(k, p.pid, State.BLOCKED)
                await p.send(f"message {number} " + "y" * 500)
            await until(k, p.pid, State.BLOCKED)
            assert p.process.waiting == "a message"

    run(main())


def test_a_model_that_hangs_is_ended_by_the_wall_budget(tmp_path: Path) -> None:
    class Hanging(ScriptedModel):
        async def think(self, request: ThinkRequest) -> Thought:
            request.emit("so far ")
            await asyncio.Event().wait()
            raise AssertionError

    async def main() -> None:
        async with open_kernel(tmp_path, Hanging()) as k:
            p = await k.spawn("hello", budget=Budget(wall=0.05))
            with pytest.raises(KernelError, match="time"):
                await p.result()
            assert p.process.account.seconds >= 0.05
            await p.cont()
            with pytest.raises(KernelError, match="seconds"):  # and stays ended
                await p.result()
            await k.set_budget(p.pid, Budget(wall=600))
            k.models["scripted"] = ScriptedModel()
            await p.cont()
            assert await p.result() == "done"
            settled(k)

    run(main())


def test_a_tool_that_hangs_is_ended_by_the_wall_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cabinos.kernel import machine
    from cabinos.kernel.driver import tool

    monkeypatch.setattr(machine.Watchdog, "PERIOD", 0.01)

    @tool(effect="pure", label="trusted")
    async def hang() -> None:
        """Never ends."""
        await asyncio.Event().wait()

    async def main() -> None:
        model = ScriptedModel(calls(("hang", {})), "done")
        async with open_kernel(tmp_path, model, tools=[hang]) as k:
            p = await k.spawn("hello", budget=Budget(wall=0.1))
            with pytest.raises(KernelError, match="seconds"):
                await p.result()
            assert 0.1 <= p.process.account.seconds < 5

    run(main(), 5)


def test_a_model_that_loops_ends_after_its_steps(tmp_path: Path) -> None:
    async def main() -> None:
        model = ScriptedModel(calls(("add", {"a": 1, "b": 2})))
        async with open_kernel(tmp_path, model, tools=[add]) as k:
            p = await k.spawn("hello", max_steps=7)
            with pytest.raises(KernelError, match="7 thoughts"):
                await p.result()
            assert len(model.requests) == 7
            p = await k.spawn("hello")
            with pytest.raises(KernelError, match="50 thoughts"):
                await p.result()

    run(main())


def test_no_model(tmp_path: Path) -> None:
    async def main() -> None:
        async with Kernel.open(tmp_path / "cabin.db", drivers=[]) as k:
            with pytest.raises(ModelError, match="there is no model"):
                await k.spawn("hello")
            assert await k.exec("1 + 1") == 2
            with pytest.raises(KernelError, match="there is no model"):
                await k.exec("think('x')")

    run(main())


def test_a_model_that_is_gone_after_a_restart_stops_its_processes(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path, ScriptedModel(name="old", latency=60)) as k:
            p = await k.spawn("hello")
        async with open_kernel(tmp_path, ScriptedModel(name="new")) as k:
            await until(k, p.pid, State.STOPPED)
            assert "old" in (k.process(p.pid).process.waiting or "")
            await k.set_model(p.pid, "new")
            await k.cont(p.pid)
            assert await k.process(p.pid).result() == "done"

    run(main())
