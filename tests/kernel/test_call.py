"""Calls of tools: what comes back, whatever a tool does; and calls in doubt."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from cabinos.kernel import call as call_module
from cabinos.kernel import machine as machine_module
from cabinos.kernel.driver import Context, Labelled, Tool, tool
from cabinos.kernel.errors import (
    BudgetExceeded,
    Denied,
    InvalidArguments,
    KernelError,
    ModelError,
    ToolError,
)
from cabinos.kernel.process import State
from tests.kernel.help import World, open_kernel, run, until
from tests.kernel.models import ScriptedModel, calls


def result_of(place: Path, made: Tool, arguments: dict[str, Any] | None = None) -> tuple[str, bool]:
    """What a model is told of one call of the tool, and whether the process is still trusted."""

    async def main() -> tuple[str, bool]:
        model = ScriptedModel(calls((made.name, arguments or {})), "done")
        async with open_kernel(place, model, tools=[made]) as k:
            p = await k.spawn("go")
            assert await p.result() == "done"
            [told] = [m.text for m in model.requests[-1].messages if m.role == "tool"]
            return told, p.process.label == "trusted"

    return run(main())


def returning(value: Any, **declared: Any) -> Tool:
    @tool(**{"effect": "pure", "label": "trusted", **declared})
    async def it() -> Any:
        """Returns something, or raises it."""
        if isinstance(value, BaseException):
            raise value
        return value

    return it


LOOP: list[Any] = []
LOOP.append(LOOP)
DEEP: Any = 1
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("text", "text"),
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        (float("nan"), "NaN"),
        ({"a": [1, {"b": "é"}]}, '{"a": [1, {"b": "é"}]}'),
        (Path("x"), "x"),
        ("half \ud800", "half ?"),
        ("nul \0", "nul \0"),
        ("", ""),
        (b"bytes", "b'bytes'"),
    ],
)
def test_any_value_becomes_text(tmp_path: Path, value: Any, told: str) -> None:
    assert result_of(tmp_path, returning(value)) == (told, True)


@pytest.mark.parametrize("effect", ["pure", "raw"])
@pytest.mark.parametrize(
    "value", [LOOP, {(1, 2): 3}, 10**5000, DEEP], ids=["loop", "key", "int", "deep"]
)
def test_a_value_that_is_no_json_is_a_result_that_says_so(
    tmp_path: Path, value: Any, effect: str
) -> None:
    told, _ = result_of(tmp_path, returning(value, effect=effect))
    assert told.startswith("it failed: ")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ToolError("no such file"), "no such file"),
        (Denied("not yours"), "not yours"),
        (InvalidArguments("bad"), "bad"),
        (KernelError("something"), "something"),
        (ValueError("broken"), "it failed: ValueError: broken."),
        (KeyError("k"), "it failed: KeyError: 'k'."),
        (RuntimeError(), "it failed: RuntimeError."),
        (TimeoutError(), "it failed: TimeoutError."),
        (OSError(2, "gone"), "it failed: FileNotFoundError: [Errno 2] gone."),
        (RecursionError("deep"), "it failed: RecursionError: deep."),
        (StopIteration("x"), None),
        (asyncio.CancelledError(), None),
        (SystemExit(3), None),
        (ValueError("half \ud800"), "it failed: ValueError: half ?."),
    ],
)
def test_whatever_a_tool_raises_is_a_result(
    tmp_path: Path, error: BaseException, told: str | None
) -> None:
    for effect in ("pure", "raw"):
        place = tmp_path / effect
        place.mkdir()
        found, trusted = result_of(place, returning(error, effect=effect, label="untrusted"))
        assert found == told or told is None, found
        assert found
        assert not trusted, "the words of an error are the tool's"


@pytest.mark.parametrize("error", [BudgetExceeded("no more"), ModelError("no brain")])
def test_what_ends_the_work_stops_the_process(tmp_path: Path, error: KernelError) -> None:
    async def main() -> None:
        model = ScriptedModel(calls(("it", {})), "done")
        async with open_kernel(tmp_path, model, tools=[returning(error)]) as k:
            p = await k.spawn("go")
            with pytest.raises(KernelError, match=str(error)):
                await p.result()
            assert p.state == State.STOPPED

    run(main())


def test_a_tool_that_takes_too_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_module, "TIMEOUT", 0.02)
    monkeypatch.setattr(machine_module.Watchdog, "PERIOD", 0.01)

    @tool(effect="raw", label="trusted")
    async def it() -> None:
        """Never ends."""
        await asyncio.Event().wait()

    assert result_of(tmp_path, it) == ("it took longer than 0.02 s.", True)


def test_a_tool_that_ignores_its_time_limit_can_still_be_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_module, "TIMEOUT", 0.02)
    monkeypatch.setattr(machine_module.Watchdog, "PERIOD", 0.01)
    hanging = asyncio.Event()

    @tool(effect="pure", label="trusted")
    async def stubborn() -> str:
        """Goes on when it is told to stop."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "I am still here"
        raise AssertionError

    @tool(effect="pure", label="trusted")
    async def hang() -> None:
        """Waits for long."""
        monkeypatch.setattr(call_module, "TIMEOUT", 600)
        hanging.set()
        await asyncio.Event().wait()

    async def main() -> None:
        model = ScriptedModel(calls(("stubborn", {})), calls(("hang", {})), "done")
        monkeypatch.setattr(call_module, "TIMEOUT", 0.02)
        async with open_kernel(tmp_path, model, tools=[stubborn, hang]) as k:
            p = await k.spawn("go")
            await hanging.wait()
            told = [m.text for m in model.requests[-1].messages if m.role == "tool"]
            assert told == ["I am still here"]
            await p.kill()
            assert (p.process.status or {})["code"] == "killed"

    run(main())


