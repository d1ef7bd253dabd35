"""A kernel in a thread of its own, so that the main thread belongs to the person.

There Ctrl-C and reading a line are ordinary Python, and the kernel goes on meanwhile: other
processes, timers and orders do not wait until somebody has typed.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self, TypeVar

from cabinos.cli.bell import Bell
from cabinos.cli.errors import Failure
from cabinos.cli.interrupt import control_c_waits
from cabinos.cli.terminal import note
from cabinos.render.answer import rendered

if TYPE_CHECKING:
    from cabinos.kernel.asks import Ask
    from cabinos.kernel.driver import Driver
    from cabinos.kernel.events import Event
    from cabinos.kernel.kernel import Kernel, Spawn
    from cabinos.render.answer import Origin

__all__ = ["EVERYBODY", "Feed", "Session", "open_session"]

NO_BRAIN = (
    "there is no model to think with. Put a chat model (a GGUF file) into {folder}, or point "
    "CABIN_MODEL at one; or name a server's model in {config}: see `cabin doctor`."
)
EVERYBODY = 0  # to follow: no process has this number
T = TypeVar("T")
Feed = queue.SimpleQueue["Event | BaseException"]  # what a process and its descendants do


class Session:
    """A running kernel to be used from the main thread, as a context manager.

    `config` None: without devices and models. `idle`: nobody runs, processes can be changed.
    `follow`: a process that `feed` tells of from the first moment, or EVERYBODY. Entering raises
    what `Kernel.open` raises, and NoSuchProcess.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | None,
        *,
        model: str | None = None,
        idle: bool = False,
        follow: int | None = None,
    ) -> None:
        self.model = model  # the brain of new processes
        self.own = follow or None  # the process that the command is about
        self._config = config
        self._idle = idle
        self._follow = follow
        self.feed: Feed = queue.SimpleQueue()
        self._ready: Future[None] = Future()
        self._error: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()  # the loop keeps only weak references
        self._thread = threading.Thread(target=self._run, name="cabin-kernel", daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self._over: asyncio.Event
        self.kernel: Kernel
        self.bell: Bell

    def __enter__(self) -> Self:
        _tell_warnings()
        self._thread.start()
        self._ready.result()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        if self._error is not None and kind is None:
            raise self._error

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        from cabinos.kernel.kernel import Kernel

        try:
            # Of [cabin] not the model: what is the brain was chosen before.
            larger = {
                k: v for k, v in (self._config or {}).get("cabin", {}).items() if k != "model"
            }
            devices = [] if self._config is None else _devices(self._config)
            kernel = Kernel.open(drivers=devices, config={"cabin": larger})
            self.kernel, kernel.idle = kernel, self._idle
            self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
            self._begin_to_follow()
            self.bell = Bell(kernel.store)
            kernel.events.attach(self.bell)
            async with kernel:
                self._ready.set_result(None)
                await self._over.wait()
        except BaseException as error:  # noqa: BLE001 - it belongs to the main thread
            if self._ready.done():
                self._error = error
            else:
                self._ready.set_exception(error)

    def _begin_to_follow(self) -> None:
        if self._follow is None:
            return
        try:
            self.feed = self._watch(self._follow or None)
        except BaseException:
            self.kernel.store.abandon()
            raise

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work` in the kernel's thread and returns what it returns, or raises."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    # ---- processes -------------------------------------------------------------------------------

    def require_brain(self) -> None:
        """Raises Failure if there is no model."""
        from cabinos.store.home import cabin_home, config_path

        if not self.kernel.models:
            raise Failure(NO_BRAIN.format(folder=cabin_home() / "models", config=config_path()))

    def spawn(self, spawn: "Spawn") -> tuple[int, Feed]:
        """Starts a process, its own; returns its pid and everything it does from the beginning.

        Ctrl-C waits until the pid is known: what is in the store would go on with the next kernel.
        """

        async def start() -> tuple[int, Feed]:
            (handle,) = await self.kernel.spawn_many([spawn])
            return handle.pid, self._watch(handle.pid)

        with control_c_waits():
            self.own, feed = self.do(start())
        return self.own, feed

    def stop(self, pid: int) -> None:
        """Stops a process and waits until it has stopped, or has ended."""

        async def stopped() -> None:
            handle = self.kernel.process(pid)
            with self.kernel.events.subscribe(pid) as events:
                await handle.stop()
                while handle.state not in ("stopped", "exited"):
                    await events.get()
            await self.kernel.store.commit()

        self.do(stopped())

    def fork(self, pid: int) -> int:
        """A child that goes on from where a process is, and stays to be talked to."""

        async def make() -> int:
            (child,) = await self.kernel.process(pid).fork(stay=True)
            return child.pid

        return self.do(make())

    def say(self, pid: int, text: str) -> None:
        """Sends a person's message, and lets a stopped process go on with it."""

        async def send() -> None:
            handle = self.kernel.process(pid)
            await handle.send(text)
            if handle.state == "stopped":
                await handle.cont()

        self.do(send())

    def last_conversation(self) -> int:
        """The newest conversation that has not ended. Raises Failure if there is none."""
        found = self.kernel.store.rows(
            "SELECT max(pid) FROM process WHERE image = 'chat' AND state != 'exited' "
            "AND json_extract(image_state, '$.stay')"
        )
        if found[0][0] is None:
            raise Failure("there is no conversation to go on with: `cabin chat` begins one.")
        return int(found[0][0])

    def last_words(self, pid: int) -> list[tuple[str, str]]:
        """(role, text) of the last message and the last answer of a conversation, to be shown."""
        origin = self.origin(pid)

        async def read() -> list[tuple[str, str]]:
            said: dict[str, str] = {}
            for number, _, _ in self.kernel.table.get(pid).pages:
                page = self.kernel.pages.get(number)
                if page.role in ("user", "assistant") and page.text:
                    text = page.text
                    if origin is not None and page.label == "untrusted":
                        text, _ = rendered(text, origin)
                    said[page.role] = text
            return [(role, said[role]) for role in ("user", "assistant") if role in said]

        return self.do(read())

    def origin(self, pid: int, label: str = "") -> "Origin | None":
        """What a process's words may be made of; None if they are its own.

        `label`: of these words, if it is not that of all that it has read by now.
        """
        if label == "trusted":
            return None

        async def read() -> "Origin | None":
            from cabinos.render.process import origin

            process = self.kernel.table.get(pid)
            return None if process.label == "trusted" else origin(self.kernel, process)

        return self.do(read())

    def watch(self, pid: int) -> Feed:
        """What a process and its descendants do from now on. Raises NoSuchProcess."""

        async def start() -> Feed:
            return self._watch(pid)

        return self.do(start())

    def tell_present(self, pid: int, feed: Feed) -> None:
        """Puts the open questions of a process, and its state, into a feed of it."""

        async def put() -> None:
            for event in self._present(pid):
                feed.put(event)

        self.do(put())

    def next_event(self, feed: Feed, patience: float) -> "Event | None":
        """What comes next, None if nothing does for so many seconds. Raises StoreFailed."""
        if self.kernel.store.failure is not None:
            raise self.kernel.store.failure
        try:
            event = feed.get(timeout=patience)
        except queue.Empty:
            return None
        if isinstance(event, BaseException):
            raise event
        return event

    def at_rest(self) -> bool:
        """Whether no process can go on by itself."""

        async def look() -> bool:
            await self.kernel.store.commit()
            return not self._going("1")

        return self.do(look())

    def asks(self, pid: int) -> "list[Ask]":
        """The open questions of a process."""

        async def look() -> "list[Ask]":
            return self.kernel.open_asks(pid)

        return self.do(look())

    def open_asks(self) -> set[int]:
        """The numbers of the questions that are open now."""

        async def read() -> set[int]:
            return {ask.id for ask in self.kernel.open_asks()}

        return self.do(read())

    def _watch(self, pid: int | None) -> Feed:
        feed: Feed = queue.SimpleQueue()
        table = self.kernel.table
        root = None if pid is None else table.get(pid).root
        stack = ExitStack()
        events = stack.enter_context(self.kernel.events.subscribe())

        async def pump() -> None:
            with stack:
                while True:
                    event = await events.get()
                    if event.kind == "reminder":  # the bell tells of it
                        continue
                    if not event.pid:  # the kernel itself has ended
                        return
                    if root is None or table.get(event.pid).root == root:
                        feed.put(event)

        self._background(pump())
        if pid is not None:
            self._background(self._report_failure(pid, feed))
        return feed

    async def _report_failure(self, pid: int, feed: Feed) -> None:
        """A store that fails stops the kernel without an event: whoever waits must hear of it."""
        try:
            await self.kernel.ended(pid)
        except Exception as error:  # noqa: BLE001 - the main thread raises it
            feed.put(error)

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _going(self, which: str, parameters: tuple[int, ...] = ()) -> bool:
        """Whether one of the processes for which an SQL condition holds can go on by itself."""
        query = (
            f"SELECT count(*) FROM process WHERE {which} AND "
            "(state = 'ready' OR (state = 'blocked' AND wake IS NOT NULL))"
        )
        return bool(self.kernel.store.rows(query, parameters)[0][0])

    def _present(self, pid: int) -> "list[Event]":
        """The open questions of a process's tree, and its state unless it is ready."""
        from cabinos.kernel.events import Event
        from cabinos.kernel.process import State

        kernel, process = self.kernel, self.kernel.table.get(pid)
        events = []
        for ask in kernel.open_asks():
            if kernel.table.get(ask.pid).root == process.root:
                data = {"ask": ask.id, "about": ask.kind, "question": ask.question}
                events.append(Event(ask.pid, "ask", {**data, "detail": ask.detail}))
        if process.state == State.EXITED:
            value, _ = kernel.answer_of(process)
            text = kernel.pages.get(process.result).text if process.result is not None else ""
            code = (process.status or {}).get("code", "")
            events.append(Event(pid, "exit", {"status": code, "text": text, "value": value}))
        elif process.state != State.READY:
            state = {"state": process.state.value, "why": process.waiting}
            events.append(Event(pid, "state", state))
        return events

    def at_end(self, pid: int, feed: Feed) -> bool:
        """Whether a process rests and all that it did before is in the feed, and read."""

        async def look() -> bool:
            resting = self.kernel.table.get(pid).state != "ready"
            for _ in range(3):  # whoever fills the feed has its turn
                await asyncio.sleep(0)
            return resting and feed.empty()

        return self.do(look())

    def waits_for_person(self, pid: int) -> bool:
        """Whether nothing of a process's tree can go on before a person has answered."""

        async def look() -> bool:
            kernel = self.kernel
            await kernel.store.commit()
            root = kernel.table.get(pid).root
            asked = any(kernel.table.get(ask.pid).root == root for ask in kernel.open_asks())
            return asked and not self._going("root = ?", (root,))

        return self.do(look())


def open_session(
    model: str | None = None, *, idle: bool = False, follow: int | None = None
) -> Session:
    """A session with everything that is installed and configured; enter it to start.

    `model`: the brain of new processes; the rest as in `Session`. Raises KernelError for a wrong
    configuration.
    """
    from cabinos.drivers.model.brain import choose_brain
    from cabinos.kernel.plugins import read_config
    from cabinos.store.home import config_path

    config, name = choose_brain(read_config(config_path()), model)
    return Session(config, model=name, idle=idle, follow=follow)


def _devices(config: Mapping[str, Any]) -> "list[Driver]":
    """All that are installed. Raises Failure, naming the file, for what one of them refuses."""
    from cabinos.kernel.errors import KernelError
    from cabinos.kernel.plugins import load_drivers
    from cabinos.store.home import config_path

    try:
        return load_drivers(config)
    except KernelError as error:
        path = config_path()
        raise Failure(f"{path}: {error}" if path.exists() else str(error)) from error


def _tell_warnings() -> None:
    """The kernel's warnings as single lines on stderr."""
    log = logging.getLogger("cabinos")
    if not log.handlers:
        log.addHandler(_OneLine())
        log.propagate = False


class _OneLine(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.CRITICAL:  # a failed store: the command ends with that error
            return
        error = record.exc_info[1] if record.exc_info else None
        reason = f": {type(error).__name__}: {error}" if error is not None else ""
        note(f"cabin: {record.levelname.lower()}: {record.getMessage()}{reason}", dim=False)
