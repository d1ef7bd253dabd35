"""The commands within a conversation: one function each, its first line is its help."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cabinos.cli.terminal import note

if TYPE_CHECKING:
    from cabinos.cli.chat import Chat

__all__ = ["SLASHES", "Slash", "help_text"]


@dataclass(frozen=True, slots=True)
class Slash:
    """A command as it was typed."""

    chat: "Chat"
    rest: str


def _help(_: Slash) -> None:
    """This list."""
    note(help_text(), dim=False)


def _ps(slash: Slash) -> None:
    """The processes there are."""
    from rich.console import Console

    from cabinos.cli.processes import process_table

    session = slash.chat.session

    async def read() -> list[object]:
        await session.kernel.store.commit()
        return list(session.kernel.ps())

    found = session.do(read())
    Console(stderr=True).print(process_table((p, 0) for p in found))  # type: ignore[misc]


def _tools(slash: Slash) -> None:
    """What the model may call here."""
    process = slash.chat.process()
    for tool in slash.chat.session.kernel.offered(process):
        note(f"{tool.name:<16} {tool.effect:<6} {tool.description.splitlines()[0]}", dim=False)


def _files(slash: Slash) -> None:
    """The folders, hosts and commands it may use."""
    granted = slash.chat.process().capabilities if slash.chat.pid else None
    grants = granted.files if granted else slash.chat.first.files
    for grant in grants:
        private = ", private" if grant.private else ""
        note(f"{grant.name} ({grant.mode}{private}): {grant.root}", dim=False)
    for host in granted.web if granted else slash.chat.first.web:
        note(f"{host} (web)", dim=False)
    if granted.shell if granted else slash.chat.first.shell:
        note("commands, in a sandbox", dim=False)
    if not grants:
        note("No folders. `cabin chat --files DIR` grants one.")


def _model(slash: Slash) -> None:
    """The model, or another one: /model NAME."""
    chat, kernel = slash.chat, slash.chat.session.kernel
    if slash.rest:
        kernel.model(slash.rest)  # raises if there is none
        chat.session.model = slash.rest
        if chat.pid is not None:
            chat.session.do(kernel.set_model(chat.pid, slash.rest))
    current = chat.process().model if chat.pid is not None else chat.session.model
    for name in kernel.models:
        note(f"{'*' if name == current else ' '} {name}", dim=False)


def _fork(slash: Slash) -> None:
    """Go on in a copy of this conversation; the original stays as it is."""
    before = slash.chat.process().pid
    slash.chat.switch(slash.chat.session.fork(before))
    note(f"Now in process {slash.chat.pid}. `cabin chat {before}` goes back.", dim=False)


def _recall(slash: Slash) -> None:
    """Find words in all that this conversation has seen: /recall WORDS."""
    if not slash.rest:
        note("Recall what? /recall WORDS")
        return
    process, kernel = slash.chat.process(), slash.chat.session.kernel

    async def find() -> str:
        return (await kernel.memory.recall(process, kernel.room(process), query=slash.rest))[0]

    note(slash.chat.session.do(find()), dim=False)


def _usage(slash: Slash) -> None:
    """Tokens, time and money so far."""
    account = slash.chat.process().account
    of = f" of {account.token_limit:,}" if account.token_limit is not None else ""
    note(f"{account.tokens:,}{of} tokens, {account.seconds:.1f} s, ${account.usd:.4f}", dim=False)


def _new(slash: Slash) -> None:
    """Begin a new conversation; this one stays."""
    if slash.chat.pid is not None:
        note(f"`cabin chat {slash.chat.pid}` goes back.")
    slash.chat.switch(None)


def _quit(_: Slash) -> None:
    """Leave; the conversation stays."""


SLASHES: dict[str, Callable[[Slash], None]] = {
    "/help": _help,
    "/ps": _ps,
    "/tools": _tools,
    "/files": _files,
    "/model": _model,
    "/fork": _fork,
    "/recall": _recall,
    "/usage": _usage,
    "/new": _new,
    "/quit": _quit,
}


def help_text() -> str:
    """All commands, a line each."""
    return "\n".join(f"{name:<8}  {command.__doc__}" for name, command in SLASHES.items())