def test_the_label_of_a_result_may_be_found_out_by_the_tool(tmp_path: Path) -> None:
    made = returning(Labelled("read this", "untrusted"))
    assert result_of(tmp_path, made) == ("read this", False)


def test_context_and_key_are_given_and_not_asked_for(tmp_path: Path) -> None:
    seen: list[Any] = []

    @tool(effect="keyed", label="trusted")
    async def it(word: str, *, context: Context, key: str) -> str:
        """Notes what it was given."""
        seen.append((word, context.pid, context.key == key, key))
        return word

    assert set(it.parameters["properties"]) == {"word"}
    result_of(tmp_path, it, {"word": "x"})
    assert seen[0][:3] == ("x", 1, True)
    assert "-1-" in seen[0][3]


def test_a_key_is_the_same_after_a_stop_and_another_for_another_call(tmp_path: Path) -> None:
    async def main() -> None:
        keys: list[str] = []
        gate = asyncio.Event()

        @tool(effect="keyed", label="trusted")
        async def it(*, key: str) -> str:
            """Notes its key; the first time it hangs."""
            keys.append(key)
            if len(keys) == 1:
                await gate.wait()
            return "x"

        model = ScriptedModel(calls(("it", {}), ("it", {})), calls(("it", {})), "done")
        async with open_kernel(tmp_path, model, tools=[it]) as k:
            p = await k.spawn("go")
            while len(keys) < 2:
                await asyncio.sleep(0)
            k._tasks[p.pid].cancel()  # as at the end of a close that took too long
            await asyncio.wait([k._tasks[p.pid]])
            gate.set()
            k.start(p.process)
            assert await p.result() == "done"
        assert keys[0] == keys[2]
        assert len(set(keys)) == 3

    run(main())


# ---- doubt ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "answer", "times", "told"),
    [
        ("happened", None, 1, "It was done before an interruption; its output is lost."),
        ("did not happen", None, 2, "did x"),
        ("unknown", "happened", 1, "It was done before an interruption; its output is lost."),
        ("unknown", "again", 2, "did x"),
        ("unknown", "failed", 1, "It was interrupted and is not to be repeated."),
        (RuntimeError("no network"), "failed", 1, "It was interrupted and is not to be repeated."),
        (["nonsense"], "failed", 1, "It was interrupted and is not to be repeated."),
        (None, "failed", 1, "It was interrupted and is not to be repeated."),
    ],
)
def test_doubts_are_settled_by_a_check_or_a_person(
    tmp_path: Path, found: Any, answer: str | None, times: int, told: str
) -> None:
    async def main() -> None:
        world = World(open_gate=False)
        model = ScriptedModel(calls(("fire", {"what": "x"})), "done")
        async with open_kernel(tmp_path, model, tools=world.tools(check=True)) as k:
            p = await k.spawn("go")
            await world.started.wait()
            k._tasks[p.pid].cancel()
        assert p.pid == 1
        world.gate.set()
        world.found = found
        async with open_kernel(tmp_path, model, tools=world.tools(check=True)) as k:
            if answer is not None:
                await until(k, 1, State.IN_DOUBT)
                [ask] = k.open_asks()
                assert ask.kind == "doubt"
                assert ask.detail == {"tool": "fire", "arguments": {"what": "x"}}
                with pytest.raises(KernelError, match="again, happened, failed"):
                    await k.answer(ask.id, "yes")
                k.post(1, "a letter wakes it, but settles nothing")
                await until(k, 1, State.IN_DOUBT)
                assert [a.id for a in k.open_asks()] == [ask.id]
                await k.answer(ask.id, answer)
            assert await k.process(1).result() == "done"
            tools = [m.text for m in model.requests[-1].messages if m.role == "tool"]
            assert tools == [told]
            assert world.began == {"x": times}
            assert k.open_asks() == []
            kinds = [entry.kind for entry in k.entries(1)]
            assert "resolved" in kinds

    run(main())


