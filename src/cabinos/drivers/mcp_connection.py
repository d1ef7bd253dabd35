"""One MCP server: started when it is needed, listened to, restarted when it died, and stopped.

The SDK's client must be entered and left by one task, so each running server has a task of its own
(`_serve`), and calls come to it from others. All of this lives on one event loop; `mcp` gives it a
thread of its own, apart from the kernel's.
"""

import asyncio
import logging
import os
import shlex
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from cabinos.drivers.mcp_tools import Listed, clean
from cabinos.kernel.errors import InvalidArguments, ToolError

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult

__all__ = ["Connection", "ServerConfig"]

MAX_PAGES = 20  # of a listing
MAX_TOOLS = 500
MAX_STDERR = 4_000  # bytes that are kept
LAST_WORDS = 0.2  # seconds to read them after the end
PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds after the first failure; doubled up to the longest
CLOSED = -32000  # the SDK's code for a connection that ended (mcp.types.CONNECTION_CLOSED)
TIMED_OUT = -32001

KEYS = frozenset("command env cwd url headers timeout start trust_annotations effects".split())


@dataclass(frozen=True)
class ServerConfig:
    """What the configuration says of a server: `command` or `url`, and how it is used."""

    name: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)  # added to PATH, HOME and the like
    cwd: str | None = None
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 60.0  # seconds of one call
    start: float = 30.0  # seconds until the server has listed its tools
    trust_annotations: bool = False  # what the server says of its tools' effects holds
    effects: Mapping[str, Any] = field(default_factory=dict)  # what the user says of them

    @classmethod
    def parse(cls, name: str, section: Mapping[str, Any]) -> Self:
        """From the configuration. Raises InvalidArguments, saying what is wrong with it."""
        where = f"mcp server {name!r}"
        if not isinstance(section, Mapping) or (unknown := sorted(set(section) - KEYS)):
            wrong = f"unknown: {', '.join(unknown)}" if isinstance(section, Mapping) else "no table"
            raise InvalidArguments(f"{where}: {wrong}. There are {', '.join(sorted(KEYS))}.")
        command = section.get("command", ())
        if isinstance(command, str):
            command = shlex.split(command)
        if bool(command) == bool(section.get("url")):
            raise InvalidArguments(f"{where}: needs either a command or a url.")
        effects = section.get("effects", {})
        for tool, effect in effects.items():
            if effect not in ("pure", "keyed", "raw"):
                raise InvalidArguments(f"{where}: effects.{tool}: pure, keyed or raw.")
        return cls(
            name,
            tuple(map(str, command)),
            {str(k): str(v) for k, v in section.get("env", {}).items()},
            section.get("cwd"),
            str(section.get("url", "")),
            {str(k): str(v) for k, v in section.get("headers", {}).items()},
            float(section.get("timeout", cls.timeout)),
            float(section.get("start", cls.start)),
            bool(section.get("trust_annotations", False)),
            effects,
        )


@dataclass(slots=True)
class _Running:
    """A server that answers."""

    client: "Client"
    stop: asyncio.Event


