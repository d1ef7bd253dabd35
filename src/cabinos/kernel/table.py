"""The process table: rows in the store; in memory those that run, and their ancestors."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from cabinos.kernel.errors import NoSuchProcess
from cabinos.kernel.process import COLUMNS, Process, State
from cabinos.store.database import Store
from cabinos.store.errors import StoreCorrupt

__all__ = ["ProcessTable", "Summary"]

SUMMARY = (
    "pid, parent, state, title, image, model, nice, label, account, step, created, ended, waiting"
)


@dataclass(frozen=True, slots=True)
class Summary:
    """A line of `cabin ps`: what is known of a process without loading it."""

    pid: int
    parent: int | None
    state: str
    title: str
    image: str
    model: str
    nice: int
    label: str
    account: str  # JSON
    step: int
    created: float
    ended: float | None
    waiting: str | None


class ProcessTable:
    """Finds processes. Whoever changes one stages it with `Store.save`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last = int(store.rows("SELECT coalesce(max(pid), 0) FROM process")[0][0])
        # Weak: a process stays while a task runs it, its child is here, or its row is uncommitted.
        self._loaded: WeakValueDictionary[int, Process] = WeakValueDictionary()

    def new_pid(self) -> int:
        """A number no process had before."""
        self._last += 1
        return self._last

    def add(self, process: Process) -> None:
        """Makes a new process known, and stages its row."""
        self._loaded[process.pid] = process
        self._store.save(process)

    def get(self, pid: int) -> Process:
        """The process; raises NoSuchProcess."""
        process = self._loaded.get(pid)
        if process is not None:
            return process
        query = f"SELECT {COLUMNS} FROM process WHERE pid = ?"
        found = self._store.rows(query, (pid,)) if 0 < pid <= self._last else []
        if not found:
            raise NoSuchProcess(f"there is no process {pid}. `cabin ps --all` lists them.")
        return self._load(found[0])

    def _load(self, row: tuple[Any, ...]) -> Process:
        try:
            process = Process.from_row(row)
        except (ValueError, TypeError, KeyError) as error:
            raise StoreCorrupt(
                f"{self._store.path}: the row of process {row[0]} is damaged: {error!r}."
            ) from error
        if process.parent is not None:
            process.above = self.get(process.parent)
        self._loaded[process.pid] = process
        return process

    def where(self, condition: str, parameters: tuple[Any, ...] = ()) -> Iterator[Process]:
        """Committed processes for which an SQL condition holds, by pid."""
        query = f"SELECT pid FROM process WHERE {condition} ORDER BY pid"
        for (pid,) in self._store.rows(query, parameters):
            yield self.get(pid)

    def children(self, pid: int) -> list[Process]:
        """Children, those not yet committed included."""
        found = {
            row[0] for row in self._store.rows("SELECT pid FROM process WHERE parent = ?", (pid,))
        }
        found |= {p.pid for p in list(self._loaded.values()) if p.parent == pid}
        return [self.get(child) for child in sorted(found)]

    def descendants(self, pid: int) -> list[Process]:
        """Children, their children, and so on; parents before children."""
        found = self.children(pid)
        for child in found:
            found.extend(self.children(child.pid))
        return found

    def summaries(self, *, exited: bool = False) -> list[Summary]:
        """The committed processes, for people; `exited`: also those that have ended."""
        where = "" if exited else f"WHERE state != '{State.EXITED}'"
        rows = self._store.rows(f"SELECT {SUMMARY} FROM process {where} ORDER BY pid")
        return [Summary(*row) for row in rows]