# ---- names and arguments -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["exit", "", "x" * 10_000, "half \ud800", "nul \0", "think", "../../etc", "call"]
)
def test_no_name_of_a_tool_does_harm(tmp_path: Path, name: str) -> None:
    async def main() -> None:
        model = ScriptedModel(calls((name, {"a": 1})), "done")
        async with open_kernel(tmp_path, model) as k:
            p = await k.spawn("go")
            assert await p.result() == "done"
            [told] = [m.text for m in model.requests[-1].messages if m.role == "tool"]
            assert told.startswith("there is no tool")
            assert len(told) < 2000
            k.journal.verify()
            ends = [entry for entry in k.entries(p.pid) if entry.kind == "exit"]
            assert sum("ok" not in entry.body for entry in ends) == 1  # "ok": the end of a call

    run(main())


@pytest.mark.parametrize("arguments", [None, [], "text", 5, {"0": 1}, {"0": 1, "7": 2}, {"٠": 1}])
def test_malformed_arguments_are_a_result(tmp_path: Path, arguments: Any) -> None:
    async def main() -> None:
        plain = Tool(
            "plain",
            "Takes a and b.",
            {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"]},
            returning("fine").run,
            effect="pure",
        )
        names = ("plain", "exec", "sleep", "wait", "recall", "spawn", "ask")
        model = ScriptedModel(calls(*((name, arguments) for name in names)), "done")
        async with open_kernel(tmp_path, model, tools=[plain]) as k:
            p = await k.spawn("go")
            while p.state != State.EXITED:
                for ask in k.open_asks():
                    await k.answer(ask.id, "x")
                await asyncio.sleep(0)
            assert await p.result() == "done"

    run(main())


HUGE = json.loads("[1e999]")[0]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("sleep", {"seconds": HUGE}),
        ("sleep", {"seconds": float("nan")}),
        ("sleep", {"seconds": "nan"}),
        ("sleep", {"seconds": 10**400}),
        ("sleep", {"seconds": "soon"}),
        ("sleep", {"seconds": []}),
        ("sleep", {"until": float("nan")}),
        ("wait", {"pid": HUGE}),
        ("wait", {"pid": 10**30}),
        ("wait", {"pid": -1}),
        ("wait", {"pid": "x"}),
        ("wait", {"pids": [[1]]}),
        ("wait", {}),
        ("spawn", {"request": 5}),
        ("spawn", {"request": None}),
        ("spawn", {"code": 5}),
        ("spawn", {"request": "x", "tools": 5}),
        ("spawn", {"request": "x", "files": "abc"}),
        ("exec", {"code": 5}),
        ("exec", {"code": "  "}),
        ("ask", {"question": ["x"]}),
        ("recall", {"handle": 5}),
        ("recall", {"query": "x", "offset": HUGE}),
        ("recall", {"query": "x", "offset": "x"}),
        ("recall", {}),
    ],
)
def test_wrong_arguments_of_a_syscall_are_a_result(
    tmp_path: Path, name: str, arguments: dict[str, Any]
) -> None:
    async def main() -> None:
        model = ScriptedModel(calls((name, arguments)), "done")
        async with open_kernel(tmp_path, model) as k:
            p = await k.spawn("go")
            assert await p.result() == "done"
            [told] = [m.text for m in model.requests[-1].messages if m.role == "tool"]
            assert told

    run(main(), 5)
