"""Orders from other programs: `cabin kill 7` in one terminal while `cabin chat` runs in another.

One kernel writes a store. Whoever else wants something done puts a row into its `control` table,
which SQLite allows at any time, and the kernel that runs looks for rows a few times a second. The
order is deleted in the same commit as what came of it.
"""

import asyncio
import json
import logging
import sqlite3
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cabinos.kernel.errors import KernelError
from cabinos.store.errors import StoreError

if TYPE_CHECKING:
    from cabinos.kernel.machine import Machine

__all__ = ["Control", "order"]

PERIOD = 0.1  # seconds between two looks
log = logging.getLogger("cabinos.kernel")


def order(path: str | PathLike[str], verb: str, **body: Any) -> None:
    """Leaves an order for the kernel that runs on the store at `path`. Raises StoreError."""
    try:
        connection = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=rw", uri=True)
        try:
            with connection:
                connection.execute(
                    "INSERT INTO control (verb, body) VALUES (?, ?)", (verb, json.dumps(body))
                )
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreError(f"{path}: the order could not be left: {error}.") from error


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
                    try:
                        await self._obey(verb, json.loads(body))
                    except (KernelError, TypeError, KeyError, ValueError) as error:
                        log.warning("order %s: %s", verb, error)
                    await store.commit()
            await asyncio.sleep(PERIOD)

    async def _obey(self, verb: str, body: Mapping[str, Any]) -> None:
        m = self._machine
        match verb:
            case "kill" | "stop" | "cont":
                await getattr(m, verb)(int(body["pid"]))
            case "answer":
                await m.answer(int(body["ask"]), str(body["answer"]))
            case "send":
                m.post(int(body["pid"]), str(body["text"]))
            case "nice":
                await m.renice(int(body["pid"]), int(body["nice"]))
            case _:
                raise KernelError(f"unknown order {verb!r}.")
