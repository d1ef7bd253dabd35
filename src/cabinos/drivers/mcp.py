"""Device: servers that speak the Model Context Protocol, each of their tools a tool of Cabin.

    [mcp.servers.github]
    command = ["github-mcp", "stdio"]        # or: url = "https://host/mcp"
    [mcp.pins]
    mcp_github_search = "5d41…"              # what was approved: name, description and schema

Servers are started by the first call. What they offer is remembered from the last time, in a cache,
so opening Cabin starts only those that it does not know yet. A tool that is not pinned, or not as
it was when it was, asks before each call. Everything a server says is untrusted, and whatever it is
told has left the house: results are labelled so, and calls are egress and `raw` unless the user
says otherwise.
"""

import asyncio
import hashlib
import json
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cabinos.drivers.mcp_connection import Connection, ServerConfig
from cabinos.drivers.mcp_tools import Listed, Unusable, checker, clean, tool_name
from cabinos.drivers.text import head_and_tail
from cabinos.kernel.driver import Context, Driver, Tool
from cabinos.kernel.errors import InvalidArguments, ToolError
from cabinos.store.home import cabin_home

if TYPE_CHECKING:
    from mcp.types import CallToolResult

__all__ = ["driver"]

Listings = dict[str, list[Listed]]

MAX_RESULT = 100_000  # characters
log = logging.getLogger("cabinos.drivers.mcp")


def driver(config: Mapping[str, Any]) -> Driver:
    """The MCP device. `config`: servers (by name), pins (hash by tool), cache (a file).

    Blocks until servers that are not in the cache have listed their tools; one that does not is
    left out with a warning. Raises InvalidArguments for a wrong configuration.
    """
    sections = config.get("servers", {})
    if not isinstance(sections, Mapping):
        raise InvalidArguments("mcp: servers must be a table with a table for each server.")
    servers = [ServerConfig.parse(name, section) for name, section in sections.items()]
    if not servers:
        return Driver("mcp")
    cache = _Cache(Path(config.get("cache") or cabin_home() / "mcp-tools.json"))
    hub = _Hub(servers, cache)
    hub.list_unknown()
    pins = config.get("pins", {})
    tools: list[Tool] = []
    for server in servers:
        for listed in hub.listings.get(server.name, ()):
            try:
                tools.append(_tool(hub, server, listed, [t.name for t in tools], pins))
            except Unusable as problem:
                log.warning("mcp: %s/%s is left out: %s", server.name, clean(listed.name), problem)
    return Driver("mcp", tools=tools, close=hub.close)


def _tool(
    hub: "_Hub",
    server: ServerConfig,
    listed: Listed,
    taken: Sequence[str],
    pins: Mapping[str, str],
) -> Tool:
    parameters = listed.parameters()
    name = tool_name(server.name, listed.name, taken)

    async def run(_context: Context, **arguments: Any) -> str:
        return _told(await hub.call(server.name, listed.name, listed.pin, arguments))

    return Tool(
        name,
        clean(listed.description) or f"{clean(listed.name)} of {server.name}",
        parameters,
        run,
        effect=server.effects.get(listed.name, listed.effect(trusted=server.trust_annotations)),
        label="untrusted",
        egress=True,
        ask=pins.get(name) != listed.pin,
        authority=tuple(parameters.get("properties", ())),
        foreign=pins.get(name) != listed.pin,  # until a person has read it
        validate=checker(name, parameters),
        pinned=listed.pin,
    )


def _told(result: "CallToolResult") -> str:
    """What a tool answered, as text. Raises ToolError if it answered that it failed."""
    parts: list[str] = []
    for item in result.content:
        if item.type == "text":
            parts.append(item.text)
        elif item.type == "resource" and hasattr(item.resource, "text"):
            parts.append(f"[{item.resource.uri}]\n{item.resource.text}")
        elif item.type == "resource_link":
            parts.append(f"[a link to {item.uri}]")
        else:
            parts.append(f"[{item.type}, which cannot be shown]")
    if not parts and result.structured_content is not None:
        parts.append(json.dumps(result.structured_content, ensure_ascii=False))
    answer = head_and_tail("\n".join(parts), MAX_RESULT)
    if result.is_error:
        raise ToolError(answer or "the tool failed and did not say why.")
    return answer


