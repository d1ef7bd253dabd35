"""A conversation before it is performed: what is said, what is called, what is answered.

Answers are functions of what the calls really returned, so no row can claim a result that no device
ever gave.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from cabinos.kernel.driver import Tool
from cabinos.train.dialogues.fillers import Fillers

__all__ = ["Call", "Results", "Script", "Template", "Turn", "World", "templates"]

Results = Sequence[str]  # what each call of the turn returned, as the model reads it


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool."""

    name: str
    arguments: Mapping[str, Any]
    fails: bool = False  # it is to be refused, and what follows answers that


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user says, the calls it takes one after the other, and the answer.

    A call, or the answer, may depend on what the calls before it returned. An empty answer: the
    last call ends the conversation, as `escalate` does.
    """

    says: str
    answer: str | Callable[[Results], str]
    calls: tuple[Call | Callable[[Results], Call], ...] = ()


@dataclass(frozen=True, slots=True)
class World:
    """What there is before the conversation begins."""

    files: Mapping[str, str] = field(default_factory=dict)  # "folder/name.txt": its text
    notes: tuple[str, ...] = ()  # remembered earlier
    todos: tuple[tuple[str, str], ...] = ()  # (list, thing to do)
    escalates: bool = False  # whether a larger model is configured


@dataclass(frozen=True, slots=True)
class Script:
    """A conversation. `template` names the wording it came from: "units/how-many-in".

    `templates` puts that name in.
    """

    turns: tuple[Turn, ...]
    world: World = World()
    tools: tuple[Tool, ...] = ()  # of this conversation alone, unknown to every other
    template: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """One wording, and how a conversation is made of it.

    Its digest decides whether it is held out: no training ever sees it then.
    """

    name: str  # "units/how-many-1f3a": the family, what is asked for, and the pattern's digest
    write: Callable[[Random, Fillers], Script]

    @property
    def family(self) -> str:
        """The part of the name before the first slash."""
        return self.name.partition("/")[0]

    @property
    def digest(self) -> int:
        """A number that only the name decides."""
        return int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:8])


Write = Callable[[Random, Fillers, str], Turn | Script]


def templates(kind: str, write: Write, patterns: Sequence[str]) -> list[Template]:
    """A template for each pattern: `write(rng, fillers, pattern)` says it and answers it.

    `kind` is "family/what is asked for".
    """

    def made(pattern: str) -> Template:
        name = f"{kind}-{hashlib.sha256(pattern.encode()).hexdigest()[:6]}"

        def script(rng: Random, fillers: Fillers) -> Script:
            told = write(rng, fillers, pattern)
            return replace(told if isinstance(told, Script) else Script((told,)), template=name)

        return Template(name, script)

    return [made(pattern) for pattern in patterns]
