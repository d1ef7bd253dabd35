"""Recovery: a kernel is ended at every commit, and each of its ends is lived on from.

After each commit the file is copied, as a crash at that moment would leave it. Each copy is opened
by a new kernel, beside the world outside as it was then, and as it was right before the next
commit; that is every crash there can be. All of these lives must come to the same end.
"""

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cabinos.kernel.budget import Budget
from cabinos.kernel.driver import Message, ThinkRequest, Thought, Tool, tool
from cabinos.kernel.images.plan import HOW
from cabinos.kernel.kernel import Kernel, Spawn
from cabinos.kernel.process import State
from cabinos.store.database import Statement, Store
from tests.kernel.help import add, fetch, open_kernel, run, until
from tests.kernel.models import ScriptedModel, calls

MOST = 40  # crashes that are tried of each scenario


class Planner(ScriptedModel):
    """Does what the first message of the user, a plan in JSON, says: a function of the messages.

    Where it says what to plan, that is the answer when it is asked for a plan.
    """

    plans = True

    async def think(self, request: ThinkRequest) -> Thought:
        await asyncio.sleep(0.001 * (request.pid % 3))
        first = next(m for m in request.messages if m.role == "user")
        plan, _ = json.JSONDecoder().raw_decode(first.text)
        if request.messages[-1].text.endswith(HOW):
            return Thought(json.dumps({"steps": plan.get("planned", [])}))
        if request.messages[-1].text.startswith("The plan was carried out."):
            return Thought(request.messages[-1].text.splitlines()[-2])
        done = sum(1 for m in request.messages if m.calls)
        if done < len(plan["steps"]):
            return calls(*((name, arguments) for name, arguments in plan["steps"][done]))
        answers_are_here(request.messages)
        found = [m.text for m in request.messages if m.name in ("add", "exec", "wait", "look")]
        return Thought(f"{plan.get('answer', 'done')}: {' '.join(found)}")


def answers_are_here(messages: Sequence[Message]) -> None:
    """Every call has its result right behind it."""
    for index, message in enumerate(messages):
        if message.calls:
            behind = messages[index + 1 : index + 1 + len(message.calls)]
            assert [call.id for call in message.calls] == [m.call_id for m in behind]


def plan(*steps: Sequence[tuple[str, dict[str, Any]]], answer: str = "done", **more: Any) -> str:
    return json.dumps({"steps": steps, "answer": answer, **more})


@dataclass
class Outside:
    """What a crash does not undo."""

    fired: Counter[str] = field(default_factory=Counter)
    keys: Counter[str] = field(default_factory=Counter)

    def copy(self) -> "Outside":
        return Outside(self.fired.copy(), self.keys.copy())

    def tools(self) -> list[Tool]:
        @tool(effect="raw", label="trusted")
        async def fire(what: str) -> str:
            """Does something once."""
            await asyncio.sleep(0.001)
            self.fired[what] += 1
            await asyncio.sleep(0.001)
            return "fired"

        @tool(effect="raw", label="trusted", ask=True)
        async def launch(what: str) -> str:
            """Does something once, if a person says so."""
            self.fired[what] += 1
            return "launched"

        @tool(effect="keyed", label="trusted", ask=True)
        async def mail(what: str, *, key: str) -> str:
            """Sends something once for each key."""
            await asyncio.sleep(0.001)
            self.keys[key] += 1
            return "sent"

        @tool(effect="pure", label="trusted")
        async def look(what: str) -> str:
            """Looks, slowly."""
            await asyncio.sleep(0.01)
            return f"seen {what}"

        return [fire, launch, mail, look, add, fetch]


@dataclass
class Ending:
    """What all lives must have in common."""

    answers: dict[int, tuple[str, str]]
    questions: Counter[str]
    fired: dict[str, int]
    keys: set[str]