class Connection:
    """A server that may or may not be running now."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.listed: list[Listed] = []  # what it offered when it was asked last
        self._running: _Running | None = None
        self._starting: asyncio.Task[_Running] | None = None
        self._life: asyncio.Task[None] | None = None  # of the server that was started last
        self._failures = 0  # in a row
        self._not_before = 0.0  # when it may be started again, by the loop's clock
        self._stderr = bytearray()

    async def list(self) -> None:
        """Asks for the tools it offers. Starts it if need be; raises ToolError if it fails."""
        for attempt in (1, 2):  # one that died since it was asked last is started again at once
            running = await self._start()
            try:
                self.listed = await _list(running.client, self.config.start)
            except Exception as error:  # noqa: BLE001 - the SDK raises whatever its streams do
                self._forget(running)
                if attempt == 2:
                    self._failed()
                    raise self._error(error) from None
            else:
                return

    async def call(self, tool: str, pin: str, arguments: Mapping[str, Any]) -> "CallToolResult":
        """Calls the tool, if it is still the one with this pin.

        The tools are listed again first: that tells whether the server still lives, while nothing
        has been asked of it yet, and whether the tool is still what was offered.
        """
        await self.list()
        found = next((t for t in self.listed if t.name == tool), None)
        if found is None:
            raise ToolError(f"the server {self.config.name!r} has no tool {tool!r} any more.")
        if found.pin != pin:
            raise ToolError(
                f"the server {self.config.name!r} describes {tool!r} otherwise than before. "
                "It was not called; start Cabin again to see what it says now."
            )
        running = await self._start()
        try:
            result = await running.client.call_tool(
                tool, dict(arguments), read_timeout_seconds=self.config.timeout
            )
        except Exception as error:  # noqa: BLE001 - as above
            raise self._call_failed(error, running, tool) from None
        self._failures = 0
        return result

    def _call_failed(self, error: Exception, running: _Running, tool: str) -> ToolError:
        import anyio

        code = getattr(error, "code", None)
        if code == TIMED_OUT:
            return ToolError(
                f"{tool}: no answer within {self.config.timeout:g} s; "
                "it may or may not have been done."
            )
        gone = (anyio.ClosedResourceError, anyio.BrokenResourceError, OSError)
        if code == CLOSED or isinstance(error, gone):
            self._forget(running)
            self._failed()
            return ToolError(f"{self._error(error)} It may or may not have been done.")
        return ToolError(f"{tool}: {clean(str(error)) or type(error).__name__}")

    async def close(self) -> None:
        """Stops the server, if it is running, and waits until it is gone."""
        if self._starting is not None:
            await asyncio.wait([self._starting])
        if self._running is not None:
            self._forget(self._running)
        if self._life is not None:
            await asyncio.wait([self._life])

    # ---- starting and stopping -------------------------------------------------------------------

    async def _start(self) -> _Running:
        """The running server. Whoever waits for its start may give up; the start goes on."""
        if self._running is not None:
            return self._running
        if self._starting is None:
            self._starting = asyncio.create_task(self._start_anew())
            self._starting.add_done_callback(self._started)
        return await asyncio.shield(self._starting)

    def _started(self, task: asyncio.Task[_Running]) -> None:
        self._starting = None
        if not task.cancelled():
            task.exception()  # is known, even if everybody who waited has given up

    async def _start_anew(self) -> _Running:
        loop = asyncio.get_running_loop()
        if (wait := self._not_before - loop.time()) > 0:
            raise ToolError(
                f"the server {self.config.name!r} failed; it is tried again in {wait:.0f} s."
                f"{self._last_words()}"
            )
        if self._life is not None:
            await asyncio.wait([self._life])  # the one before is leaving
        self._stderr.clear()
        ready: asyncio.Future[_Running] = loop.create_future()
        self._life = asyncio.create_task(self._live(ready))
        try:
            self._running = await ready
        except ToolError:
            self._failed()
            raise
        return self._running

    async def _live(self, ready: asyncio.Future[_Running]) -> None:
        """The life of one server, from its start to its end."""
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self.config.start):
                    client = await self._connect(stack)
                running = _Running(client, asyncio.Event())
                ready.set_result(running)
                await running.stop.wait()
        except Exception as error:  # noqa: BLE001 - it ends in any way it likes
            if not ready.done():
                ready.set_exception(self._error(error))
        finally:
            if not ready.done():
                ready.cancel()

    async def _connect(self, stack: AsyncExitStack) -> "Client":
        from mcp import Client, StdioServerParameters, stdio_client
        from mcp.client.streamable_http import streamable_http_client

        config = self.config
        for name in ("mcp", "client"):  # it logs every line it does not understand
            logging.getLogger(name).addHandler(logging.NullHandler())
        if config.url:
            import httpx2

            http = await stack.enter_async_context(
                httpx2.AsyncClient(
                    headers=dict(config.headers),
                    timeout=httpx2.Timeout(config.start, read=config.timeout),
                )
            )
            transport = streamable_http_client(config.url, http_client=http)
            return await stack.enter_async_context(Client(transport, cache=None))
        program, *arguments = config.command
        parameters = StdioServerParameters(
            command=program, args=arguments, env=dict(config.env), cwd=config.cwd
        )
        reading, writing = os.pipe()
        await self._keep_stderr(reading, stack)
        with os.fdopen(writing, "w") as stderr:
            client = Client(stdio_client(parameters, errlog=stderr), cache=None)
            return await stack.enter_async_context(client)

    async def _keep_stderr(self, descriptor: int, stack: AsyncExitStack) -> None:
        """Keeps the last words of the server's stderr for when it fails."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
        )

        async def keep() -> None:
            while data := await reader.read(4096):
                self._stderr += data
                del self._stderr[:-MAX_STDERR]

        async def end() -> None:
            await asyncio.wait([task], timeout=LAST_WORDS)
            task.cancel()
            transport.close()

        task = asyncio.create_task(keep())
        stack.push_async_callback(end)

    def _forget(self, running: _Running) -> None:
        running.stop.set()
        if self._running is running:
            self._running = None

    def _failed(self) -> None:
        """Puts the next start off: twice as long after each failure in a row."""
        pause = min(LONGEST_PAUSE, PAUSE * 2**self._failures)
        self._failures += 1
        self._not_before = asyncio.get_running_loop().time() + pause

    def _error(self, error: BaseException) -> ToolError:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        reason = clean(str(error), 300) or type(error).__name__
        if isinstance(error, TimeoutError):
            reason = f"it did not answer within {self.config.start:g} s"
        if isinstance(error, ImportError):
            return ToolError("Servers of tools need: pip install 'cabinos[mcp]'")
        return ToolError(f"the server {self.config.name!r}: {reason}.{self._last_words()}")

    def _last_words(self) -> str:
        words = clean(self._stderr.decode("utf-8", "replace")).splitlines()
        return f" It said: {words[-1]}" if words else ""


async def _list(client: "Client", seconds: float) -> list[Listed]:
    """All tools, page by page."""
    tools: list[Listed] = []
    cursor: str | None = None
    async with asyncio.timeout(seconds):
        for _ in range(MAX_PAGES):
            page = await client.list_tools(cursor=cursor)
            for tool in page.tools:
                hints = tool.annotations
                tools.append(
                    Listed(
                        tool.name,
                        tool.description or "",
                        tool.input_schema,
                        bool(hints and hints.read_only_hint),
                        bool(hints and hints.idempotent_hint),
                    )
                )
            cursor = page.next_cursor
            if cursor is None or len(tools) >= MAX_TOOLS:
                break
    return tools[:MAX_TOOLS]
