"""A conversation with a model: real kernel, real devices, and what is left of it afterwards.

Every conversation has a kernel and a store of its own in a temporary folder, so that what one case
remembers no other can find. The model is shared: its engine batches the thoughts of all that run.
The clock stands still, and chance may have a seed, so that two conversations about the same thing
can be compared to the last digit.
"""

import asyncio
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
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
from cabinos.kernel.capability import Capabilities, FileGrant
from cabinos.kernel.capability import files as grant
from cabinos.kernel.driver import Context, Driver, Model, ThinkRequest, Thought, Tool
from cabinos.kernel.errors import KernelError
from cabinos.kernel.kernel import Kernel, ProcessHandle, Spawn
from cabinos.kernel.process import State
from cabinos.train.dialogues.script import World

if TYPE_CHECKING:
    from cabinos.kernel.events import Event

__all__ = ["Made", "Reply", "Scene", "Talk", "backstage", "converse", "devices"]

MOST_STEPS = 8
PATIENCE = 300.0  # seconds for one conversation
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)  # when conversations take place that name no time


EMPTY = World()
_now: ContextVar[datetime] = ContextVar("_now")


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a conversation takes place."""

    world: World = EMPTY
    now: datetime = NOON
    chance: int | None = None  # decides dice and coins
    tools: tuple[Tool, ...] = ()  # of this conversation alone
    only: tuple[str, ...] | None = None  # the tools that may be used; None: all
    steps: int = MOST_STEPS  # thoughts of one answer, at most


@dataclass(frozen=True, slots=True)
class Made:
    """A call, and what it returned as the model reads it."""

    name: str
    arguments: Mapping[str, Any]
    text: str = ""
    ok: bool = False


@dataclass(slots=True)
class Reply:
    """The model's side of one turn."""

    text: str = ""
    calls: list[Made] = field(default_factory=list)


@dataclass(slots=True)
class Talk:
    """What came of a conversation: each turn, and what was there in the end."""

    replies: list[Reply] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)  # kind, list, text, done, due
    files: dict[str, str] = field(default_factory=dict)
    trouble: str = ""  # why it ended early

    @property
    def calls(self) -> list[Made]:
        """All calls, in order."""
        return [call for reply in self.replies for call in reply.calls]

    @property
    def answer(self) -> str:
        """The last thing that was said."""
        return self.replies[-1].text if self.replies else ""


async def converse(model: Model, says: Sequence[str], scene: Scene, *, seed: int = 0) -> Talk:
    """Says one thing after the other to the model, and looks at what it leaves.

    The model answers without chance. What goes wrong in it is in `Talk.trouble`.
    """
    with tempfile.TemporaryDirectory(prefix="cabin-eval-", dir=_quick()) as folder:
        place = Path(folder)
        _now.set(scene.now)  # every task of this kernel is born of this one
        tools = {tool.name: tool for tool in (*devices(scene), *scene.tools)}
        larger = [_LARGER] if scene.world.escalates else []
        kernel = Kernel.open(
            place / "cabin.db",
            drivers=[Driver("devices", list(tools.values()))],
            models=[model, *larger],
            config={"cabin": {"escalate": _LARGER.name}} if larger else {},
            synchronous="normal",
        )
        async with kernel:
            grants = await _set(kernel, tools, scene.world, place / "files")
            spawn = Spawn(
                request=says[0],
                model=model.name,
                tools=scene.only,
                files=grants,
                temperature=0.0,
                seed=seed,
                stay=True,
                plan=False,  # its calls would be the kernel's, and not be seen here
                max_steps=scene.steps,
            )
            talk = Talk()
            try:
                async with asyncio.timeout(PATIENCE):
                    await _talk(kernel, spawn, says, talk)
            except TimeoutError:
                talk.trouble = f"no answer within {PATIENCE:.0f} seconds"
            except KernelError as error:
                talk.trouble = str(error)
            talk.notes = _notes(kernel)
        talk.files = {
            path.relative_to(place / "files").as_posix(): path.read_text("utf-8", "replace")
            for path in sorted((place / "files").rglob("*"))
            if path.is_file()
        }
    return talk


async def _talk(kernel: Kernel, spawn: Spawn, says: Sequence[str], talk: Talk) -> None:
    (handle,) = await kernel.spawn_many([spawn])
    with kernel.events.subscribe(handle.pid) as events:
        for number, said in enumerate(says):
            if number:
                await handle.send(said)
            talk.replies.append(Reply())
            if not await _turn(kernel, handle, events, talk):
                return


