"""Models that cost nothing: what the kernel's benches put where a brain would be."""

import asyncio
from collections.abc import Sequence

from cabinos.kernel.driver import Message, ThinkRequest, Thought, ToolCall

__all__ = ["Quiet", "Stub", "turn_of"]


class Stub:
    """The facts of a stand-in; whoever inherits from it only has to think."""

    name = "stub"
    local = True
    price = (0.0, 0.0)

    def __init__(self, *, window: int = 1_000_000, slots: int = 1_000_000) -> None:
        self.window = window
        self.slots = slots

    def count(self, text: str) -> int:
        """Four characters a token."""
        return len(text) // 4 + 1

    def prompt(self, messages: Sequence[Message]) -> int:
        """Tokens of a prompt."""
        return sum(self.count(message.text) for message in messages)

    async def think(self, request: ThinkRequest) -> Thought:
        """Answers at once."""
        return Thought("done", input_tokens=self.prompt(request.messages), output_tokens=1)


class Quiet(Stub):
    """Never answers; knows how many have asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def think(self, request: ThinkRequest) -> Thought:
        """Counts, and waits for ever."""
        self.asked += 1
        await asyncio.Event().wait()
        raise AssertionError


def turn_of(messages: Sequence[Message]) -> int:
    """Which turn (from 1) a request is."""
    return 1 + sum(message.role == "assistant" for message in messages)


def call(name: str, **arguments: object) -> tuple[ToolCall, ...]:
    """One call, as a model asks for it."""
    return (ToolCall("0", name, dict(arguments)),)
