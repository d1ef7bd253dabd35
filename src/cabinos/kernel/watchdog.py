"""Tools under way: none runs for ever, and a stop waits for those that act on the world."""

import asyncio
import time
from collections import Counter
from typing import Any

from cabinos.kernel.errors import ToolError

__all__ = ["Acting", "Watchdog"]


class Acting:
    """A tool under way. Written out since a thousand of them run at once."""

    __slots__ = ("_count", "_outside", "_pid", "_seconds", "_task", "_watchdog")

    def __init__(
        self, count: Counter[int], watchdog: "Watchdog", pid: int, outside: bool, seconds: float
    ) -> None:
        self._count, self._watchdog = count, watchdog
        self._pid, self._outside = pid, outside
        self._seconds = seconds

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._watchdog.deadlines[task] = time.monotonic() + self._seconds
        if self._outside:
            self._count[self._pid] += 1

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        del self._watchdog.deadlines[self._task]
        if self._outside:
            self._count[self._pid] -= 1
        if self._task in self._watchdog.bitten:
            self._watchdog.bitten.discard(self._task)
            if self._task.uncancel() == 0 and kind is asyncio.CancelledError:
                raise ToolError(f"it took longer than {self._seconds:g} s.")
        elif kind is asyncio.CancelledError and not self._task.cancelling():
            raise ToolError("it was broken off from inside.")


class Watchdog:
    """Cancels what takes too long: one timer for all tools instead of one for each."""

    PERIOD = 1.0  # seconds

    def __init__(self) -> None:
        self.deadlines: dict[asyncio.Task[Any], float] = {}
        self.bitten: set[asyncio.Task[Any]] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """Stops looking."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self.PERIOD)
            now = time.monotonic()
            for task, deadline in list(self.deadlines.items()):
                if now > deadline and task not in self.bitten:
                    self.bitten.add(task)
                    task.cancel()
