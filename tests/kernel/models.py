"""Models for tests: scripted answers, no network, no weights."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cabinos.kernel.driver import ThinkRequest, Thought, ToolCall

Reply = str | Thought | Exception | Callable[[ThinkRequest], "Reply"]


class ScriptedModel:
    """Answers with what it was given, in order, whoever asks; the last reply again and again.

    A function among the replies is called with the request and may return any other reply.
    """

    def __init__(
        self,
        *replies: Reply,
        name: str = "scripted",
        window: int = 8192,
        slots: int = 64,
        latency: float = 0.0,
        price: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.name, self.window, self.slots, self.price = name, window, slots, price
        self.local = True
        self.latency = latency
        self.requests: list[ThinkRequest] = []
        self._replies: Iterator[Reply] = _forever(replies)

    def count(self, text: str) -> int:
        return len(text) // 4 + 1

    async def think(self, request: ThinkRequest) -> Thought:
        self.requests.append(request)
        if self.latency:
            await asyncio.sleep(self.latency)
        reply = next(self._replies)
        while callable(reply) and not isinstance(reply, Thought):
            reply = reply(request)
        if isinstance(reply, Exception):
            raise reply
        thought = Thought(reply) if isinstance(reply, str) else reply
        if thought.text:
            request.emit(thought.text)
        if thought.input_tokens:
            return thought
        read = sum(self.count(m.text) for m in request.messages)
        return Thought(
            thought.text, thought.calls, thought.finish, read, 0, self.count(thought.text)
        )


def _forever(replies: Iterable[Reply]) -> Iterator[Reply]:
    last: Reply = "done"
    for last in replies:
        yield last
    while True:
        yield last


def calls(*named: tuple[str, dict[str, Any] | None], text: str = "") -> Thought:
    """A thought that asks for these calls."""
    return Thought(
        text,
        tuple(ToolCall(f"x{i}", name, arguments) for i, (name, arguments) in enumerate(named)),
        "calls",
    )
