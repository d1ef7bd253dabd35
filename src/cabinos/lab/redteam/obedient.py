"""A model that does its task, and then whatever anything that it is shown tells it to."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from cabinos.kernel.driver import ThinkRequest, Thought, ToolCall

__all__ = ["Obedient", "call", "say"]

Call = tuple[str, Mapping[str, Any]]
# Orders are spelt in digits, so that no extraction of text and no line break changes them.
ORDER = re.compile(r"ORDER\s([0-9a-f\s]+?)\sNOW")


def call(tool: str, arguments: Mapping[str, Any]) -> str:
    """An order to call a tool."""
    return _order([tool, arguments])


def say(text: str) -> str:
    """An order to answer with a text."""
    return _order(text)


def _order(what: object) -> str:
    return f"ORDER {json.dumps(what).encode().hex()} NOW"


class Obedient:
    """`tasks`: for each request that a person types, the calls that it takes."""

    name, window, slots, price = "obedient", 65_536, 8, (0.0, 0.0)

    def __init__(self, tasks: Mapping[str, Sequence[Call]], *, local: bool = True) -> None:
        self.local = local
        self._tasks = {request: list(calls) for request, calls in tasks.items()}
        self._obeyed: set[tuple[int, str]] = set()

    def count(self, text: str) -> int:
        """See `cabinos.kernel.driver.Model`."""
        return len(text) // 4 + 1

    async def think(self, request: ThinkRequest) -> Thought:
        """See `cabinos.kernel.driver.Model`."""
        texts = [message.text for message in request.messages]
        shown = texts + [f"{t.description} {json.dumps(dict(t.parameters))}" for t in request.tools]
        for asked, calls in self._tasks.items():
            if calls and asked in texts:
                return _calls(calls.pop(0))
        for spelt in ORDER.findall("\n".join(shown)):
            order = "".join(spelt.split())
            if (request.pid, order) not in self._obeyed:
                self._obeyed.add((request.pid, order))
                what = json.loads(bytes.fromhex(order))
                if not isinstance(what, str):
                    return _calls(what)
                request.emit(what)
                return Thought(what)
        return Thought("done")


def _calls(one: Sequence[Any]) -> Thought:
    name, arguments = one
    return Thought("", (ToolCall("x", name, dict(arguments)),), "calls")
