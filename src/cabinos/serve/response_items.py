"""The input of a response: messages, results of calls, and answers to what a person was asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cabinos.kernel.driver import Message
from cabinos.serve.chat_messages import parsed_call
from cabinos.serve.errors import ApiError
from cabinos.serve.wire import content_text, unsupported

__all__ = ["ASK", "Input", "read_input"]

ASK = "mcpr_"  # begins the id of a question to a person
ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}


@dataclass(slots=True)
class Input:
    """What a client says."""

    messages: list[Message] = field(default_factory=list)
    results: dict[str, str] = field(default_factory=dict)  # by call id, of calls before this input
    approvals: dict[int, bool] = field(default_factory=dict)  # by number of the question


def read_input(given: str | list[Any]) -> Input:
    """The items in order. Raises ApiError."""
    if isinstance(given, str):
        return Input([Message("user", given)])
    found = Input()
    open_calls: dict[str, str] = {}  # id: name, of calls in this input that have no result yet
    for number, item in enumerate(given):
        where = f"input.{number}"
        if not isinstance(item, dict):
            raise ApiError(400, f"{where} must be an object.", param=where)
        kind = item.get("type", "message")
        if kind == "message":
            _message(found, item, where)
        elif kind == "function_call":
            call = _call(found, item, where)
            open_calls[call] = item["name"]
        elif kind == "function_call_output":
            call, text = _text(item, "call_id", where), content_text(item.get("output"), where)
            if call in open_calls:
                name = open_calls.pop(call)
                found.messages.append(Message("tool", text, call_id=call, name=name))
            else:
                found.results[call] = text
        elif kind == "mcp_call":  # what one of Cabin's tools did, given back to a new conversation
            call = _call(found, item, where)
            text = content_text(item.get("output"), where) or str(item.get("error") or "")
            found.messages.append(Message("tool", text, call_id=call, name=item["name"]))
        elif kind == "mcp_approval_response":
            found.approvals[_ask(item, where)] = item.get("approve") is True
        elif kind != "mcp_approval_request":
            raise unsupported(f"an item of type {kind!r}", where)
    if open_calls:
        raise ApiError(
            400, f"there is no output of the call {', '.join(open_calls)}.", param="input"
        )
    return found


def _message(found: Input, item: Mapping[str, Any], where: str) -> None:
    role = ROLES.get(str(item.get("role")))
    if role is None:
        raise ApiError(400, f"{where}.role is none of: {', '.join(ROLES)}.", param=f"{where}.role")
    text = content_text(item.get("content"), f"{where}.content")
    found.messages.append(Message(role, text))  # type: ignore[arg-type] # one of ROLES' values


def _call(found: Input, item: Mapping[str, Any], where: str) -> str:
    """Adds a call to the assistant's message before it; returns its id."""
    call_id = item.get("call_id") or _text(item, "id", where)
    name, arguments = _text(item, "name", where), _text(item, "arguments", where)
    call = parsed_call(str(call_id), name, arguments)
    last = found.messages[-1] if found.messages else None
    if last is not None and last.role == "assistant":
        found.messages[-1] = Message("assistant", last.text, (*last.calls, call))
    else:
        found.messages.append(Message("assistant", "", (call,)))
    return call.id


def _ask(item: Mapping[str, Any], where: str) -> int:
    number = _text(item, "approval_request_id", where).removeprefix(ASK)
    if not number.isdecimal():
        raise ApiError(400, f"{where}: no such approval request.", param=where)
    return int(number)


def _text(item: Mapping[str, Any], name: str, where: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise ApiError(400, f"{where}.{name} must be text.", param=f"{where}.{name}")
    return value