async def live(kernel: Kernel, outside: Outside) -> Ending:
    """Runs until every process has ended; a person answers whatever is asked, truthfully."""
    with kernel.events.subscribe() as queue:
        while True:
            for ask in kernel.open_asks():
                answer = "approved" if ask.kind == "approval" else "blue"
                if ask.kind == "doubt":
                    what = ask.detail["arguments"]["what"]
                    answer = "happened" if outside.fired[what] else "again"
                await kernel.answer(ask.id, answer)
            await kernel.store.commit()
            if not kernel.ps():
                break
            waiting = [s.pid for s in kernel.ps() if s.state == "stopped"]
            assert not waiting, kernel.table.get(waiting[0]).waiting
            async with asyncio.timeout(5):
                await queue.get()
    rows = kernel.store.rows("SELECT pid, status, result FROM process ORDER BY pid")
    answers = {pid: (status, kernel.pages.get(result).text) for pid, status, result in rows}
    asked = kernel.store.rows("SELECT question FROM ask WHERE kind != 'doubt'")
    consistent(kernel)
    return Ending(
        answers,
        Counter(question for (question,) in asked),
        dict(outside.fired),
        set(outside.keys),
    )


def consistent(kernel: Kernel) -> None:
    """What holds at the end of every life."""
    kernel.journal.verify()
    assert kernel.store.rows("SELECT count(*) FROM message") == [(0,)]
    assert kernel.open_asks() == []
    for (account,) in kernel.store.rows("SELECT account FROM process"):
        assert "reserved" not in account
    for entry in kernel.journal.entries():
        if "sender" in entry.body and kernel.table.get(entry.pid).image == "chat":
            pages = [page for page, *_ in kernel.table.get(entry.pid).pages]
            assert pages.count(entry.body["page"]) == 1, "mail is read once"


@dataclass
class Life:
    """A recorded run: copies of the file, and the world beside each."""

    place: Path
    outside: Outside
    before: list[Outside] = field(default_factory=list)  # the world just before each commit
    after: list[Outside] = field(default_factory=list)

    def record(self, patch: pytest.MonkeyPatch) -> None:
        transact = Store._transact

        def recording(store: Store, statements: Sequence[Statement]) -> None:
            self.before.append(self.outside.copy())
            transact(store, statements)
            copy = self.place / f"copy{len(self.after)}"
            copy.mkdir()
            for name in ("cabin.db", "cabin.db-wal"):
                shutil.copy(self.place / name, copy / name)
            self.after.append(self.outside.copy())

        patch.setattr(Store, "_transact", recording)
        patch.setattr(Store, "_arm", Store.kick)  # as many commits as there can be


Start = Callable[[Kernel], Coroutine[Any, Any, object]]


async def alone(k: Kernel) -> None:
    """Every kind of effect, one after the other and together."""
    await k.spawn(
        plan(
            [("add", {"a": 1, "b": 2})],
            [("fire", {"what": "a"}), ("add", {"a": 3, "b": 4}), ("look", {"what": "b"})],
            [("mail", {"what": "c"})],
            [("launch", {"what": "d"}), ("ask", {"question": "which colour?"})],
            [("exec", {"code": "add(a=5, b=6) * 2"}), ("look", {"what": "e"})],
            [("fetch", {"size": 5000}), ("fire", {"what": "f"})],
        )
    )


async def family(k: Kernel) -> None:
    """Programs that are born, wait, send and sleep."""
    child = "a = recv()\nb = recv()\nsleep(0.01)\na + b"
    source = (
        f"one = spawn(code={child!r})['pid']\n"
        f"two = spawn(request={plan([('look', {'what': 'x'})], [('fire', {'what': 'y'})])!r})\n"
        "send('first ', one)\nsend('second', one)\n"
        "colour = ask('which?')\n"
        "left = fork()['pid']\n"
        "if left == 0:\n    result = call('add', {'a': 20, 'b': 22})\n"
        "else:\n    result = wait(left)\n"
        "[wait(one) if left else '', wait(two['pid']) if left else '', colour, result]"
    )
    await k.spawn(code=source)


async def crowd(k: Kernel) -> None:
    """More conversations than slots, with mail."""
    step = [("ask", {"question": "go on?"}), ("look", {"what": "q"})]
    handles = await k.spawn_many(
        [Spawn(request=plan([("look", {"what": str(n)})], step)) for n in range(4)]
    )
    for handle in handles:
        await handle.send(f"mail for {handle.pid}")


async def parallel(k: Kernel) -> None:
    """Slow calls beside calls that leave something behind and block."""
    look = ("look", {"what": "slow"})
    await k.spawn_many(
        [
            Spawn(request=plan([look, ("exec", {"code": "sleep(0.01)\n7"})], [("ask", ASK), look])),
            Spawn(request=plan([look, ("ask", ASK), ("launch", {"what": "m"})], [look])),
            Spawn(request=plan([("spawn", {"request": plan([look])}), look], [("ask", ASK)])),
        ]
    )


