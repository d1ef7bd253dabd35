"""Virtual memory: never over the window, nothing lost, nothing torn apart."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cabinos.kernel.capability import Capabilities
from cabinos.kernel.driver import Message, ThinkRequest, Thought, ToolCall, tool
from cabinos.kernel.errors import ContextOverflow, KernelError, ToolError
from cabinos.kernel.events import Events
from cabinos.kernel.memory import Memory, thought_meta
from cabinos.kernel.process import PageTable, Process, State
from cabinos.store.database import Store
from cabinos.store.pages import Page, Pages
from tests.kernel.help import add, open_kernel, run, until
from tests.kernel.models import ScriptedModel, calls

SIZES = st.one_of(st.integers(0, 200), st.integers(0, 3000), st.just(20_000))


def rendered(messages: list[Message]) -> str:
    return "\n".join(
        f"<{m.role}>{m.text}" + "".join(f"<{c.id} {c.name}>" for c in m.calls) for m in messages
    )


def size(model: ScriptedModel, messages: Any) -> int:
    """Tokens of a request's messages, calls included."""
    return sum(
        model.count(m.text) + sum(model.count(c.name + json.dumps(c.arguments)) for c in m.calls)
        for m in messages
    )


def whole_groups(messages: Any) -> None:
    """Every call has its result right behind it, and every result its call."""
    waiting: list[str] = []
    for message in messages:
        if message.role == "tool":
            assert waiting, "a result without its call"
            assert message.call_id == waiting.pop(0)
        else:
            assert not waiting, "a call without its result"
            waiting = [call.id for call in message.calls]
    assert not waiting


class Windows(RuleBasedStateMachine):
    """A process whose pages come, go, and are pinned at random."""

    @initialize(
        window=st.sampled_from([1500, 4000, 20_000]), system=SIZES, request=st.integers(1, 2000)
    )
    def begin(self, window: int, system: int, request: int) -> None:
        self.store = Store.open(_place(), synchronous="normal")
        self.store._arm = lambda: None  # type: ignore[method-assign] # there is no event loop
        self.pages = Pages(self.store)
        self.memory = Memory(self.pages, Events())
        self.model = ScriptedModel(window=window)
        self.process = Process(1, None, 1, "t", "chat", "scripted", Capabilities())
        self.room = window - window // 4
        self.originals: dict[int, str] = {}
        self.number = 0
        self.shown = ""
        self.evictions = self.before = 0
        self.append("system", system, pinned=True)
        self.append("user", request, pinned=True)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.abandon()

    def page(self, role: str, length: int, meta: dict[str, Any] | None = None) -> Page:
        self.number += 1
        text = f"{self.number} " + "word " * (length // 5)
        tokens = self.model.count(text) + (self.model.count(json.dumps(meta)) if meta else 0)
        page = self.pages.put(role, text, tokens=tokens, meta=meta)
        self.originals[page.id] = page.text
        return page

    def append(self, role: str, length: int, **options: Any) -> None:
        meta = options.pop("meta", None)
        page = self.page(role, length, meta)
        before = [entry[1] for entry in self.process.pages]
        self.memory.append(self.process, page, self.model, self.room, **options)
        if [entry[1] for entry in self.process.pages][: len(before)] != before:
            self.evictions += 1

    @rule(length=SIZES)
    def user_says(self, length: int) -> None:
        self.append("user", length)

    @rule(length=SIZES)
    def assistant_says(self, length: int) -> None:
        self.append("assistant", length)

    @rule(lengths=st.lists(SIZES, min_size=1, max_size=6))
    def assistant_calls(self, lengths: list[int]) -> None:
        number = self.number
        made = [ToolCall(f"c{number}-{n}", "tool", {"n": n}) for n in range(len(lengths))]
        self.append("assistant", 10, meta=thought_meta(made, "calls"))
        for call, length in zip(made, lengths, strict=True):
            meta = {"call": call.id, "name": "tool"}
            self.append("tool", length, meta=meta, share=len(lengths))

    @rule(data=st.data())
    @precondition(lambda self: hasattr(self, "originals"))
    def pin(self, data: st.DataObject) -> None:
        ids = [number for number, *_ in self.process.pages]
        chosen = data.draw(st.sampled_from(ids[2:] or ids))
        pinned = data.draw(st.booleans())
        assert self.process.pages.pin(chosen, pinned=pinned)
        fixed = [g.tokens for g in self.memory._groups(self.process) if not g.movable]
        if sum(fixed) > self.room // 3 or len(fixed) > 4:  # who pins everything is told so
            self.process.pages.pin(chosen, pinned=False)

    @rule()
    def evict(self) -> None:
        if self.memory.evict(self.process, self.room):
            self.evictions += 1

    @rule()
    def restart(self) -> None:
        """As after a crash: only the table is left."""
        self.process = replace(
            self.process,
            pages=PageTable(self.process.pages.to_bytes()),
            resident_tokens=-1,
            messages=None,
        )

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "process"):
            return
        counted = self.memory.resident(self.process)
        assert counted <= self.room
        shown = self.memory.assemble(self.process)
        fresh = replace(self.process, resident_tokens=-1, messages=None)
        assert self.memory.resident(fresh) == counted
        assert self.memory.assemble(fresh) == shown
        whole_groups(shown)
        assert size(self.model, shown) <= self.room
        assert all(self.pages.get(number).text == text for number, text in self.originals.items())
        text = rendered(shown)
        if self.evictions == self.before:
            assert text.startswith(self.shown), "caches stay warm between two evictions"
        self.shown, self.before = text, self.evictions


