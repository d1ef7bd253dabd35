"""Orders from other programs: `cabin kill 7` in one terminal while `cabin chat` runs in another.

One kernel writes a store. Whoever else wants something done puts a row into its `control` table,
which SQLite allows at any time, and the kernel that runs looks for rows a few times a second. The
order is deleted in the same commit as what came of it and a row of the journal that says so, which
is how who gave the order hears of it: `{"order": number, "verb": …}` and perhaps an `error`.
"""

import asyncio
import json
import sqlite3
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cabinos.kernel import births
from cabinos.kernel.budget import Budget
from cabinos.kernel.capability import Capabilities
from cabinos.kernel.errors import KernelError
from cabinos.kernel.spawn import Spawn
from cabinos.store.errors import StoreError
from cabinos.store.journal import Journal

if TYPE_CHECKING:
    from cabinos.kernel.machine import Machine

__all__ = ["Control", "order", "outcome", "withdraw"]

PERIOD = 0.1  # seconds between two looks


def order(path: str | PathLike[str], verb: str, **body: Any) -> int:
    """Leaves an order for the kernel that runs on the store at `path`; returns its number.

    Raises StoreError.
    """
    statement = "INSERT INTO control (verb, body) VALUES (?, ?)"
    return int(_write(path, statement, (verb, json.dumps(body))).lastrowid or 0)


def withdraw(path: str | PathLike[str], number: int) -> bool:
    """Takes an order back; False if it was carried out before. Raises StoreError."""
    return _write(path, "DELETE FROM control WHERE id = ?", (number,)).rowcount > 0


def _write(path: str | PathLike[str], sql: str, parameters: tuple[Any, ...]) -> sqlite3.Cursor:
    try:
        connection = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=rw", uri=True)
        try:
            with connection:
                return connection.execute(sql, parameters)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreError(f"{path}: the order could not be left: {error}.") from error


def outcome(journal: Journal, number: int, after: int) -> int | None:
    """The pid that an order was about, None as long as it waits.

    `after`: a row of the journal that is older than the order. Raises KernelError with what was
    said against it.
    """
    for entry in journal.entries(after=after):
        if entry.kind == "order" and entry.body["order"] == number:
            if "error" in entry.body:
                raise KernelError(entry.body["error"])
            return entry.pid
    return None


class Control:
    """Looks for orders and carries them out."""

    def __init__(self, machine: "Machine") -> None:
        self._machine = machine
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look."""
        self._task = asyncio.get_running_loop().create_task(self._watch())

    def stop(self) -> None:
        """Stops looking."""
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        store, seen = self._machine.store, -1
        while True:
            version = store.data_version()
            if version != seen:
                seen = version
                for number, verb, body in store.rows("SELECT id, verb, body FROM control"):
                    store.write("DELETE FROM control WHERE id = ?", (number,))
                    pid, outcome = 0, {}
                    try:
                        pid = await self._obey(verb, json.loads(body))
                    except Exception as error:  # noqa: BLE001 - orders are anybody's
                        outcome = {"error": str(error)}
                    self._machine.journal.append(pid, "order", order=number, verb=verb, **outcome)
                    await store.commit()
            await asyncio.sleep(PERIOD)

    async def _obey(self, verb: str, body: Mapping[str, Any]) -> int:
        """Carries an order out and returns the pid it was about, or that of the new process."""
        m = self._machine
        if verb == "answer":
            return (await m.answer(int(body["ask"]), str(body["answer"]))).pid
        if verb == "spawn":
            return self._spawn(body)
        pid = int(body["pid"])
        match verb:
            case "kill" | "stop" | "cont":
                await getattr(m, verb)(pid)
            case "send":
                m.post(pid, str(body["text"]), source=str(body.get("source", "")))
            case "nice":
                await m.renice(pid, int(body["nice"]))
            case "budget":
                await m.set_budget(pid, Budget(**body["budget"]))
            case "fork":
                child = births.fork(m, m.table.get(pid), stay=bool(body.get("stay")))
                m.start(child)
                return child.pid
            case _:
                raise KernelError(f"unknown order {verb!r}.")
        return pid

    def _spawn(self, body: Mapping[str, Any]) -> int:
        """A process on a request, or on what a stranger asks for, with what a person granted it."""
        spawn = Spawn(
            request=str(body.get("request", "")),
            context=str(body.get("context", "")),
            code=str(body.get("code", "")),
            model=body.get("model"),
            stay=bool(body.get("stay")),
            budget=Budget(**body["budget"]),
            nice=int(body.get("nice") or 0),
        )
        capabilities = Capabilities.from_json(body["capabilities"])
        process = births.make_process(self._machine, spawn, capabilities)
        self._machine.start(process)
        return process.pid
