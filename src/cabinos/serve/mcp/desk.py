"""The kernel as a server's tools reach it, whoever runs it: orders to it, and a view of its store.

One kernel writes a store, and it may be another program's. So whatever is to be done is left as an
order (`kernel.control`). Where no kernel runs, one is opened here, and let go of when nobody is at
work, so that other commands find the store free while a client only stays connected.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cabinos.kernel.asks import Asks
from cabinos.kernel.capability import Capabilities
from cabinos.kernel.control import order, outcome, withdraw
from cabinos.kernel.errors import KernelError
from cabinos.kernel.kernel import Kernel
from cabinos.kernel.table import ProcessTable
from cabinos.store.database import Store
from cabinos.store.errors import StoreBusy
from cabinos.store.journal import Journal
from cabinos.store.pages import Pages

__all__ = ["Desk", "View"]

PATIENCE = 20.0  # seconds that a kernel has to take an order
GLANCE = 0.03  # seconds between two looks
RETRY = 1.0  # seconds between two tries to open a kernel in the place of one that ended
LINGER = 2.0  # seconds that a kernel is kept after the last one at work
SOON = 60.0  # seconds: whoever sleeps no longer than that is at work

AT_WORK = "SELECT count(*) FROM process WHERE state = 'ready' OR (state = 'blocked' AND wake < ?)"


@dataclass(frozen=True, slots=True)
class View:
    """What is committed."""

    store: Store
    table: ProcessTable
    journal: Journal
    pages: Pages

    def asks(self) -> Asks:
        """The questions that are open now."""
        return Asks(self.store)


class Desk:
    """Where orders are left, as an async context manager.

    `config` is that of a kernel opened here; `model` the brain of new processes (None: its first);
    `granted` what they may touch. `private`: clients may be told what is for this machine alone.
    Entering opens a kernel if none runs, and raises what that raises: KernelError for a wrong
    configuration, StoreError.
    """

    def __init__(
        self,
        path: Path,
        config: Mapping[str, Any],
        *,
        model: str | None = None,
        granted: Capabilities | None = None,
        private: bool = False,
    ) -> None:
        self.model = model
        self.private = private
        self.granted = granted or Capabilities()
        self._path = path
        self._config = config
        self._door = asyncio.Lock()  # between opening a kernel and letting it go
        self._kernel: Kernel | None = None
        self._orders = 0  # under way
        self._tidying: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._attend()
        self._tidying = asyncio.create_task(self._tidy())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._tidying is not None:
            self._tidying.cancel()
            await asyncio.wait([self._tidying])
        await self._let_go()

    # ---- reading and ordering --------------------------------------------------------------------

    @contextmanager
    def look(self) -> Iterator[View]:
        """What is committed now. Raises StoreError."""
        store = Store.open(self._path, read_only=True)
        try:
            yield View(store, ProcessTable(store), Journal(store), Pages(store))
        finally:
            store.abandon()

    async def order(self, verb: str, **body: Any) -> int:
        """Has the kernel do something; returns the pid it was about.

        Raises KernelError if it refuses, or nobody takes the order within PATIENCE.
        """
        self._orders += 1
        try:
            return await self._carried_out(verb, body)
        finally:
            self._orders -= 1

    async def _carried_out(self, verb: str, body: Mapping[str, Any]) -> int:
        await self._attend()
        with self.look() as view:
            after = view.store.rows("SELECT coalesce(max(seq), 0) FROM journal")[0][0]
        number = order(self._path, verb, **body)
        began = tried = time.monotonic()
        while (now := time.monotonic()) - began < PATIENCE:
            with self.look() as view:
                pid = outcome(view.journal, number, after)
            if pid is not None:
                return pid
            if now - tried > RETRY:  # whoever had the store may have gone
                tried = now
                await self._attend()
            await asyncio.sleep(GLANCE)
        if withdraw(self._path, number):
            raise KernelError(
                f"the kernel did not take the order {verb!r} in {PATIENCE:g} s; it was withdrawn."
            )
        raise KernelError(f"the kernel was busy for too long with {verb!r}; see `cabin log`.")

    # ---- a kernel of its own ---------------------------------------------------------------------

    async def _attend(self) -> None:
        """Sees to it that a kernel runs: another program's, or one opened here."""
        async with self._door:
            if self._kernel is None:
                with suppress(StoreBusy):
                    Store.open(self._path).abandon()  # quicker than to load devices in vain
                    kernel = Kernel.open(self._path, config=self._config)
                    self._kernel = await kernel.__aenter__()

    async def _tidy(self) -> None:
        """Lets the kernel go once nobody has been at work for a while."""
        rested = time.monotonic()
        while True:
            await asyncio.sleep(LINGER / 4)
            if self._kernel is None or self._orders or self._at_work(self._kernel):
                rested = time.monotonic()
            elif time.monotonic() - rested > LINGER:
                await self._let_go(unless_needed=True)

    def _at_work(self, kernel: Kernel) -> bool:
        return bool(kernel.store.rows(AT_WORK, (time.time() + SOON,))[0][0])

    async def _let_go(self, *, unless_needed: bool = False) -> None:
        async with self._door:
            if self._kernel is not None and not (unless_needed and self._orders):
                kernel, self._kernel = self._kernel, None
                await kernel.close()
