"""Events: what people and programs see of a running process. Nobody's state depends on them."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

__all__ = ["Event", "Events", "Kind", "Listener"]

# text      a piece of an answer as it comes          {"text", "label"}
# retry     forget the text of this answer: the model is asked again   {"reason"}
# call      a tool is called                          {"id", "name", "arguments"}
# result    and has answered                          {"id", "name", "text", "ok"}
# thought   a thought is complete                     {"page", "finish", and what it cost}
# ask       a person is asked                        {"ask", "about", "question", "detail"}
# fault     pages were evicted or recalled            {"action", "pages"}
# state     blocked, stopped, in doubt or ready again {"state", "why"}; stopped or lost: {"error"}
# exit      it has ended                              {"status", "text", "value", "error", "note"}
# reminder  of no process (pid 0): a person is to be told   {"note", "text", "due"}
Kind = Literal[
    "text", "retry", "call", "result", "thought", "ask", "fault", "state", "exit", "reminder"
]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a process."""

    pid: int
    kind: Kind
    data: dict[str, Any] = field(default_factory=dict)
    answer: Callable[[int, str], Awaitable[Any]] | None = field(default=None, compare=False)

    async def approve(self) -> None:
        """Answers an `ask`: yes, this once, with these very arguments."""
        await self.reply("approved")

    async def deny(self) -> None:
        """Answers an `ask`: no."""
        await self.reply("denied")

    async def reply(self, answer: str) -> None:
        """Answers an `ask` in words. Raises KernelError if it has been answered."""
        if self.answer is None:
            raise TypeError(f"a {self.kind!r} event cannot be answered")
        await self.answer(self.data["ask"], answer)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.data[name]
        except KeyError:
            raise AttributeError(name) from None


class Listener(Protocol):
    """Something that is told of events, as a queue is."""

    def put_nowait(self, event: Event, /) -> None:
        """Takes an event."""


class Events:
    """Hands events to those who listen. One who does not read holds memory, never the kernel."""

    def __init__(self) -> None:
        self._listeners: defaultdict[int | None, set[Listener]] = defaultdict(set)

    def emit(self, pid: int, kind: Kind, **data: Any) -> None:
        """Tells all listeners of this process, and of all."""
        if not self._listeners:
            return
        event = Event(pid, kind, data)
        for key in (pid, None):
            for queue in self._listeners.get(key, ()):
                queue.put_nowait(event)

    def attach(self, listener: "Listener") -> None:
        """Lets a listener hear of all events, each as it happens. It must not raise."""
        self._listeners[None].add(listener)

    def detach(self, listener: "Listener") -> None:
        """Ends that."""
        self._listeners[None].discard(listener)
        if not self._listeners[None]:
            del self._listeners[None]

    def tell_all(self, kind: Kind, **data: Any) -> None:
        """Tells every listener something that is about all processes."""
        for pid, queues in self._listeners.items():
            for queue in queues:
                queue.put_nowait(Event(pid or 0, kind, data))

    def subscribe(self, pid: int | None = None) -> "Subscription":
        """A queue of the events of one process, or of all; leave the block to end it."""
        return Subscription(self._listeners, pid)


class Subscription:
    """A listener, as a context manager: `with events.subscribe(pid) as queue`."""

    def __init__(self, listeners: defaultdict[int | None, set[Listener]], pid: int | None) -> None:
        self._listeners = listeners
        self._pid = pid
        self.queue: asyncio.Queue[Event] = asyncio.Queue()

    def __enter__(self) -> asyncio.Queue[Event]:
        self._listeners[self._pid].add(self.queue)
        return self.queue

    def __exit__(self, *_: object) -> None:
        group = self._listeners[self._pid]
        group.discard(self.queue)
        if not group:
            del self._listeners[self._pid]
