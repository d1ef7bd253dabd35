"""The kernel as people and programs use it: open it, spawn processes, talk to them.

async with Kernel.open() as k:
p = await k.spawn("Draft replies to today's mail", tools=[send_mail])
async for event in p.events():
...
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, overload

from cabinos.kernel import births
from cabinos.kernel.asks import Ask
from cabinos.kernel.capability import Capabilities
from cabinos.kernel.driver import Driver, Model, Tool
from cabinos.kernel.errors import InvalidArguments, KernelError
from cabinos.kernel.events import Event
from cabinos.kernel.machine import Machine
from cabinos.kernel.process import Process, State
from cabinos.kernel.scheduler import QUANTUM
from cabinos.kernel.spawn import Spawn
from cabinos.kernel.syscall import SYSCALLS
from cabinos.kernel.table import Summary
from cabinos.store.database import Store
from cabinos.store.home import config_path, store_path
from cabinos.store.journal import Entry

__all__ = ["Kernel", "ProcessHandle", "Spawn"]

T = TypeVar("T")


class Kernel(Machine):
    """A running kernel on one store: an async context manager.

    `Kernel.open` recovers what was running when the last one ended.
    """

    @classmethod
    def open(
        cls,
        path: str | PathLike[str] | None = None,
        *,
        drivers: Sequence[Driver] | None = None,
        tools: Sequence[Tool] = (),
        models: Sequence[Model] = (),
        config: Mapping[str, Any] | None = None,
        policy: Literal["fair", "fifo", "priority"] = "fair",
        quantum: int = QUANTUM,
        synchronous: Literal["full", "normal"] = "full",
    ) -> Self:
        """A kernel on the store at `path` (default: the user's own); enter it to start.

        `drivers` None: all that are installed, with their sections of `config`; and that is None
        for what the user's config.toml says. With drivers, only [cabin] of `config` counts. `tools`
        and `models` come on top. Raises KernelError for a wrong configuration, StoreError and its
        kin if the store cannot be used.
        """
        if drivers is None:
            from cabinos.kernel.plugins import load_drivers, read_config

            config = read_config(config_path()) if config is None else config
            drivers = load_drivers(config)
        store = Store.open(Path(path) if path else store_path(), synchronous=synchronous)
        try:
            drivers = [*drivers, Driver("own", tools, models)]
            return cls(store, drivers, policy, quantum, (config or {}).get("cabin", {}))
        except BaseException:
            store.abandon()
            raise

    async def spawn(self, request: str = "", **options: Any) -> "ProcessHandle":
        """Starts a process on a request, or a program with `code=`; see `Spawn` for the options.

        Returns when it is on disk: whatever happens now, it will run. Raises InvalidArguments, or
        ModelError if there is no such model.
        """
        handles = await self.spawn_many([Spawn(request=request, **options)])
        return handles[0]

    async def spawn_many(self, spawns: Sequence[Spawn]) -> list["ProcessHandle"]:
        """Starts many processes with one commit."""
        processes = [births.make_process(self, s, self.capabilities(s)) for s in spawns]
        await self.store.commit()
        for process in processes:
            self.start(process)
        return [ProcessHandle(self, process.pid) for process in processes]

    def capabilities(self, spawn: Spawn) -> Capabilities:
        """What `spawn` grants; its tools become known. Raises InvalidArguments for a mere name."""
        names: frozenset[str] | None = None
        if spawn.tools is not None:
            for tool in spawn.tools:
                if isinstance(tool, Tool) and self.tools.get(tool.name) is not tool:
                    self.add_tool(tool)
            names = frozenset(t if isinstance(t, str) else t.name for t in spawn.tools)
            if unknown := [n for n in names if n not in self.tools and n not in SYSCALLS]:
                raise InvalidArguments(f"there is no tool {min(unknown)!r}.")
        return Capabilities(
            names,
            tuple(spawn.files),
            tuple(spawn.web),
            spawn.shell,
            tuple(spawn.client),
            self.secluded,
        )

    async def exec(self, code: str, **options: Any) -> Any:
        """Runs a program to its end and returns its value. Raises KernelError if it fails."""
        handle = await self.spawn(code=code, **options)
        return await handle.result()

    def process(self, pid: int) -> "ProcessHandle":
        """A process by its number. Raises NoSuchProcess."""
        return ProcessHandle(self, self.table.get(pid).pid)

    def ps(self, *, exited: bool = False) -> list[Summary]:
        """The processes there are."""
        return self.table.summaries(exited=exited)

    def open_asks(self, pid: int | None = None) -> list[Ask]:
        """What people are asked."""
        return self.asks.open(pid)

    def entries(self, pid: int | None = None) -> Iterator[Entry]:
        """The journal of a process, or of all."""
        return self.journal.entries(pid)

    async def wait(
        self, *, any_of: Sequence["ProcessHandle"] = (), all_of: Sequence["ProcessHandle"] = ()
    ) -> "ProcessHandle":
        """Waits for the first of `any_of`, or for all of `all_of`, and returns one that ended."""
        import asyncio

        tasks = {asyncio.ensure_future(handle.ended()): handle for handle in (any_of or all_of)}
        if not tasks:
            raise ValueError("wait for what?")
        when = asyncio.FIRST_COMPLETED if any_of else asyncio.ALL_COMPLETED
        try:
            done, _ = await asyncio.wait(tasks, return_when=when)
        finally:
            for task in tasks:
                task.cancel()
        return self.process(next(iter(done)).result().pid)


@dataclass(frozen=True, slots=True)
class ProcessHandle:
    """A process to talk to. It is only a number: the process lives on without it."""

    kernel: Kernel
    pid: int

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self.kernel.table.get(self.pid).state

    @property
    def process(self) -> Process:
        """All that is known of it, to look at."""
        return self.kernel.table.get(self.pid)

    async def events(self) -> AsyncIterator[Event]:
        """What happens from now on, until it has ended, or is `lost` with the kernel's end.

        Of a process that was blocked or has ended before, questions and the end come first.
        """
        with self.kernel.events.subscribe(self.pid) as queue:
            for ask in self.kernel.asks.open(self.pid):
                data = {"ask": ask.id, "about": ask.kind, "question": ask.question}
                yield self._answerable(Event(self.pid, "ask", {**data, "detail": ask.detail}))
            process = self.process
            if process.state == State.EXITED:
                value, ok = self.kernel.answer_of(process)
                status = (process.status or {}).get("code", "done" if ok else "failed")
                yield Event(self.pid, "exit", {"status": status, "text": value, "value": value})
                return
            if process.state != State.READY:
                state = {"state": process.state.value, "why": process.waiting}
                yield Event(self.pid, "state", state)
            while True:
                event = await queue.get()
                yield self._answerable(event)
                if event.kind == "exit" or event.data.get("state") == "lost":
                    return

    def _answerable(self, event: Event) -> Event:
        if event.kind != "ask":
            return event
        return replace(event, answer=self.kernel.answer)

    async def ended(self) -> Process:
        """Waits until it has ended."""
        return await self.kernel.ended(self.pid)

    @overload
    async def result(self) -> Any: ...
    @overload
    async def result(self, as_type: type[T]) -> T: ...
    async def result(self, as_type: type[Any] | None = None) -> Any:
        """Waits for its answer: text, or the value of a structured answer or a program.

        With `as_type` the value is validated as that type. Raises KernelError if it failed, was
        killed, or has stopped.
        """
        process = await self.kernel.ended(self.pid, or_stopped=True)
        if process.state != State.EXITED:
            raise KernelError(f"process {self.pid} has stopped: {process.waiting}")
        value, ok = self.kernel.answer_of(process)
        if not ok:
            raise KernelError(f"process {self.pid} {(process.status or {}).get('code')}: {value}")
        if as_type is None:
            return value
        from pydantic import TypeAdapter

        return TypeAdapter(as_type).validate_python(value)

    async def send(self, text: str) -> None:
        """A message from the user; read before its next thought."""
        self.kernel.post(self.pid, text)
        await self.kernel.store.commit()

    async def fork(self, n: int = 1, *, stay: bool = False) -> list["ProcessHandle"]:
        """`n` children that go on from here over the same pages.

        `stay`: after an answer, a child waits for the next message instead of ending.
        """
        children = [births.fork(self.kernel, self.process, stay=stay) for _ in range(n)]
        await self.kernel.store.commit()
        for child in children:
            self.kernel.start(child)
        return [ProcessHandle(self.kernel, child.pid) for child in children]

    async def kill(self, *, tree: bool = True) -> None:
        """Ends it, and with `tree` its descendants."""
        await self.kernel.kill(self.pid, tree=tree)

    async def stop(self) -> None:
        """Stops it until `cont`."""
        await self.kernel.stop(self.pid)

    async def cont(self) -> None:
        """Lets it go on."""
        await self.kernel.cont(self.pid)
