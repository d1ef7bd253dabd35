"""`cabin mcp`: Cabin as a server of the Model Context Protocol, on stdio or over HTTP."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cabinos.cli.errors import INTERRUPTED, Failure
from cabinos.cli.listening import bound, listening_options, token_of
from cabinos.cli.options import capabilities, grant_options
from cabinos.cli.terminal import note

if TYPE_CHECKING:
    from mcp.server import Server

    from cabinos.kernel.capability import Capabilities
    from cabinos.serve.mcp.desk import Desk
    from cabinos.serve.server import Listener

OFFERS = ("kernel", "memory", "skills")


@click.command("mcp")
@click.option("--http", is_flag=True, help="Over streamable HTTP at /mcp, not on stdio.")
@listening_options(8422, "With --http: ")
@click.option(
    "--offer",
    "offers",
    multiple=True,
    type=click.Choice(OFFERS),
    help="Only this; may be repeated. Default: all.",
)
@click.option(
    "--private", is_flag=True, help="Clients see what is for this machine alone, too: your notes."
)
@click.option("-m", "--model", metavar="NAME", help="The brain of processes that clients start.")
@grant_options
def mcp_command(
    http: bool,
    host: str,
    port: int,
    token_file: Path | None,
    origins: tuple[str, ...],
    offers: tuple[str, ...],
    private: bool,
    model: str | None,
    **options: Any,
) -> None:
    """Serve MCP: processes, memory and skills for any client.

    What clients' processes may touch is what --files, --web and --shell grant. What a client says
    is untrusted: its processes ask you before they change anything, with `cabin asks`. What is for
    this machine alone, notes and private files, is not told to clients without --private.
    """
    granted = capabilities(options)
    try:
        from cabinos.serve.mcp import server
    except ImportError as error:
        raise Failure(f"{error.name} is not installed: pip install 'cabinos[mcp]'") from None
    listener = bound(host, port) if http else None
    token = token_of(host, token_file) if http else None
    desk = _desk(model, granted, private)

    async def run() -> int:
        async with desk:
            speaker = _speaker(desk, offers or OFFERS)
            if listener is None:
                return await _until_signal(server.serve_stdio(speaker))
            with listener:
                await server.serve_http(
                    speaker,
                    listener,
                    token=token,
                    origins=origins,
                    ready=lambda: _tell(listener, token),
                )
        return 0

    with asyncio.Runner() as runner:
        if code := runner.run(run()):
            os._exit(code)  # the thread that reads stdin would be waited for


def _desk(model: str | None, granted: "Capabilities", private: bool) -> "Desk":
    from cabinos.drivers.model.brain import choose_brain
    from cabinos.kernel.plugins import read_config
    from cabinos.serve.mcp.desk import Desk
    from cabinos.store.home import config_path, store_path

    config, name = choose_brain(read_config(config_path()), model)
    return Desk(store_path(), config, model=name, granted=granted, private=private)


def _speaker(desk: "Desk", offers: tuple[str, ...]) -> "Server[Any]":
    """The server, with what is on offer."""
    from cabinos.serve.mcp.server import make_server
    from cabinos.serve.mcp.tools import kernel_tools, memory_tools

    tools = [*(kernel_tools(desk) if "kernel" in offers else ())]
    tools += memory_tools(desk) if "memory" in offers else ()
    if "skills" not in offers:
        return make_server(tools)
    from cabinos.serve.mcp.knowledge import knowledge_tools, served_skills
    from cabinos.serve.mcp.shelf import Shelf, offer_skills

    speaker = make_server([*tools, *knowledge_tools()])
    offer_skills(speaker, Shelf(served_skills()))
    return speaker


def _tell(listener: "Listener", token: str | None) -> None:
    guarded = "with a token" if token else "for this machine alone"
    note(f"Serving {listener.url}/mcp {guarded}. Ctrl-C ends it.", dim=False)


async def _until_signal(work: Coroutine[Any, Any, None]) -> int:
    """Does the work; the exit code if a signal comes first, and then the work goes on."""
    came: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def end(number: int) -> None:
        if not came.done():
            came.set_result(INTERRUPTED if number == signal.SIGINT else 128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    task = asyncio.ensure_future(work)
    either: set[asyncio.Future[Any]] = {task, came}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if came.done():
        return came.result()
    await task
    return 0