def _place() -> Path:
    import tempfile

    return Path(tempfile.mkdtemp(dir=_place.root)) / "a.db"  # type: ignore[attr-defined]


Windows.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=20,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_windows(tmp_path: Path) -> None:
    _place.root = tmp_path  # type: ignore[attr-defined]
    Windows.TestCase("runTest").debug()


# ---- in a running kernel -------------------------------------------------------------------------


class Checked(ScriptedModel):
    """Refuses what does not fit its window, or is torn apart."""

    def __init__(self, *replies: Any, **options: Any) -> None:
        super().__init__(*replies, **options)
        self.sizes: list[int] = []

    async def think(self, request: ThinkRequest) -> Thought:
        whole_groups(request.messages)
        described = sum(self.count(f"{t.name}{t.description}") for t in request.tools)
        self.sizes.append(size(self, request.messages) + described + request.max_tokens)
        assert self.sizes[-1] <= self.window
        return await super().think(request)


@tool(effect="pure", label="trusted")
async def big(size: int, letter: str = "x") -> str:
    """A long text."""
    return f"begin {letter * size} end"


@pytest.mark.parametrize("window", [2048, 8192])
def test_many_huge_results_and_requests_never_overflow(tmp_path: Path, window: int) -> None:
    async def main() -> None:
        many = calls(*(("big", {"size": 100_000, "letter": c}) for c in "abcdefgh"))
        one = calls(("big", {"size": 1_000_000}))
        model = Checked(many, one, "short", many, one, "y" * 5000, window=window)
        async with open_kernel(tmp_path, model, tools=[big]) as k:
            p = await k.spawn("r" * 500_000, tools=[big], system="s" * 100_000, stay=True)
            for _ in range(2):
                await until(k, p.pid, State.BLOCKED, State.STOPPED)
                assert p.process.waiting == "a message"
                await p.send("m" * 300_000)
            await until(k, p.pid, State.BLOCKED, State.STOPPED)
            assert p.process.waiting == "a message"
            assert len(model.requests) > 6
            texts = {t for (t,) in k.store.rows("SELECT text FROM page WHERE role = 'tool'")}
            for letter in "abcdefgh":
                assert f"begin {letter * 100_000} end" in texts

    run(main())


def test_a_call_with_huge_arguments_is_counted(tmp_path: Path) -> None:
    async def main() -> None:
        model = Checked(
            calls(("add", {"a": 1, "b": 2, "note": "x" * 1500})),
            calls(("add", {"a": 1, "b": 2, "note": "x" * 1_000_000})),
            "done",
            window=4096,
        )
        async with open_kernel(tmp_path, model, tools=[add]) as k:
            p = await k.spawn("hello", tools=[add])
            await until(k, p.pid, State.STOPPED, State.EXITED)
            shown = model.requests[1].messages[2]
            assert shown.text == ""
            assert shown.calls[0].arguments == {"a": 1, "b": 2, "note": "x" * 1500}
            if p.state == State.STOPPED:
                assert "do not fit" in (p.process.waiting or "")
            assert k.store.failure is None

    run(main())


@pytest.mark.parametrize("window", [16, 64, 300])
def test_a_window_that_is_too_small_is_an_error_that_says_so(tmp_path: Path, window: int) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path, ScriptedModel(window=window), tools=[add]) as k:
            with pytest.raises(KernelError, match="window|fit"):
                await (await k.spawn("hello")).result()
            assert await k.exec("1 + 1") == 2

    run(main())


