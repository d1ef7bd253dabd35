"""Models for evaluations: one that knows, and some that do not."""

from collections.abc import Callable

from cabinos.kernel.driver import Message, ThinkRequest, Thought, ToolCall

Say = Callable[[list[Message]], "str | tuple[str, dict[str, object]]"]


class Speaker:
    """Says what a function of the conversation says: a text, or a call as (name, arguments)."""

    def __init__(self, say: Say, name: str = "speaker") -> None:
        self.name, self.window, self.slots = name, 1 << 20, 64
        self.local, self.price = True, (0.0, 0.0)
        self._say = say

    def count(self, text: str) -> int:
        return len(text) // 4 + 1

    async def think(self, request: ThinkRequest) -> Thought:
        said = self._say(list(request.messages))
        if isinstance(said, str):
            return Thought(said)
        name, arguments = said
        return Thought("", (ToolCall("x", name, dict(arguments)),), "calls")


def asked(messages: list[Message]) -> str:
    """The last thing the user said."""
    return next(m.text for m in reversed(messages) if m.role == "user")


def result(messages: list[Message]) -> str:
    """What a tool has returned since then; "" if nothing has."""
    return messages[-1].text if messages[-1].role == "tool" else ""


def dumb(_messages: list[Message]) -> str:
    """Nothing anybody asked for."""
    return "Bananas."
