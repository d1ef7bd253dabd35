"""Looking at the store without a kernel: read-only, also while one runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cabinos.kernel.asks import Asks
    from cabinos.kernel.table import ProcessTable
    from cabinos.store.database import Store
    from cabinos.store.journal import Journal
    from cabinos.store.pages import Pages

__all__ = ["View", "holder", "look"]


@dataclass(frozen=True, slots=True)
class View:
    """What there is to see; every read finds what is committed by then."""

    store: "Store"
    table: "ProcessTable"
    journal: "Journal"
    pages: "Pages"

    def asks(self) -> "Asks":
        """The questions that are open now."""
        from cabinos.kernel.asks import Asks

        return Asks(self.store)


@contextmanager
def look() -> Iterator[View]:
    """Opens the store to read. Raises StoreError, also if there is none yet."""
    from cabinos.kernel.table import ProcessTable
    from cabinos.store.database import Store
    from cabinos.store.home import store_path
    from cabinos.store.journal import Journal
    from cabinos.store.pages import Pages

    store = Store.open(store_path(), read_only=True)
    try:
        yield View(store, ProcessTable(store), Journal(store), Pages(store))
    finally:
        store.abandon()


def holder(path: Path) -> int | None:
    """The system's process id of the kernel that runs on the store at `path`, as its lock says.

    Only for people to read: whoever wants the store opens it and sees.
    """
    with suppress(OSError, ValueError):
        pid = int(Path(f"{path}.lock").read_text(encoding="utf-8").removeprefix("process "))
        if pid == os.getpid():  # a kernel that this command opened for the moment
            return None
        try:
            os.kill(pid, 0)
        except PermissionError:  # somebody else's, but alive
            return pid
        return pid
    return None
