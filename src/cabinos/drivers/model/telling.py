"""Answers of a small model that say what its tools returned: the device says it, not the model.

A model of some million parameters knows when a result answers the request, and garbles it when it
writes it anew. So it is trained to answer with one token, TAG, which stands for what the tools of
the turn returned, as each tool `says` it to a person. The template in its file writes the same
token for every answer after a result, so that it sees of its past what it was trained with.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cabinos.kernel.driver import Message, Tool

__all__ = ["TAG", "Teller", "told"]

TAG = "<tool_response>"


class Teller:
    """Replaces TAG in text that comes in pieces."""

    def __init__(self, messages: Sequence[Message], tools: Sequence[Tool]) -> None:
        self._messages, self._tools = messages, tools
        self._held = ""

    def push(self, text: str) -> str:
        """What can be shown by now: all but what may be the beginning of a TAG."""
        self._held += text
        if TAG in self._held:
            self._held = self._held.replace(TAG, told(self._messages, self._tools))
        longest = min(len(self._held), len(TAG) - 1)
        kept = next((n for n in range(longest, 0, -1) if TAG.startswith(self._held[-n:])), 0)
        shown = self._held[: len(self._held) - kept]
        self._held = self._held[len(shown) :]
        return shown

    def finish(self) -> str:
        """The rest."""
        rest, self._held = self._held, ""
        return rest


def told(messages: Sequence[Message], tools: Sequence[Tool]) -> str:
    """What the calls since the user's last message returned, each as its tool says it."""
    says = {tool.name: tool.says for tool in tools}
    asked = max((n for n, message in enumerate(messages) if message.role == "user"), default=-1)
    turn = messages[asked + 1 :]
    calls = {call.id: call for message in turn for call in message.calls}
    parts = []
    for message in turn:
        if message.role == "tool":
            call = calls.get(message.call_id)
            name = call.name if call else message.name
            arguments = (call and call.arguments) or {}
            parts.append(_said(says.get(name), arguments, message.text))
    return ("\n" if any("\n" in part for part in parts) else " ").join(filter(None, parts))


def _said(
    says: Callable[[Mapping[str, Any], str], str] | None, arguments: Mapping[str, Any], result: str
) -> str:
    text = says(arguments, result).strip() if says else _listed(result.strip())
    if "\n" in text or not text:
        return text
    text = text[0].upper() + text[1:] if text.split()[0].isalpha() else text
    ended = text.rstrip("'\"")[-1:] in ".!?:"
    return text if ended else f"{text}."


def _listed(result: str) -> str:
    """`{"before": 15}` as `before: 15`; what is no flat JSON object, as it is."""
    if not result.startswith("{"):
        return result
    try:
        values = json.loads(result)
    except (ValueError, RecursionError):
        return result
    if any(isinstance(value, list | dict) for value in values.values()):
        return result
    return ", ".join(f"{name}: {'' if v is None else v}" for name, v in values.items())
