"""Running it: a socket, uvicorn, and an orderly end.

The first SIGINT or SIGTERM ends the server: nothing new is taken, whoever waits for an answer is
told, and the kernel closes with everything on disk. Processes that were thinking go on when there
is a kernel again.
"""

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from cabinos.serve.app import make_app
from cabinos.serve.service import Service

__all__ = ["Listener", "listen", "run_app", "serve"]

GRACE = 10  # seconds that answers under way get to tell their clients
BACKLOG = 512
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Listener(socket.socket):
    """A socket that is bound; nobody is answered yet."""

    @property
    def url(self) -> str:
        """Where it can be reached."""
        host, port = self.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def listen(host: str, port: int) -> Listener:
    """A socket on an address or name of this machine; port 0 takes a free one. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    listener = Listener(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


class _Server(uvicorn.Server):
    """Tells when it has begun, and when it is about to end."""

    def __init__(
        self, config: uvicorn.Config, ready: Callable[[], None], ending: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._ready, self._ending = ready, ending

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        self._ending()
        await super().shutdown(sockets)


async def serve(
    service: Service,
    listener: socket.socket,
    *,
    token: str | None = None,
    origins: Collection[str] = (),
    log: Callable[[dict[str, Any]], None] | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serves until SIGINT or SIGTERM, or until it is cancelled. The kernel stays open.

    `ready` is called when requests are taken.
    """
    app = make_app(service, token=token, origins=origins, log=log)
    await run_app(app, listener, ready=ready, ending=service.close)


async def run_app(
    app: ASGIApp,
    listener: socket.socket,
    *,
    ready: Callable[[], None] = lambda: None,
    ending: Callable[[], None] = lambda: None,
) -> None:
    """Serves an application until SIGINT or SIGTERM, or until it is cancelled.

    `ready` is called when requests are taken, `ending` before the last ones are answered.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )
    server = _Server(config, ready, ending)
    with _signals_taken():
        running = asyncio.ensure_future(server.serve([listener]))
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            server.should_exit = True
            with suppress(asyncio.CancelledError):
                await running
            raise


@contextmanager
def _signals_taken() -> Iterator[None]:
    """Uvicorn raises the signals it took once more after its end; the kernel has yet to close."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are not for this thread
        return
    before = {number: signal.signal(number, _nothing) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _nothing(_signal: int, _frame: FrameType | None) -> None:
    """A handler of signals."""
