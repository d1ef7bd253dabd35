"""A real server on a free port of 127.0.0.1, in a thread of its own, over a scripted model."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from openai import DefaultHttpxClient, OpenAI

from cabinos.kernel.driver import Model, Tool
from cabinos.kernel.kernel import Kernel
from cabinos.serve.server import listen, serve
from cabinos.serve.service import Service

T = TypeVar("T")


class Served:
    """What tests use of it."""

    def __init__(self) -> None:
        self.url = ""
        self.service: Service
        self.token: str | None = None
        self._loop: asyncio.AbstractEventLoop
        self._task: asyncio.Task[None]

    def client(self, **options: Any) -> OpenAI:
        """The official client, as anybody would make it."""
        return OpenAI(
            base_url=f"{self.url}/v1",
            api_key=self.token or "none",
            http_client=DefaultHttpxClient(trust_env=False, verify=False),
            **{"max_retries": 0, "timeout": 20, **options},
        )

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix("http://").rsplit(":", 1)
        return host, int(port)

    @property
    def kernel(self) -> Kernel:
        return self.service.kernel

    def do(self, work: Callable[[], Awaitable[T]]) -> T:
        """Runs something in the server's loop and returns its result."""

        async def run() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(20)

    def until(self, true: Callable[[], bool]) -> None:
        """Waits until something is true in the server's loop."""

        async def wait() -> None:
            async with asyncio.timeout(20):
                while not true():
                    await asyncio.sleep(0.005)

        self.do(wait)


@contextmanager
def served(
    path: Path,
    *models: Model,
    tools: Sequence[Tool] = (),
    token: str | None = None,
    origins: Sequence[str] = (),
    **options: Any,
) -> Iterator[Served]:
    """A server until the block ends."""
    this, started, failed = Served(), threading.Event(), []

    async def run() -> None:
        this._loop = asyncio.get_running_loop()
        kernel = Kernel.open(path / "store.db", drivers=[], tools=tools, models=models)
        listener = listen("127.0.0.1", 0)
        this.url, this.token = listener.url, token
        async with kernel:
            this.service = Service(kernel, **options)
            this._task = asyncio.ensure_future(
                serve(this.service, listener, token=token, origins=origins, ready=started.set)
            )
            await asyncio.wait([this._task])

    def main() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            started.set()

    thread = threading.Thread(target=main)
    thread.start()
    started.wait(20)
    assert not failed, failed
    try:
        yield this
    finally:
        this._loop.call_soon_threadsafe(this._task.cancel)
        thread.join(30)
        assert not thread.is_alive()
