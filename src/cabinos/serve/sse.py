"""Server-sent events."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from cabinos.serve.encode import to_ascii
from cabinos.serve.errors import ApiError

__all__ = ["DONE", "KEEP_ALIVE", "EventStream", "sse", "with_first"]

DONE = "data: [DONE]\n\n"
KEEP_ALIVE = ": still here\n\n"  # a comment, which clients skip


def sse(data: Mapping[str, Any], event: str = "") -> str:
    """One event."""
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {to_ascii(data)}\n\n"


class EventStream(StreamingResponse):
    """A stream of events; `stack` is closed at its end, or at once when the client goes away."""

    def __init__(self, content: AsyncGenerator[str], stack: AsyncExitStack) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(content, headers=headers, media_type="text/event-stream")
        self._events = content
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See Starlette."""
        async with self._stack:
            await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        """See Starlette."""
        async with aclosing(self._events):
            await super().stream_response(send)


async def with_first(first: str, chunks: AsyncGenerator[str]) -> AsyncGenerator[str]:
    """The chunks, of which the first is known; an error after it becomes the last event."""
    async with aclosing(chunks):
        yield first
        try:
            async for chunk in chunks:
                yield chunk
        except ApiError as error:
            yield sse(error.body())
