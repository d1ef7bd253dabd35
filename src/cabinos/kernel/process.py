"""The process: a row. Not a coroutine, not a thread.

Whatever a process is stands in the fields below, and each commit writes them whole; so suspending,
forking, killing, swapping, migrating and recovering it are operations on a row. A task exists only
while it thinks or acts. A blocked process is not even in memory, unless a descendant of it is.
"""

import json
import sys
import time
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cabinos.kernel.budget import Account
from cabinos.kernel.capability import Capabilities
from cabinos.kernel.driver import Integrity, Message
from cabinos.kernel.labels import ANYWHERE, Label
from cabinos.kernel.monitor import Guard
from cabinos.store.encode import to_json

if TYPE_CHECKING:
    from cabinos.store.database import Statement

__all__ = ["PageTable", "Process", "State"]

STUB = 1 << 31  # swapped out: a line stands for it
PINNED = 1 << 30  # never swapped out
PAGE_ID = PINNED - 1

COLUMNS = (
    "pid, parent, root, state, title, image, model, nice, interactive, capabilities, created, "
    "image_state, pages, step, pending, label, account, waiting, wake, ended, status, result, guard"
)
WRITE = f"REPLACE INTO process ({COLUMNS}) VALUES ({', '.join('?' * 23)})"


@lru_cache(1000)
def _granted(capabilities: Capabilities) -> str:
    """Capabilities as JSON: many processes have the same."""
    return to_json(capabilities.to_json())


class State(StrEnum):
    """Where a process is in its life."""

    READY = "ready"  # runs, or waits for its turn
    BLOCKED = "blocked"  # waits for a person, a process, a message or the clock
    STOPPED = "stopped"  # until somebody says `cont`
    IN_DOUBT = "in_doubt"  # an effect may or may not have happened: a person decides
    EXITED = "exited"


class PageTable:
    """Which pages a process sees, in order; each resident or swapped out, some pinned."""

    __slots__ = ("_entries",)

    def __init__(self, data: bytes = b"") -> None:
        self._entries = array("I", data)
        if sys.byteorder == "big":
            self._entries.byteswap()

    def to_bytes(self) -> bytes:
        """4 bytes a page, little endian on every machine."""
        if sys.byteorder == "big":
            swapped = array("I", self._entries)
            swapped.byteswap()
            return swapped.tobytes()
        return self._entries.tobytes()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[tuple[int, bool, bool]]:
        """(page id, swapped out, pinned) in order."""
        for entry in self._entries:
            yield entry & PAGE_ID, bool(entry & STUB), bool(entry & PINNED)

    def append(self, page_id: int, *, stub: bool = False, pinned: bool = False) -> None:
        """Maps a page at the end."""
        self._entries.append(page_id | (STUB if stub else 0) | (PINNED if pinned else 0))

    def evict(self, index: int) -> None:
        """Swaps the page at `index` out."""
        self._entries[index] |= STUB

    def pin(self, page_id: int, *, pinned: bool = True) -> bool:
        """Pins a page wherever it is mapped, or lets it go; False if it is not mapped."""
        found = False
        for index, entry in enumerate(self._entries):
            if entry & PAGE_ID == page_id:
                self._entries[index] = entry | PINNED if pinned else entry & ~PINNED
                found = True
        return found

    def replace(self, index: int, page_id: int) -> None:
        """Maps another page at `index`, resident, with the pin of the one before."""
        self._entries[index] = page_id | (self._entries[index] & PINNED)

    def exchange(self, index: int, page_id: int) -> None:
        """Maps another page at `index`, swapped out or pinned as the one before."""
        self._entries[index] = page_id | (self._entries[index] & ~PAGE_ID)

    def head(self, length: int) -> "PageTable":
        """The first `length` pages, as a table of its own."""
        return PageTable(self.to_bytes()[: 4 * length])

    def ids(self) -> set[int]:
        """The pages mapped, resident or not."""
        return {entry & PAGE_ID for entry in self._entries}


@dataclass(slots=True, eq=False, weakref_slot=True)
class Process:
    """One process. Only the kernel's event loop touches it, and only it writes the row."""

    pid: int
    parent: int | None
    root: int
    title: str
    image: str
    model: str
    capabilities: Capabilities
    nice: int = 0
    interactive: bool = False
    created: float = field(default_factory=time.time)

    state: State = State.READY
    image_state: dict[str, Any] = field(default_factory=dict)
    pages: PageTable = field(default_factory=PageTable)
    step: int = 0
    pending: dict[str, Any] = field(default_factory=dict)
    label: Integrity = "trusted"
    account: Account = field(default_factory=Account)
    waiting: str | None = None
    wake: float | None = None
    ended: float | None = None
    status: dict[str, Any] | None = None
    result: int | None = None
    guard: Guard = field(default_factory=Guard)

    # Not stored: what follows from the row.
    above: "Process | None" = None  # the parent, so that a budget's lineage stays in memory
    resident_tokens: int = -1  # of the resident pages; -1: not counted yet
    messages: list[Message] | None = None  # of the resident pages; None: not assembled yet

    def row(self) -> "Statement":
        """The statement that writes it; see `store/schema.sql` for the columns."""
        status = None if self.status is None else to_json(self.status)
        return WRITE, (
            self.pid, self.parent, self.root, self.state.value, self.title, self.image, self.model,
            self.nice, int(self.interactive), _granted(self.capabilities), self.created,
            to_json(self.image_state), self.pages.to_bytes(), self.step, to_json(self.pending),
            self.label, to_json(self.account.to_json()), self.waiting, self.wake, self.ended,
            status, self.result, self.guard.to_json(),
        )  # fmt: skip

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> "Process":
        """The process that `row` (in the order of `COLUMNS`) describes."""
        (
            pid, parent, root, state, title, image, model, nice, interactive, capabilities, created,
            image_state, pages, step, pending, label, account, waiting, wake, ended, status, result,
            guard,
        ) = row  # fmt: skip
        return cls(
            pid, parent, root, title, image, model,
            Capabilities.from_json(json.loads(capabilities)), nice, bool(interactive), created,
            State(state), json.loads(image_state), PageTable(pages), step, json.loads(pending),
            label, Account.from_json(json.loads(account)), waiting, wake, ended,
            None if status is None else json.loads(status), result, Guard.from_json(guard),
        )  # fmt: skip

    def lineage(self) -> Iterator["Process"]:
        """The process, its parent, and so on up to the root."""
        process: Process | None = self
        while process is not None:
            yield process
            process = process.above

    def accounts(self) -> list[tuple[int, Account]]:
        """The accounts that everything this process spends is booked to."""
        return [(process.pid, process.account) for process in self.lineage()]

    def read(
        self,
        label: Integrity,
        sources: Iterable[str] | None = None,
        readers: frozenset[str] | None = None,
    ) -> None:
        """Notes that it has read something of this label: labels only ever fall.

        `sources` are where it came from; None: nobody knows. `readers` may read it; None: anybody.
        """
        if readers is not None:
            self.guard.read(Label("trusted", readers))
        if label == "untrusted":
            self.label = label
            known = (ANYWHERE,) if sources is None else sources
            self.guard.read(Label(label, None, frozenset(known)))

    def told(self) -> dict[str, Any] | None:
        """What a page that it writes keeps of where its words may come from, and who may read."""
        told = {"from": sorted(self.guard.sources)} if self.label == "untrusted" else {}
        if self.guard.readers is not None:
            told["readers"] = sorted(self.guard.readers)
        return told or None
