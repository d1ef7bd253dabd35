"""The protocol: tools as MCP has them, over stdio or streamable HTTP."""

import json
import logging
import socket
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import mcp_types as types
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings

import cabinos
from cabinos.kernel.driver import Tool
from cabinos.kernel.errors import KernelError
from cabinos.store.errors import StoreError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["make_server", "serve_http", "serve_stdio"]

INSTRUCTIONS = (
    "Cabin is an operating system for language models on its user's machine. `spawn` starts a "
    "process on a request in plain words and `wait` gets its answer. Whatever must be approved is "
    "approved by the user at the terminal, never through this server."
)
PATH = "/mcp"
log = logging.getLogger("cabinos.serve.mcp")

Context = ServerRequestContext[Any, Any]


def make_server(tools: Sequence[Tool], *, instructions: str = INSTRUCTIONS) -> Server[Any]:
    """A server that offers the tools."""
    by_name = {tool.name: tool for tool in tools}
    listed = [_described(tool) for tool in tools]

    async def on_list_tools(
        _context: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=listed)

    async def on_call_tool(
        _context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        tool = by_name.get(params.name)
        if tool is None:
            return _failed(f"there is no tool {params.name!r}: there are {', '.join(by_name)}.")
        return await _called(tool, params.arguments or {})

    return Server(
        "cabin",
        version=cabinos.__version__,
        title="Cabin",
        instructions=instructions,
        on_list_tools=on_list_tools,
        on_call_tool=on_call_tool,
    )


def _described(tool: Tool) -> types.Tool:
    reads = tool.effect == "pure"
    hints = types.ToolAnnotations(
        read_only_hint=reads,
        destructive_hint=None if reads else False,
        idempotent_hint=None if reads else False,
        open_world_hint=not reads,
    )
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=dict(tool.parameters),
        annotations=hints,
    )


async def _called(tool: Tool, given: dict[str, Any]) -> types.CallToolResult:
    """What a tool says, as text and as data; an error is for the client's model to read."""
    try:
        value = await tool.run(None, **tool.arguments(given))
    except (KernelError, StoreError) as error:
        return _failed(str(error))
    except Exception as error:
        log.exception("%s failed", tool.name)
        return _failed(f"a fault in Cabin: {type(error).__name__}.")
    text = json.dumps(value, ensure_ascii=False)
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)], structured_content=json.loads(text)
    )


def _failed(message: str) -> types.CallToolResult:
    content = [types.TextContent(type="text", text=message)]
    return types.CallToolResult(content=list(content), is_error=True)


async def serve_stdio(server: Server[Any]) -> None:
    """Speaks with the program that started this one, until it closes stdin."""
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


async def serve_http(
    server: Server[Any],
    listener: socket.socket,
    *,
    token: str | None = None,
    origins: Collection[str] = (),
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serves streamable HTTP at PATH until SIGINT or SIGTERM, or until it is cancelled.

    The guard is that of `cabin serve`: a token, or the names of this machine alone.
    """
    from cabinos.serve.server import run_app

    await run_app(make_app(server, token, origins), listener, ready=ready)


def make_app(server: Server[Any], token: str | None, origins: Collection[str]) -> "ASGIApp":
    """The application. Every request stands for itself, so there are no sessions to steal."""
    from cabinos.serve.guard import Guard

    app = server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    app.add_middleware(Guard, token=token, origins=origins)
    return app
