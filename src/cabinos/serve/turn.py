"""A turn: a process answers, and a client follows.

The process is the kernel's: it queues, pays, is journalled and survives like every other. The turn
only listens. When the client goes away, its process is stopped, or killed if nobody could go on.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cabinos.kernel.errors import KernelError
from cabinos.kernel.events import Event
from cabinos.kernel.kernel import ProcessHandle
from cabinos.kernel.process import Process, State
from cabinos.serve.errors import NEVER_AGAIN, ApiError, of_kernel
from cabinos.serve.service import CLOSING, Service, closing
from cabinos.store.errors import StoreError

__all__ = ["Called", "Said", "Turn", "Usage", "said"]

QUIET = 15.0  # seconds after which a stream shows that it is alive


@dataclass(frozen=True, slots=True)
class Called:
    """A call in a thought. Ids are unique among all processes."""

    id: str
    name: str
    arguments: str  # JSON, or what the model wrote in its place
    by_client: bool = False  # it is the client that makes it


@dataclass(frozen=True, slots=True)
class Said:
    """A complete thought."""

    text: str
    calls: tuple[Called, ...]
    cut: bool  # at max_tokens
    label: str = "trusted"


@dataclass(slots=True)
class Usage:
    """Tokens of all thoughts of a turn."""

    input: int = 0
    cached: int = 0
    output: int = 0


class Turn:
    """Follows a process from now until it has answered; made before the process is set going.

    `stays`: the process waits for more after its answer; being idle ends the turn, and a client
    that goes away only stops it.
    """

    def __init__(self, service: Service, handle: ProcessHandle, *, stays: bool) -> None:
        self.handle = handle
        self.pid = handle.pid
        self.usage = Usage()
        self.ended = False
        self._service = service
        self._stays = stays
        self._subscription = handle.kernel.events.subscribe(handle.pid)
        self._queue = self._subscription.__enter__()

    async def events(self) -> AsyncGenerator[Event | None]:
        """What happens, until it has ended; None when nothing has happened for a while.

        Raises ApiError if there is no answer.
        """
        while not self.ended:
            try:
                async with asyncio.timeout(QUIET):
                    event = await self._queue.get()
            except TimeoutError:
                yield None
                continue
            if event.kind == "thought":
                self.usage.input += event.data.get("in", 0)
                self.usage.cached += event.data.get("cached", 0)
                self.usage.output += event.data.get("out", 0)
            self._check(event)
            if not self.ended:
                yield event
        await self.handle.kernel.store.commit()

    def leave(self) -> None:
        """Stops listening; if there is no answer yet, nobody wants it any more."""
        self._subscription.__exit__()
        process = self.handle.process
        gone = process.state == State.EXITED
        if not self._service.closing and not gone and (not self.ended or not self._stays):
            self._service.later(self._abandon())

    async def _abandon(self) -> None:
        kernel = self.handle.kernel
        with suppress(KernelError, StoreError):
            if self._stays or self.handle.process.capabilities.tools != frozenset():
                await kernel.stop(self.pid, "its client went away")
            else:
                await kernel.kill(self.pid)

    def _check(self, event: Event) -> None:
        """Whether this ends the turn; raises ApiError if it ends badly."""
        if event.kind == "exit":
            self.ended = True
            if event.data["status"] == "failed":
                raise of_kernel(event.data["error"], event.data["text"])
            if event.data["status"] != "done":
                raise self._ended_by_person("was killed")
        elif event.kind == "state":
            state, why = event.data["state"], event.data["why"]
            if state == CLOSING:  # the process goes on when there is a kernel again
                raise closing()
            if state in ("stopped", "lost"):
                self.ended = True
                if error := event.data.get("error"):
                    raise of_kernel(error, why)
                raise self._ended_by_person(f"was stopped: {why}")
            self.ended = self._stays and is_idle(self.handle.process)

    def _ended_by_person(self, how: str) -> ApiError:
        message = f"process {self.pid} {how}."
        return ApiError(409, message, code="process_stopped", headers=NEVER_AGAIN)


def is_idle(process: Process) -> bool:
    """Whether it waits for nothing but its client: a message, results of calls, an answer."""
    if process.state not in (State.BLOCKED, State.IN_DOUBT):
        return process.state in (State.STOPPED, State.EXITED)
    records = process.pending["calls"].values()
    waits = [record for record in records if record.get("s") != "done"]
    return all(_by_client(record) for record in waits)


def _by_client(record: dict[str, Any]) -> bool:
    inner = record.get("inner", record)
    return record["n"] == "recv" or "client" in record or "ask" in inner or "doubt" in inner


def said(handle: ProcessHandle, page_id: int) -> Said:
    """The thought that a page holds; a plan is nothing that was said."""
    page = handle.kernel.pages.get(page_id)
    meta = json.loads(page.meta) if page.meta else {}
    if meta.get("plan"):
        return Said("", (), cut=False)
    every, theirs = handle.process.image_state.get("hand_back"), meta.get("client", ())
    calls = tuple(
        Called(
            f"call_{handle.pid}_{call}",
            name,
            raw if arguments is None else json.dumps(arguments, ensure_ascii=False),
            bool(every) or call in theirs,
        )
        for call, name, arguments, raw in meta.get("calls", ())
    )
    return Said(page.text, calls, meta.get("finish") == "length", page.label)
