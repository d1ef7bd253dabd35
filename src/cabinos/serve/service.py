"""What all requests share: the kernel, what its processes are given, and who is being answered."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from weakref import WeakValueDictionary

from starlette.requests import Request

from cabinos.kernel.capability import Capabilities
from cabinos.kernel.kernel import Kernel
from cabinos.serve.errors import ApiError
from cabinos.serve.metrics import Metrics

__all__ = ["CABIN", "CLOSING", "Chosen", "Service", "service_of", "unless_gone"]

CLOSING = "closing"  # the state that listeners are told of when the server ends
CABIN = "cabin"  # "cabin/NAME": the model NAME with Cabin's own tools; "cabin": the default one
WAITING = 256  # answers of one model that may wait for a turn, beyond those it can serve at once

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a request's `model` means."""

    asked: str  # as the client calls it
    name: str  # as the kernel does
    cabin: bool  # with Cabin's tools


class Service:
    """One served kernel."""

    def __init__(
        self, kernel: Kernel, *, granted: Capabilities | None = None, waiting: int = WAITING
    ) -> None:
        self.kernel = kernel
        self.granted = granted or Capabilities()  # to processes with Cabin's own tools
        self.metrics = Metrics(kernel)
        self.started = time.time()
        self.closing = False
        self._waiting = waiting
        self._answering: Counter[str] = Counter()  # by model
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[Any]] = set()

    def choose(self, asked: str) -> Chosen:
        """What a model's name means. Raises ApiError if there is no such model."""
        models = self.kernel.models
        if asked in models:
            return Chosen(asked, asked, cabin=False)
        prefix, _, name = asked.partition("/")
        name = name or next(iter(models), "")
        if prefix == CABIN and name in models:
            return Chosen(asked, name, cabin=True)
        message = f"there is no model {asked!r}: GET /v1/models lists them."
        raise ApiError(404, message, code="model_not_found", param="model")

    def allowed(self, chosen: Chosen) -> dict[str, Any]:
        """What a process on this model may touch, as options of `Spawn`."""
        if not chosen.cabin:
            return {"tools": ()}
        granted = self.granted
        return {
            "tools": None if granted.tools is None else sorted(granted.tools),
            "files": granted.files,
            "web": granted.web,
            "shell": granted.shell,
        }

    @asynccontextmanager
    async def place(self, model: str, count: int = 1) -> AsyncIterator[None]:
        """Room for `count` answers of a model. Raises ApiError if too many wait already."""
        self.require_open()
        if self._answering[model] + count > self.kernel.model(model).slots + self._waiting:
            raise ApiError(
                429,
                f"{self._answering[model]} answers of {model} wait already: try again later.",
                code="rate_limit_exceeded",
                headers={"retry-after": "1"},
            )
        self._answering[model] += count
        try:
            yield
        finally:
            self._answering[model] -= count

    @asynccontextmanager
    async def alone(self, pid: int) -> AsyncIterator[None]:
        """Nobody else begins to speak with the process meanwhile."""
        lock = self._locks.setdefault(pid, asyncio.Lock())
        async with lock:
            yield

    def later(self, work: Coroutine[Any, Any, Any]) -> None:
        """Does something in the background, and by the end at the latest."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def require_open(self) -> None:
        """Raises ApiError if nothing new is begun."""
        if self.closing:
            raise closing()
        if self.kernel.store.failure is not None:
            raise self.kernel.store.failure

    def close(self) -> None:
        """Tells everybody who waits for an answer that there will be none. Processes live on."""
        self.closing = True
        self.kernel.events.tell_all("state", state=CLOSING, why="the server is shutting down")

    async def finish(self) -> None:
        """Waits for what is done in the background."""
        if self._tasks:
            await asyncio.wait(self._tasks)


def closing() -> ApiError:
    """What clients are told when the server ends."""
    return ApiError(503, "the server is shutting down.", code="shutting_down")


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    return cast(Service, request.app.state.service)


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Does the work, or breaks it off when the client goes away and raises CancelledError."""
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ApiError(499, "the client went away.")
        return task.result()
    finally:
        for waiting in (task, watch):
            waiting.cancel()
        await asyncio.wait({task, watch})


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
