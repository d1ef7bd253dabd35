"""Calling a tool as the kernel does: arguments checked first, then run with a context."""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from cabinos.kernel.capability import Capabilities
from cabinos.kernel.driver import Context, Driver, Tool

NOTES = Path(__file__).parents[2] / "src/cabinos/store/notes.sql"


class MemoryStore:
    """The store as a tool sees it: what was staged is read back, and nothing is committed yet."""

    def __init__(self) -> None:
        self.database = sqlite3.connect(":memory:", check_same_thread=False)
        self.database.executescript(NOTES.read_text())

    async def read(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.database.execute(sql, params).fetchall()

    def write(self, sql: str, params: Sequence[Any] = ()) -> None:
        self.database.execute(sql, params)


def context(
    capabilities: Capabilities | None = None, *, key: str = "1.1", store: MemoryStore | None = None
) -> Context:
    return Context(1, key, capabilities or Capabilities(), cast(Any, store))


def named(driver: Driver, name: str) -> Tool:
    return next(tool for tool in driver.tools if tool.name == name)


async def acall(tool: Tool, context: Context, /, **given: Any) -> Any:
    return await tool.run(context, **tool.arguments(given))


def call(tool: Tool, context: Context, /, **given: Any) -> Any:
    return asyncio.run(acall(tool, context, **given))
