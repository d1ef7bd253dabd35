"""Reminders that are due reach whoever is there.

While a kernel runs, an event tells of each reminder that is due and that nobody has been told of:
at the start for those that fell due meanwhile, then at their time. Whoever shows one to a person
says so with `told`; until then, the next kernel tells of it again.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cabinos.store.errors import StoreError

if TYPE_CHECKING:
    from cabinos.kernel.machine import Machine
    from cabinos.store.database import Store

__all__ = ["Reminders", "told"]

LONG = 86_400.0  # seconds of one timer at most: clocks are set, and machines sleep
log = logging.getLogger("cabinos.kernel")


def told(store: "Store", number: int) -> None:
    """Notes that a person has been told of a reminder."""
    store.write("UPDATE note SET told = ? WHERE id = ?", (time.time(), number))


class Reminders:
    """Emits `reminder` events on the kernel that it observes."""

    def __init__(self) -> None:
        self._machine: Machine | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._emitted: set[int] = set()

    def observe(self, machine: "Machine") -> Callable[[], None]:
        """Begins, and returns how it ends."""
        self._machine = machine
        self._emitted.clear()
        self.expect(0.0)
        return self._end

    def _end(self) -> None:
        self._machine = None
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def expect(self, due: float) -> None:
        """Looks again when a reminder of this time is due, or sooner."""
        if self._machine is None:
            return
        loop = asyncio.get_running_loop()
        delay = min(max(0.0, due - time.time()), LONG)
        if self._timer is None or self._timer.when() > loop.time() + delay:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_later(delay, self._begin)

    def _begin(self) -> None:
        self._timer = None
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        """Tells of what is due, and waits for what is next."""
        machine = self._machine
        if machine is None:
            return
        try:
            rows = await machine.store.read(
                "SELECT id, text, due FROM note WHERE due IS NOT NULL AND told IS NULL "
                "AND done IS NULL ORDER BY due, id"
            )
        except StoreError:  # the kernel ends with it
            return
        for number, text, due in rows:
            if number in self._emitted:
                continue
            if due > time.time():
                self.expect(due)
                break
            self._emitted.add(number)
            machine.events.emit(0, "reminder", note=number, text=text, due=due)
