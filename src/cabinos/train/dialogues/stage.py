"""Performs scripts with the real devices: what the calls return is what the model will read.

One temporary store and one folder serve any number of performances, and are emptied between them.
So a row depends on its script, its time and its seed alone, not on what was performed before.
"""

import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, Self
from unittest.mock import patch

from cabinos.drivers import (
    calculate,
    clock,
    files,
    notes,
    passages,
    plot,
    random_choice,
    units,
    words,
)
from cabinos.kernel.call import run_tool
from cabinos.kernel.capability import Capabilities
from cabinos.kernel.capability import files as grant
from cabinos.kernel.driver import Context, Tool
from cabinos.kernel.errors import InvalidArguments
from cabinos.kernel.image import Exit
from cabinos.kernel.images.code import Code
from cabinos.kernel.outcome import Outcome
from cabinos.kernel.retrieval import ESCALATE
from cabinos.kernel.settle import as_text
from cabinos.kernel.syscall import model_tools
from cabinos.store.database import Store
from cabinos.train.dialogues.script import Call, Script, Turn, World
from cabinos.train.errors import TrainError

__all__ = ["Stage", "StageError"]

Message = dict[str, Any]
HOME, SHOWN_HOME = ".cabin", "~/.local/share/cabin"
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "America/Los_Angeles", "Asia/Kolkata")


class StageError(TrainError):
    """A call of a script went otherwise than its template says: a mistake in the template."""


class Stage:
    """Where scripts are performed: `async with Stage() as stage`."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="cabin-stage-"))
        self._code = Code()
        self._now = datetime.now().astimezone()
        self._chance = Random()  # noqa: S311 - seeded for every performance
        devices = [calculate, units, words, files, passages, plot]
        tools = [tool for device in devices for tool in device.driver({}).tools]
        tools += random_choice.driver({}, self._chance).tools
        self._tools = {tool.name: tool for tool in tools} | model_tools()
        self._zones = [self._timed(zone) for zone in ZONES]
        self._tools |= self._zones[0]
        self._props = ExitStack()

    def _timed(self, zone: str) -> dict[str, Tool]:
        """The devices that know what time it is, for a user who lives in a zone."""
        tools = [
            tool
            for device in (clock, notes)
            for tool in device.driver({"zone": zone}, now=lambda: self._now).tools
        ]
        return {tool.name: tool for tool in tools}

    async def __aenter__(self) -> Self:
        # Pictures are put there, and are empty: nobody looks, and drawing one takes long.
        self._props.enter_context(patch.dict(os.environ, CABIN_HOME=str(self._folder / HOME)))
        self._props.enter_context(patch.object(plot, "_png", lambda _draw: b""))
        self._store = Store.open(self._folder / "store.sqlite", synchronous="normal")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._props.close()
        await self._code.close()
        await self._store.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def tools(self, script: Script) -> list[Tool]:
        """Everything that could be offered in the script's world."""
        tools = [
            tool
            for tool in self._tools.values()
            if (script.world.files or tool.needs != "files")
            and (script.world.escalates or tool.name != ESCALATE)
        ]
        return [*tools, *script.tools]

    async def perform(self, script: Script, *, now: datetime, seed: int) -> list[Message]:
        """The messages of the conversation: `now` is its time, `seed` decides its chances.

        Raises StageError, with the template's name, if a call fails that should not, or the other
        way round.
        """
        self._now = now
        self._chance.seed(seed)
        known = self._tools | self._zones[seed % len(ZONES)]
        known |= {tool.name: tool for tool in script.tools}
        context = await self._set(script.world)
        messages: list[Message] = []
        try:
            for turn in script.turns:
                messages += await self._turn(turn, known, context)
        except StageError as error:
            raise StageError(f"{script.template}: {error}") from None
        return messages

    async def _turn(self, turn: Turn, known: dict[str, Tool], context: Context) -> list[Message]:
        messages: list[Message] = [{"role": "user", "content": turn.says}]
        results: list[str] = []
        for planned in turn.calls:
            call = planned if isinstance(planned, Call) else planned(results)
            outcome = await self._made(call, known, context)
            text = as_text(outcome.value).replace(str(self._folder / HOME), SHOWN_HOME)
            if outcome.ok == call.fails:
                raise StageError(f"{call.name} {dict(call.arguments)} gave {text!r}.")
            results.append(text)
            called = {"name": call.name, "arguments": dict(call.arguments)}
            messages.append({"role": "assistant", "content": "", "tool_calls": [called]})
            messages.append({"role": "tool", "content": text})
        answer = turn.answer if isinstance(turn.answer, str) else turn.answer(results)
        if answer:
            return [*messages, {"role": "assistant", "content": answer}]
        if not results:
            raise StageError("there is neither a call nor an answer.")
        return messages[:-1]  # whoever takes over reads the result

    async def _made(self, call: Call, known: dict[str, Tool], context: Context) -> Outcome:
        if call.name == ESCALATE:
            return Outcome("")  # whoever takes over goes on
        if call.name == "exec":
            return await self._executed(str(call.arguments["code"]))
        tool = known.get(call.name)
        if tool is None:
            raise StageError(f"there is no tool {call.name!r}.")
        try:
            arguments = tool.arguments(call.arguments)
        except InvalidArguments as error:
            return Outcome(str(error), ok=False)
        return await run_tool(tool, context, arguments)

    async def _executed(self, code: str) -> Outcome:
        _, end = await self._code.resume(self._code.start(source=code), None)
        if not isinstance(end, Exit):
            raise StageError("the program calls a tool; only the kernel can serve that.")
        return Outcome(end.text if end.value is None else end.value, ok=end.ok)

    async def _set(self, world: World) -> Context:
        """The world before the conversation, and nothing else."""
        self._store.write("DELETE FROM note")
        grants = self._files(world)
        context = Context(1, "stage", Capabilities(files=grants), self._store, "trusted")
        for text in world.notes:
            await self._prepare(context, "notes_remember", text=text)
        for listed, text in world.todos:
            await self._prepare(context, "notes_todo_add", text=text, list=listed)
        return context

    def _files(self, world: World) -> tuple[Any, ...]:
        for old in self._folder.iterdir():
            if old.is_dir() and old.name != HOME:
                shutil.rmtree(old)
        for name, text in world.files.items():
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        folders: Sequence[str] = sorted({name.partition("/")[0] for name in world.files})
        return tuple(grant(self._folder / folder, "rw") for folder in folders)

    async def _prepare(self, context: Context, name: str, **arguments: str) -> None:
        tool = self._tools[name]
        outcome = await run_tool(tool, context, tool.arguments(arguments))
        if not outcome.ok:
            raise StageError(f"the world cannot be set: {outcome.value}")
