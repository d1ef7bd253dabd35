"""Kill, stop, cont, fork, send and nice, in every state a process can be in."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cabinos.kernel.driver import ThinkRequest, Thought, Tool
from cabinos.kernel.errors import KernelError
from cabinos.kernel.events import Event
from cabinos.kernel.kernel import Kernel, ProcessHandle
from cabinos.kernel.machine import BY_PERSON
from cabinos.kernel.process import State
from tests.kernel.help import World, asked, open_kernel, run, until
from tests.kernel.models import ScriptedModel, calls


class GatedModel(ScriptedModel):
    """Waits for a gate before it answers by the last message: do what the user says, or "done"."""

    def __init__(self) -> None:
        super().__init__(slots=1)
        self.gate, self.started = asyncio.Event(), asyncio.Event()

    async def think(self, request: ThinkRequest) -> Thought:
        self.started.set()
        await self.gate.wait()
        last = request.messages[-1]
        if last.role == "user" and last.text.startswith("call "):
            _, name, argument = last.text.split(" ", 2)
            key = {"sleep": "seconds", "ask": "question", "exec": "code"}.get(name, "what")
            value = float(argument) if name == "sleep" else argument
            return calls((name, {key: value}))
        if last.role == "user" and last.text.startswith("raise"):
            raise RuntimeError("a broken model")
        return Thought("done", output_tokens=1, input_tokens=1)


@dataclass
class Scene:
    """A kernel with one process in some state."""

    kernel: Kernel
    model: GatedModel
    world: World
    pid: int = 0
    others: list[ProcessHandle] = field(default_factory=list)

    @property
    def handle(self) -> ProcessHandle:
        return self.kernel.process(self.pid)

    async def spawn(self, request: str) -> None:
        self.pid = (await self.kernel.spawn(request)).pid

    def tools(self) -> list[Tool]:
        return self.world.tools()


async def fresh(s: Scene) -> None:
    s.model.gate.set()
    await s.spawn("hello")


async def thinking(s: Scene) -> None:
    await s.spawn("hello")
    await s.model.started.wait()


async def queued(s: Scene) -> None:
    s.others.append(await s.kernel.spawn("first"))
    await s.model.started.wait()
    await s.spawn("hello")
    queue = s.kernel.queues["scripted"]
    while not queue.waiting:
        await asyncio.sleep(0)


async def acting(s: Scene, tool: str) -> None:
    s.model.gate.set()
    s.world.gate.clear()
    await s.spawn(f"call {tool} x")
    await s.world.started.wait()


async def looking(s: Scene) -> None:
    await acting(s, "look_up")


async def posting(s: Scene) -> None:
    await acting(s, "post")


async def firing(s: Scene) -> None:
    await acting(s, "fire")


async def computing(s: Scene) -> None:
    source = "n = 0\nfor i in range(300000):\n    n += i\n'done'"
    s.pid = (await s.kernel.spawn(code=source)).pid
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def blocked(s: Scene, request: str) -> None:
    s.model.gate.set()
    await s.spawn(request)
    await until(s.kernel, s.pid, State.BLOCKED)


async def asking(s: Scene) -> None:
    await blocked(s, "call ask well?")


async def sleeping(s: Scene) -> None:
    await blocked(s, "call sleep 0.2")


async def waiting(s: Scene) -> None:
    await blocked(s, "call exec sleep(0.2)")


async def receiving(s: Scene) -> None:
    s.pid = (await s.kernel.spawn(code="recv()\n'done'")).pid
    await until(s.kernel, s.pid, State.BLOCKED)


async def stopped(s: Scene) -> None:
    await thinking(s)
    await s.handle.stop()


async def broken(s: Scene) -> None:
    s.model.gate.set()
    await s.spawn("raise")
    await until(s.kernel, s.pid, State.STOPPED)


async def ended(s: Scene) -> None:
    s.model.gate.set()
    await s.spawn("hello")
    await s.handle.ended()


async def killed(s: Scene) -> None:
    await thinking(s)
    await s.handle.kill()


STATES: dict[str, Callable[[Scene], Awaitable[None]]] = {
    f.__name__: f
    for f in (
        fresh, thinking, queued, looking, posting, firing, computing, asking, sleeping, waiting,
        receiving, stopped, broken, ended, killed,
    )
}  # fmt: skip
GONE = ("ended", "killed")
HALTED = ("stopped", "broken")
OUTSIDE = ("posting", "firing")


@asynccontextmanager
async def scene(place: Path, state: str) -> AsyncIterator[Scene]:
    model, world = GatedModel(), World()
    async with open_kernel(place, model, tools=world.tools()) as kernel:
        s = Scene(kernel, model, world)
        await STATES[state](s)
        yield s
        await s.kernel.wait(all_of=[*s.others, *([s.handle] if s.others else [])] or [s.handle])
        nothing_leaks(kernel)
        assert kernel.journal.verify() > 0
    assert state not in OUTSIDE or set(world.done.values()) <= {1}


def nothing_leaks(kernel: Kernel) -> None:
    assert not kernel._tasks
    assert not kernel._woken
    assert not kernel._timers
    assert not +kernel._acting
    assert not kernel._watchdog.deadlines
    assert not kernel._watchdog.bitten
    assert kernel.open_asks() == []
    for queue in kernel.queues.values():
        assert queue.running == queue.waiting == 0
        assert not queue._standing
    for (account,) in kernel.store.rows("SELECT account FROM process"):
        assert "reserved" not in account


async def finish(s: Scene, handle: ProcessHandle) -> str:
    """Lets everything go on until the process has ended; returns how."""
    s.model.gate.set()
    s.world.gate.set()
    while handle.state != State.EXITED:
        if handle.state == State.STOPPED:
            if "a broken model" in (handle.process.waiting or ""):
                await handle.kill()
                break
            await handle.cont()
        for ask in s.kernel.open_asks(handle.pid):
            await s.kernel.answer(ask.id, "fine")
        if handle.process.waiting == "a message":
            await handle.send("wake up")
        with s.kernel.events.subscribe(handle.pid) as queue:
            mail = handle.state == State.BLOCKED and handle.process.waiting == "a message"
            if handle.state not in (State.EXITED, State.STOPPED) and not mail:
                await queue.get()
    status = (await handle.ended()).status
    assert status is not None
    return str(status["code"])


@pytest.mark.parametrize("state", STATES)
def test_a_kill_ends_it_at_once(tmp_path: Path, state: str) -> None:
    async def main() -> None:
        async with scene(tmp_path, state) as s:
            await s.handle.kill()
            assert s.handle.state == State.EXITED
            assert s.pid not in s.kernel._tasks
            assert (s.handle.process.status or {})["code"] == (
                "done" if state == "ended" else "killed"
            )
            await s.handle.kill()  # again: nothing happens
            for other in s.others:
                s.model.gate.set()
                assert await other.result() == "done"

    run(main())


@pytest.mark.parametrize("state", STATES)
def test_stop_and_cont_change_nothing_about_the_end(tmp_path: Path, state: str) -> None:
    async def main() -> None:
        async with scene(tmp_path, state) as s:
            await s.handle.stop()
            if state in GONE:
                assert s.handle.state == State.EXITED
                with pytest.raises(KernelError, match=f"process {s.pid} is not stopped but exited"):
                    await s.handle.cont()
                return
            if state in OUTSIDE:
                assert s.handle.state == State.READY  # the effect is finished first
                s.world.gate.set()
                await until(s.kernel, s.pid, State.STOPPED)
                assert s.world.done == {"x": 1}
            assert s.handle.state == State.STOPPED
            assert s.pid not in s.kernel._tasks
            if state != "broken":
                assert s.handle.process.waiting == "by a person"
            await s.handle.stop()  # again: nothing happens
            await s.kernel.store.commit()
            rows = s.kernel.store.rows("SELECT state FROM process WHERE pid = ?", (s.pid,))
            assert rows == [("stopped",)]
            assert await finish(s, s.handle) == ("killed" if state == "broken" else "done")
            for other in s.others:
                await other.result()

    run(main())


@pytest.mark.parametrize("state", STATES)
def test_cont_needs_a_stopped_process(tmp_path: Path, state: str) -> None:
    async def main() -> None:
        async with scene(tmp_path, state) as s:
            if state in HALTED:
                await s.handle.cont()
            else:
                before = s.handle.state
                with pytest.raises(KernelError, match=f"is not stopped but {before.value}"):
                    await s.handle.cont()
            ending = {"broken": "killed", "killed": "killed"}.get(state, "done")
            assert await finish(s, s.handle) == ending

    run(main())


@pytest.mark.parametrize("state", STATES)
def test_a_fork_goes_on_from_there(tmp_path: Path, state: str) -> None:
    async def main() -> None:
        async with scene(tmp_path, state) as s:
            if state in OUTSIDE or state == "waiting":
                with pytest.raises(KernelError, match=f"process {s.pid} is in the middle of"):
                    await s.handle.fork()
                await finish(s, s.handle)
                return
            [child] = await s.handle.fork()
            assert child.process.parent == s.pid
            ending = {"broken": "killed", "killed": "killed"}.get(state, "done")
            if state in GONE:
                await until(s.kernel, child.pid, State.BLOCKED)
                await child.send("and now?")
            if state != "broken":
                assert await finish(s, child) == "done"
            assert await finish(s, s.handle) == ending
            await child.ended()

    run(main())


@pytest.mark.parametrize("state", STATES)
def test_mail_is_taken_or_refused(tmp_path: Path, state: str) -> None:
    async def main() -> None:
        async with scene(tmp_path, state) as s:
            if state in GONE:
                with pytest.raises(KernelError, match="has ended; fork it"):
                    await s.handle.send("hear this")
                return
            await s.handle.send("hear this")
            await finish(s, s.handle)
            if s.handle.process.image == "chat" and state != "broken":
                heard = "\n".join(m.text for r in s.model.requests for m in r.messages)
                pages = s.handle.process.pages.ids()
                assert any(s.kernel.pages.get(p).text == "hear this" for p in pages), heard

    run(main())


@pytest.mark.parametrize("state", STATES)
def test_nice_is_kept_and_limited(tmp_path: Path, state: str) -> None:
    async def main() -> None:
        async with scene(tmp_path, state) as s:
            await s.kernel.renice(s.pid, 7)
            for wrong in (-21, 20):
                with pytest.raises(KernelError, match="from -20 to 19"):
                    await s.kernel.renice(s.pid, wrong)
            rows = s.kernel.store.rows("SELECT nice FROM process WHERE pid = ?", (s.pid,))
            assert rows == [(7,)]
            await finish(s, s.handle)

    run(main())


@pytest.mark.parametrize("state", STATES)
def test_close_and_reopen_lose_nothing(tmp_path: Path, state: str) -> None:
    async def main() -> None:
        model, world = GatedModel(), World()
        async with open_kernel(tmp_path, model, tools=world.tools()) as kernel:
            s = Scene(kernel, model, world)
            await STATES[state](s)
            closing = asyncio.create_task(kernel.close())
            await asyncio.sleep(0)
            world.gate.set()  # effects under way may end
            await closing
            await kernel.close()  # again: nothing happens
            assert not kernel._tasks
        model, after = GatedModel(), World()
        async with open_kernel(tmp_path, model, tools=after.tools()) as kernel:
            again = Scene(kernel, model, after, s.pid)
            if state in HALTED:
                assert again.handle.state == State.STOPPED
            assert again.handle.state != State.IN_DOUBT, "a graceful end leaves no doubt"
            ending = {"broken": "killed", "killed": "killed"}.get(state, "done")
            assert await finish(again, again.handle) == ending
        assert set((world.done + after.done).values()) <= ({1} if state in OUTSIDE else {1, 2})

    run(main())


# ---- particular moments --------------------------------------------------------------------------


def test_a_stop_before_the_first_step_can_be_continued(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_kernel(tmp_path) as k:
            p = await k.spawn("hello")
            await p.stop()
            await p.cont()
            assert await p.result() == "done"
            nothing_leaks(k)

    run(main())


def test_a_stop_while_the_intent_is_committed_leaves_no_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        world = World()
        model = ScriptedModel(calls(("fire", {"what": "x"})), "done")
        async with open_kernel(tmp_path, model, tools=world.tools()) as k:
            stopping: list[asyncio.Task[None]] = []

            def when(point: str) -> None:
                if point == "before intent":
                    stopping.append(asyncio.create_task(p.stop()))

            monkeypatch.setattr("cabinos.kernel.call.fault", when)
            p = await k.spawn("go")
            await until(k, p.pid, State.STOPPED)
            await stopping[0]
            await p.cont()
            assert await p.result() == "done"
            assert world.done == {"x": 1}

    run(main())


def test_a_stop_during_an_effect_holds_although_another_call_blocks(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(open_gate=False)
        model = ScriptedModel(calls(("fire", {"what": "x"}), ("ask", {"question": "?"})), "done")
        async with open_kernel(tmp_path, model, tools=world.tools()) as k:
            p = await k.spawn("go")
            await world.started.wait()
            await p.stop()
            world.gate.set()
            await until(k, p.pid, State.STOPPED, State.BLOCKED)
            assert p.state == State.STOPPED
            await k.answer(await asked(k, p.pid), "yes")
            assert p.state == State.STOPPED
            await p.cont()
            assert await p.result() == "done"

    run(main())


def test_cont_takes_a_stop_back_that_has_not_happened(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(open_gate=False)
        model = ScriptedModel(calls(("fire", {"what": "x"})), "done")
        async with open_kernel(tmp_path, model, tools=world.tools()) as k:
            p = await k.spawn("go")
            await world.started.wait()
            await p.stop()
            await p.cont()
            world.gate.set()
            assert await p.result() == "done"

    run(main())


def test_a_kill_of_a_tree_catches_children_that_are_being_born(tmp_path: Path) -> None:
    breed = "while True:\n    spawn(code='''\nwhile True:\n    spawn(code='sleep(100)')\n''')"

    async def main() -> None:
        async with open_kernel(tmp_path) as k:
            p = await k.spawn(code=breed)
            with k.events.subscribe() as queue:
                for _ in range(30):
                    await queue.get()
            await p.kill()
            await k.store.commit()
            assert [s for s in k.ps() if s.state != "exited"] == []
            await asyncio.sleep(0.05)
            await k.store.commit()
            assert [s for s in k.ps() if s.state != "exited"] == []

    run(main())


def test_a_kill_during_a_fork_is_not_outlived(tmp_path: Path) -> None:
    async def main() -> None:
        model = GatedModel()
        async with open_kernel(tmp_path, model) as k:
            p = await k.spawn("hello")
            forking = asyncio.create_task(p.fork(3))
            await asyncio.sleep(0)  # the children are staged, not started
            await p.kill()
            children = await forking
            assert [child.state for child in children] == [State.EXITED] * 3
            assert not k._tasks

    run(main())


def test_a_kill_reaches_a_tool_that_timed_out_at_the_same_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        world = World(open_gate=False)
        model = ScriptedModel(calls(("fire", {"what": "x"})), "done")
        async with open_kernel(tmp_path, model, tools=world.tools()) as k:
            p = await k.spawn("go")
            await world.started.wait()
            [task] = k._watchdog.deadlines
            k._watchdog.bitten.add(task)
            task.cancel()
            await p.kill()
            assert (p.process.status or {})["code"] == "killed"
            assert not k._tasks

    run(main())


def test_a_result_that_is_waited_for_ends_with_the_kernel(tmp_path: Path) -> None:
    async def main() -> None:
        k = open_kernel(tmp_path, ScriptedModel(calls(("ask", {"question": "?"}))))
        async with k:
            p = await k.spawn("go")
            await until(k, p.pid, State.BLOCKED)
            waiting = [asyncio.create_task(p.result()), asyncio.create_task(p.ended())]
            seen = [event async for event in _some(p, 1)]
            assert seen[0].kind == "ask"
            await asyncio.sleep(0)
        for task in waiting:
            with pytest.raises((KernelError, Exception), match="closed"):
                await task

    run(main(), 5)


async def _some(handle: ProcessHandle, count: int) -> AsyncIterator[Event]:
    async for event in handle.events():
        yield event
        count -= 1
        if not count:
            return


@pytest.mark.parametrize("then", ["stop", "cont", "kill"])
def test_a_stop_that_waits_for_an_effect_survives_a_crash(tmp_path: Path, then: str) -> None:
    """The file is copied while the effect is under way, as a crash would leave it."""
    copy = tmp_path / "copy"
    copy.mkdir()

    async def main() -> None:
        world = World(open_gate=False)
        model = ScriptedModel(calls(("post", {"what": "x"})), "done")
        async with open_kernel(tmp_path, model, tools=world.tools()) as k:
            p = await k.spawn("go")
            await world.started.wait()
            await p.stop()
            if then == "cont":
                await p.cont()
            if then == "kill":
                await p.kill()
            for file in tmp_path.glob("cabin.db*"):
                shutil.copy(file, copy)
            world.gate.set()
        world.gate.set()
        async with open_kernel(copy, model, tools=world.tools()) as k:
            p = k.process(p.pid)
            if then == "stop":
                assert p.state == State.STOPPED
                assert p.process.waiting == BY_PERSON
                await p.cont()
            ended = await p.ended()
            assert (ended.status or {})["code"] == ("killed" if then == "kill" else "done")

    run(main())