async def _turn(
    kernel: Kernel, handle: ProcessHandle, events: "asyncio.Queue[Event]", talk: Talk
) -> bool:
    """One turn, to where the model waits for the next; False if there will be none."""
    reply, open_calls = talk.replies[-1], dict[str, Made]()
    while True:
        event = await events.get()
        match event.kind:
            case "result" if event.id in open_calls:
                made = open_calls.pop(event.id)
                reply.calls.append(Made(made.name, made.arguments, event.text, event.ok))
            case "thought":
                page = kernel.pages.get(event.page)
                reply.text = page.text
                for id_, name, arguments, _ in json.loads(page.meta or "{}").get("calls", ()):
                    open_calls[id_] = Made(name, arguments or {})
            case "ask":
                await kernel.answer(event.ask, "approved")
            case "exit":
                talk.trouble = "" if event.status == "done" else str(event.text)
                return False
            case "state" if event.state in (State.STOPPED, State.IN_DOUBT, "lost"):
                talk.trouble = str(event.why)
                return False
            case "state" if _listens(handle):
                return True


def _listens(handle: ProcessHandle) -> bool:
    """Whether it waits for the next message, and for nothing else."""
    process = handle.process
    calls = process.pending.get("calls", {})
    return process.state == State.BLOCKED and any(call["n"] == "recv" for call in calls.values())


def _quick() -> str | None:
    """Where temporary files stay in memory, if there is such a place: a store syncs often."""
    place = Path("/dev/shm")  # noqa: S108 - the folder made there has a random name
    return str(place) if os.access(place, os.W_OK) else None


class _Larger:
    """The model that conversations may be handed over to. Nobody measures what it says."""

    name, window, slots = "the larger model", 1 << 20, 64
    local, price = True, (0.0, 0.0)

    def count(self, text: str) -> int:
        return len(text) // 4 + 1

    async def think(self, _request: ThinkRequest) -> Thought:
        return Thought("I take it from here.")


_LARGER = _Larger()


@contextmanager
def backstage() -> Iterator[None]:
    """A block in which pictures are drawn nowhere: they would go to the user's own folder."""
    with (
        tempfile.TemporaryDirectory(prefix="cabin-eval-") as folder,
        patch.dict(os.environ, CABIN_HOME=folder),
        patch.object(plot, "_png", lambda _draw: b""),
    ):
        yield


# ---- The world -----------------------------------------------------------------------------------


def devices(scene: Scene) -> tuple[Tool, ...]:
    """The devices that people have, but for those that would reach out of the machine."""
    if scene.chance is None:
        return _devices()
    chance = {tool.name: tool for tool in random_choice.driver({"seed": scene.chance}).tools}
    return tuple(chance.get(tool.name, tool) for tool in _devices())


@cache  # to make a tool of a function takes milliseconds
def _devices() -> tuple[Tool, ...]:
    still = (calculate, units, words, files, passages, plot, random_choice)
    drivers = [device.driver({}) for device in still]
    drivers += [device.driver({"zone": "UTC"}, now=_now.get) for device in (clock, notes)]
    return tuple(tool for driver in drivers for tool in driver.tools)


async def _set(
    kernel: Kernel, tools: Mapping[str, Tool], world: World, folder: Path
) -> tuple[FileGrant, ...]:
    """What there is before the conversation; returns the folders that may be used."""
    folder.mkdir()
    for name, text in world.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    context = Context(0, "before", Capabilities(), kernel.store, "trusted")
    for text in world.notes:
        await _do(tools["notes_remember"], context, text=text)
    for listed, text in world.todos:
        await _do(tools["notes_todo_add"], context, text=text, list=listed)
    names = sorted({name.partition("/")[0] for name in world.files})
    return tuple(grant(folder / name, "rw") for name in names)


async def _do(tool: Tool, context: Context, **arguments: str) -> None:
    outcome = await run_tool(tool, context, tool.arguments(arguments))
    if not outcome.ok:
        raise RuntimeError(f"the world cannot be set: {outcome.value}")


KEPT = ("kind", "list", "text", "done", "due")


def _notes(kernel: Kernel) -> list[dict[str, Any]]:
    """The rows of notes without what differs from run to run; `done` is whether it is."""
    columns = [row[1] for row in kernel.store.rows("PRAGMA table_info(note)")]
    kept = [name for name in KEPT if name in columns]
    found = []
    for row in kernel.store.rows(f"SELECT {', '.join(kept)} FROM note ORDER BY id"):
        note = dict(zip(kept, row, strict=True))
        found.append(note | {"done": note["done"] is not None})
    return found