def test_mail_that_does_not_fit_is_not_lost(tmp_path: Path) -> None:
    """All that is pinned leaves no room: the process stops, and the letter is still there."""

    async def main() -> None:
        model = ScriptedModel("one", "two", window=2000)
        async with open_kernel(tmp_path, model) as k:
            p = await k.spawn("hello", stay=True, tools=[], system="")
            await until(k, p.pid, State.BLOCKED)
            process = p.process
            for number in range(20):
                page = k.pages.put("user", f"{number} " + "pinned " * 60, tokens=108)
                try:
                    k.memory.append(process, page, model, k.room(process), pinned=True)
                except ContextOverflow:
                    break
            await p.send("letter " * 100)
            await until(k, p.pid, State.STOPPED)
            assert "cannot be swapped out" in (p.process.waiting or "")
            for entry, _, pinned in list(process.pages):
                if pinned:
                    process.pages.pin(entry, pinned=False)
            await p.cont()
            await until(k, p.pid, State.BLOCKED)
            heard = [m.text for m in model.requests[-1].messages]
            assert any("letter letter" in text for text in heard)

    run(main())


def test_recall_by_handle_words_and_offset(tmp_path: Path) -> None:
    async def main() -> None:
        model = ScriptedModel()
        async with open_kernel(tmp_path, model) as k:
            p = await k.spawn("hello", stay=True)
            q = await k.spawn("somebody else's secret word: xylophone", stay=True)
            for handle in (p, q):
                await until(k, handle.pid, State.BLOCKED)
            text = "".join(f"line {number}: zebra\n" for number in range(5000))
            page = k.pages.put("user", text, tokens=model.count(text))
            process = p.process
            k.memory.append(process, page, model, 3000)
            text_, label, _ = await k.memory.recall(p.process, 3000, handle=page.handle)
            found = text_.split("\n[…")[0]
            while len(found) < len(text):
                part, *_ = await k.memory.recall(
                    p.process, 3000, handle=page.handle, offset=len(found)
                )
                found += part.split("\n[… recall")[0]
            assert found == text
            assert label == "trusted"
            hits, *_ = await k.memory.recall(p.process, 3000, query="zebras")
            assert "line 0: zebra" in hits
            assert model.count(hits) <= 3000
            with pytest.raises(ToolError, match="nothing"):
                await k.memory.recall(p.process, 3000, query="xylophone")
            [secret] = [
                page.handle
                for page in map(k.pages.get, q.process.pages.ids())
                if "xylophone" in page.text
            ]
            for wrong in (secret, "nonsense", "0" * 10):
                with pytest.raises(ToolError, match="no page"):
                    await k.memory.recall(p.process, 3000, handle=wrong)
            assert (await k.memory.recall(p.process, 3000, handle=page.handle, offset=10**9))[
                0
            ] == ""

    run(main())


def test_what_was_untrusted_stays_so_when_it_is_recalled(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path) as k:
            p = await k.spawn("hello", stay=True)
            await until(k, p.pid, State.BLOCKED)
            page = k.pages.put("tool", "evil words", tokens=3, label="untrusted")
            process = p.process
            k.memory.append(process, page, k.models["scripted"], 3000)
            assert process.label == "untrusted"
            assert (await k.memory.recall(p.process, 3000, query="evil"))[1] == "untrusted"

    run(main())


def test_fifty_evictions_lose_no_byte(tmp_path: Path) -> None:
    async def main() -> None:
        replies = [calls(("big", {"size": 3000, "letter": chr(97 + n % 26)})) for n in range(150)]
        model = Checked(*replies, "done", window=4096)
        async with open_kernel(tmp_path, model, tools=[big]) as k:
            p = await k.spawn("remember me", tools=[big], max_steps=1000)
            evictions = 0
            with k.events.subscribe(p.pid) as queue:
                while p.state != State.EXITED:
                    event = await queue.get()
                    evictions += event.kind == "fault" and event.action == "evict"
            assert evictions >= 30
            assert "remember me" in model.requests[-1].messages[1].text
            kept = {k.pages.get(number).text for number, *_ in p.process.pages}
            originals = {t for (t,) in k.store.rows("SELECT text FROM page WHERE role = 'tool'")}
            for n in range(26):
                assert f"begin {chr(97 + n) * 3000} end" in originals
            assert kept
            assert max(model.sizes) <= 4096

    run(main())
