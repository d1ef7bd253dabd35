"""A plug-in with a model that does what it is told in so many words, and tools to call.

Installed like anybody's: by the entry points of a distribution on the path (see conftest.py).
"""

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cabinos.kernel.driver import Driver, ThinkRequest, Thought, ToolCall, tool
from cabinos.kernel.errors import KernelError, ModelError


class Puppet:
    """Obeys the last paragraph of the last message:

    say TEXT · call NAME {json} · hang · interrupt (presses Ctrl-C, then hangs) · fail · read (says
    how much stands below) · anything else is said back.
    """

    name, window, slots, local, price = "puppet", 8192, 4, True, (1.0, 2.0)

    def count(self, text: str) -> int:
        return len(text) // 4 + 1

    async def think(self, request: ThinkRequest) -> Thought:
        last = request.messages[-1]
        read = sum(self.count(message.text) for message in request.messages)
        if last.role == "tool":
            return self._say(request, f"it says: {last.text}", read)
        if request.schema is not None:
            return self._say(request, '{"n": 1}', read)
        if last.text.startswith("read\n"):
            return self._say(request, f"{len(last.text) - 6} characters", read)
        verb, _, rest = last.text.rpartition("\n\n")[2].partition(" ")
        match verb:
            case "say":
                return self._say(request, rest.encode().decode("unicode_escape"), read)
            case "call":
                name, _, arguments = rest.partition(" ")
                call = ToolCall("x", name, json.loads(arguments or "{}"))
                request.emit("One moment. ")
                return Thought("One moment. ", (call,), "calls", read, 0, 8)
            case "hang":
                request.emit("Thinking about it. ")
                await asyncio.Event().wait()
            case "interrupt":
                os.kill(os.getpid(), signal.SIGINT)
                await asyncio.Event().wait()
            case "fail":
                raise ModelError("puppet: the strings are cut.")
        return self._say(request, f"you said: {last.text}", read)

    def _say(self, request: ThinkRequest, text: str, read: int) -> Thought:
        for word in text.split(" "):
            request.emit(word if word is text else f"{word} ")
        return Thought(text, (), "stop", read, 0, self.count(text))


def driver(config: Mapping[str, Any]) -> Driver:
    """The device. `config`: colour, one of blue and red."""
    if config.get("colour", "blue") not in ("blue", "red"):
        raise KernelError(f"puppet.colour: blue or red, not {config['colour']!r}.")
    models = [] if os.environ.get("PUPPET_MODEL") == "none" else [Puppet()]
    return Driver("puppet", tools=[paint, strike, rumour], models=models)


@tool(effect="raw", ask=True)
async def paint(wall: str) -> str:
    """Paints a wall, after a person has allowed it."""
    with Path(os.environ["PUPPET_WORLD"]).open("a") as world:
        world.write(f"painted {wall}\n")
    return f"{wall} is painted"


@tool(effect="raw", label="trusted")
async def strike(hour: int) -> str:
    """Strikes the bell, and hangs after it."""
    with Path(os.environ["PUPPET_WORLD"]).open("a") as world:
        world.write(f"struck {hour}\n")
    await asyncio.Event().wait()
    return "never"


@tool(effect="pure")
async def rumour() -> str:
    """What is said out there."""
    return "the moon is cheese"
