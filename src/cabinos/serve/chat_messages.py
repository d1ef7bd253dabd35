"""The messages of a chat completion, as the kernel's."""

import json
from collections.abc import Sequence
from typing import Any, Literal

from cabinos.kernel.driver import Message, ToolCall
from cabinos.serve.body import Body
from cabinos.serve.errors import ApiError
from cabinos.serve.wire import content_text, unsupported

__all__ = ["WireMessage", "kernel_messages", "parsed_call"]


class WireFunction(Body):
    """The function of a call."""

    name: str
    arguments: str


class WireCall(Body):
    """A call of an assistant."""

    id: str
    type: Literal["function"] = "function"
    function: WireFunction
    index: int | None = None  # left there by clients that put streams together


class WireMessage(Body):
    """One message."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Any = None
    name: str | None = None
    tool_calls: list[WireCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    audio: None = None
    function_call: None = None
    annotations: list[Any] | None = None


def kernel_messages(wire: Sequence[WireMessage]) -> list[Message]:
    """The messages. Raises ApiError where calls and their results do not go together."""
    messages: list[Message] = []
    names: dict[str, str] = {}  # of the calls that have no result yet
    for number, message in enumerate(wire):
        where = f"messages.{number}"
        text = content_text(message.content, f"{where}.content")
        if message.role != "tool" and names:
            raise _unanswered(names)
        if message.tool_calls and message.role != "assistant":
            raise ApiError(400, f"{where}: only an assistant calls tools.", param=where)
        if message.role == "tool":
            call = message.tool_call_id or ""
            if call not in names:
                text = f"{where}: no call {call!r} before it waits for a result."
                raise ApiError(400, text, param=f"{where}.tool_call_id")
            messages.append(Message("tool", text, call_id=call, name=names.pop(call)))
        elif message.role == "assistant":
            calls = tuple(
                parsed_call(c.id, c.function.name, c.function.arguments)
                for c in message.tool_calls or ()
            )
            names = {call.id: call.name for call in calls}
            messages.append(Message("assistant", text or message.refusal or "", calls))
        elif message.role == "user":
            named = f"{message.name}: {text}" if message.name else text
            messages.append(Message("user", named))
        else:
            messages.append(Message("system", text))
    if names:
        raise _unanswered(names)
    if not messages:
        raise ApiError(400, "messages must not be empty.", param="messages")
    if messages[-1].role == "assistant":
        raise unsupported("going on with an assistant's message", f"messages.{len(wire) - 1}")
    return messages


def parsed_call(call: str, name: str, arguments: str) -> ToolCall:
    """A call whose arguments a client sent as text."""
    try:
        value = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        value = None
    return ToolCall(call, name, value if isinstance(value, dict) else None, arguments)


def _unanswered(names: dict[str, str]) -> ApiError:
    waiting = ", ".join(names)
    return ApiError(400, f"there is no result of the call {waiting}.", param="messages")