class _Hub:
    """All connections, on an event loop in a thread of its own.

    The kernel's loop never waits for what a server sends, and a driver can be made outside of any
    loop.
    """

    def __init__(self, servers: Sequence[ServerConfig], cache: "_Cache") -> None:
        self.listings = cache.read(servers)
        self._cache = cache
        self._servers = servers
        self._connections = {server.name: Connection(server) for server in servers}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="cabin-mcp", daemon=True
        )
        self._thread.start()

    def list_unknown(self) -> None:
        """Asks the servers that are not in the cache for their tools; blocks until all answered.

        A server that fails is left out with a warning.
        """
        if unknown := [s.name for s in self._servers if s.name not in self.listings]:
            asyncio.run_coroutine_threadsafe(self._list(unknown), self._loop).result()

    async def call(
        self, server: str, tool: str, pin: str, arguments: Mapping[str, Any]
    ) -> "CallToolResult":
        """Calls a tool, from the kernel's loop."""
        work = self._call(server, tool, pin, arguments)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def close(self) -> None:
        """Stops all servers and the thread, from the kernel's loop; idempotent."""
        if self._thread.is_alive():
            closing = asyncio.run_coroutine_threadsafe(self._close(), self._loop)
            await asyncio.wrap_future(closing)
            self._loop.call_soon_threadsafe(self._loop.stop)
            await asyncio.to_thread(self._thread.join)
            self._loop.close()

    # ---- on the loop -----------------------------------------------------------------------------

    async def _list(self, names: Sequence[str]) -> None:
        async def one(name: str) -> None:
            try:
                await self._connections[name].list()
                self._remember(name)
            except ToolError as error:
                log.warning("mcp: %s", error)

        await asyncio.gather(*map(one, names))

    async def _call(
        self, server: str, tool: str, pin: str, arguments: Mapping[str, Any]
    ) -> "CallToolResult":
        connection = self._connections[server]
        try:
            return await connection.call(tool, pin, arguments)
        finally:
            if connection.listed:
                self._remember(server)

    def _remember(self, server: str) -> None:
        """Keeps what a server offers now for the next time that Cabin is opened."""
        if self.listings.get(server) != self._connections[server].listed:
            self.listings[server] = self._connections[server].listed
            self._cache.write(self._servers, self.listings)

    async def _close(self) -> None:
        await asyncio.gather(*(connection.close() for connection in self._connections.values()))


class _Cache:
    """What each server offered last, as long as its configuration is the same."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, servers: Sequence[ServerConfig]) -> Listings:
        """The listings of the servers that are known; none if the file cannot be used."""
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))
            return {
                server.name: [Listed.from_json(tool) for tool in entries[server.name]["tools"]]
                for server in servers
                if entries.get(server.name, {}).get("config") == _fingerprint(server)
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}

    def write(self, servers: Sequence[ServerConfig], listings: Listings) -> None:
        """Keeps the listings; that they are kept is a convenience, so failing to is no error."""
        entries = {
            server.name: {
                "config": _fingerprint(server),
                "tools": [tool.to_json() for tool in listings[server.name]],
            }
            for server in servers
            if server.name in listings
        }
        beside = self._path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(entries), encoding="utf-8")
            beside.replace(self._path)
        except OSError as error:
            log.warning("mcp: %s: %s", self._path, error.strerror)


def _fingerprint(server: ServerConfig) -> str:
    """Of what makes a server the one it is. A hash: its environment may hold secrets."""
    told = [list(server.command), dict(server.env), server.cwd, server.url, dict(server.headers)]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
