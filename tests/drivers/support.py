"""Calling a tool as the kernel does: arguments checked first, then run with a context."""

import asyncio
from typing import Any, cast

from cabinos.kernel.capability import Capabilities
from cabinos.kernel.driver import Context, Driver, Tool


def context(capabilities: Capabilities | None = None, *, key: str = "1.1") -> Context:
    """Of a process that has no use for the store."""
    return Context(1, key, capabilities or Capabilities(), cast(Any, None))


def named(driver: Driver, name: str) -> Tool:
    return next(tool for tool in driver.tools if tool.name == name)


async def acall(tool: Tool, context: Context, /, **given: Any) -> Any:
    return await tool.run(context, **tool.arguments(given))


def call(tool: Tool, context: Context, /, **given: Any) -> Any:
    return asyncio.run(acall(tool, context, **given))
