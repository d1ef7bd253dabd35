"""A conversation before it is performed: what is said, what is called, what is answered.

Answers are functions of what the calls really returned, so no row can claim a result that no device
ever gave.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cabinos.kernel.driver import Tool

__all__ = ["Call", "Results", "Script", "Turn", "World"]

Results = Sequence[str]  # what each call of the turn returned, as the model reads it


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user says, the calls it takes one after the other, and the answer.

    A call, or the answer, may depend on what the calls before it returned.
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
    """A conversation. `template` names the wording it came from: "units/how-many-in"."""

    template: str
    turns: tuple[Turn, ...]
    world: World = World()
    tools: tuple[Tool, ...] = ()  # of this conversation alone, unknown to every other