async def planning(k: Kernel) -> None:
    """What would be read is held back; one plan comes, one does not."""
    fire = {"tool": "fire", "arguments": {"what": "a"}}
    look = {"tool": "look", "arguments": {"what": {"result": 1}}}
    steps = [{"tool": "fetch", "arguments": {"size": 5}}, fire, look]
    fetch = ("fetch", {"size": 3000})
    await k.spawn_many(
        [
            Spawn(request=plan([fetch], planned=steps)),
            Spawn(request=plan([fetch, ("look", {"what": "b"})], [("mail", {"what": "c"})])),
        ]
    )


ASK = {"question": "which?"}


@pytest.mark.parametrize("scenario", [alone, family, crowd, parallel, planning])
def test_every_crash_comes_to_the_same_end(tmp_path: Path, scenario: Start) -> None:
    life = Life(tmp_path, Outside())

    async def first() -> Ending:
        model = Planner(slots=2)
        async with open_kernel(tmp_path, model, tools=life.outside.tools()) as k:
            await scenario(k)
            return await live(k, life.outside)

    with pytest.MonkeyPatch.context() as patch:
        life.record(patch)
        expected = run(first())
    assert set(expected.fired.values()) <= {1}

    async def again(place: Path, outside: Outside) -> Ending:
        async with open_kernel(place, Planner(slots=2), tools=outside.tools()) as k:
            return await live(k, outside)

    crashes = len(life.after)
    for number in range(0, crashes, max(1, crashes // MOST)):
        began = _facts(tmp_path / f"copy{number}")
        worlds = [life.after[number]]
        if number + 1 < crashes and life.before[number + 1] != worlds[0]:
            worlds.append(life.before[number + 1])
        for index, outside in enumerate(worlds):
            place = tmp_path / f"life{number}-{index}"
            shutil.copytree(tmp_path / f"copy{number}", place)
            ending = run(again(place, outside.copy()))
            about = f"crash after commit {number} of {crashes}, world {index}"
            _compare(began, ending, expected, about, _facts(place))
            shutil.rmtree(place)


@dataclass
class _Facts:
    pids: set[int]
    pages: dict[bytes, str]


def _facts(place: Path) -> _Facts:
    copy = place.with_name(f"{place.name}-facts")
    shutil.copytree(place, copy)
    store = Store.open(copy / "cabin.db")
    rows = store.rows("SELECT pid FROM process")
    pages = store.rows("SELECT hash, text FROM page")
    store.abandon()
    shutil.rmtree(copy)
    return _Facts({pid for (pid,) in rows}, dict(pages))


def _compare(began: _Facts, ending: Ending, expected: Ending, about: str, ended: _Facts) -> None:
    roots = min(expected.answers, default=0)
    if began.pids >= {roots}:
        for pid in began.pids & expected.answers.keys():
            assert ending.answers[pid] == expected.answers[pid], about
        if began.pids == expected.answers.keys():
            assert ending.answers.keys() == expected.answers.keys(), f"{about}: a child twice"
        assert all(
            ending.questions[question] <= count for question, count in expected.questions.items()
        ), f"{about}: asked twice"
        assert ending.questions.keys() <= expected.questions.keys()
    assert set(ending.fired.values()) <= {1}, f"{about}: {ending.fired}"
    if began.pids == expected.answers.keys():
        assert ending.fired == expected.fired, about
    for address, text in began.pages.items():
        assert ended.pages[address] == text, f"{about}: a page has changed"


# ---- particular crashes --------------------------------------------------------------------------


class Hanging(ScriptedModel):
    """Begins to think and never ends."""

    async def think(self, request: ThinkRequest) -> Thought:
        self.requests.append(request)
        await asyncio.Event().wait()
        raise AssertionError


async def crashed(kernel: Kernel, to: Path) -> None:
    """A copy of the file as a crash now would leave it."""
    await kernel.store.commit()
    to.mkdir()
    for file in kernel.store.path.parent.glob("cabin.db*"):
        if not file.name.endswith(("-shm", ".lock")):
            shutil.copy(file, to)


def test_mail_that_was_read_in_the_queue_is_not_lost(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path, Hanging(slots=1)) as k:
            _, second = await k.spawn_many([Spawn(request="one"), Spawn(request="two")])
            while k.queues["scripted"].waiting < 1:
                await asyncio.sleep(0)
            await second.send("a letter")
            await crashed(k, tmp_path / "first")
        async with open_kernel(tmp_path / "first", Hanging(slots=1)) as k:
            while k.queues["scripted"].waiting < 1:
                await asyncio.sleep(0)
            await crashed(k, tmp_path / "second")
        model = ScriptedModel()
        async with open_kernel(tmp_path / "second", model) as k:
            await k.process(second.pid).result()
            assert any("a letter" in m.text for r in model.requests for m in r.messages)

    run(main())


def test_a_doubt_that_comes_again_is_asked_again(tmp_path: Path) -> None:
    async def crash_in_fire(place: Path, *, answer: str = "") -> None:
        started = asyncio.Event()

        @tool(effect="raw", label="trusted")
        async def fire() -> str:
            """Begins, and never ends."""
            started.set()
            await asyncio.Event().wait()
            return ""

        model = ScriptedModel(calls(("fire", {})), "done")
        async with open_kernel(place, model, tools=[fire]) as k:
            if answer:
                assert k.process(1).state == State.IN_DOUBT
                await k.answer(k.open_asks()[0].id, answer)
            else:
                await k.spawn("go")
            await started.wait()
            await crashed(k, place / "next")
            await k.kill(1)

    async def main() -> None:
        await crash_in_fire(tmp_path)
        place = tmp_path / "next"
        async with open_kernel(place, tools=[ended_tool()]) as k:
            await until(k, 1, State.IN_DOUBT)
        await crash_in_fire(place, answer="again")
        async with open_kernel(place / "next", tools=[ended_tool()]) as k:
            await until(k, 1, State.IN_DOUBT)
            [ask] = k.open_asks(1)
            assert ask.kind == "doubt"
            await k.answer(ask.id, "happened")
            assert await k.process(1).result() == "done"

    run(main())


def ended_tool() -> Tool:
    @tool(effect="raw", label="trusted")
    async def fire() -> str:
        """Never called."""
        raise AssertionError

    return fire


def test_a_doubt_about_a_tool_that_is_gone_is_not_forgotten(tmp_path: Path) -> None:
    async def main() -> None:
        started = asyncio.Event()

        @tool(effect="raw", label="trusted")
        async def fire() -> str:
            """Begins, and never ends."""
            started.set()
            await asyncio.Event().wait()
            return ""

        model = ScriptedModel(calls(("fire", {})), "done")
        async with open_kernel(tmp_path, model, tools=[fire]) as k:
            await k.spawn("go")
            await started.wait()
            await crashed(k, tmp_path / "next")
            await k.kill(1)
        async with open_kernel(tmp_path / "next") as k:
            await until(k, 1, State.IN_DOUBT, State.EXITED)
            [ask] = k.open_asks(1)
            assert ask.detail == {"tool": "fire", "arguments": {}}
            await k.answer(ask.id, "failed")
            assert await k.process(1).result() == "done"

    run(main())


def test_what_was_reserved_for_a_lost_thought_is_spent(tmp_path: Path) -> None:
    async def main() -> None:
        model = Hanging()
        async with open_kernel(tmp_path, model) as k:
            p = await k.spawn("go", budget=Budget(tokens=5000))
            while not model.requests:
                await asyncio.sleep(0)
            reserved = p.process.account.reserved_tokens
            assert reserved > 1000
            await crashed(k, tmp_path / "next")
        async with open_kernel(tmp_path / "next") as k:
            account = k.process(1).process.account
            assert account.tokens == reserved
            await k.process(1).result()
            assert account.tokens > reserved

    run(main())


def test_a_timer_fires_after_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path) as k:
            p = await k.spawn(code="sleep(0.3)\n'awake'")
            q = await k.spawn(code="sleep(1000)\n'never'")
            await until(k, p.pid, State.BLOCKED)
            await until(k, q.pid, State.BLOCKED)
            await crashed(k, tmp_path / "next")
        async with open_kernel(tmp_path / "next") as k:
            assert await k.process(1).result() == "awake"
            assert k.process(2).state == State.BLOCKED

    run(main())
