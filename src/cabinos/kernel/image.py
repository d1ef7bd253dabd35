"""An image: what a process runs, as a pure function from (state, results) to (state, what next).

State is JSON and lies in the process's row. The same state and results give the same next step, so
a process can be stopped, forked, moved and replayed at any syscall.
"""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

__all__ = ["Call", "Exit", "Image", "Result", "Step", "Syscall"]


@dataclass(slots=True)
class Call:
    """One call: a syscall or tool by name. `arguments` None: what a model wrote was not JSON."""

    name: str
    arguments: Mapping[str, Any] | None = field(default_factory=dict)
    facts: Mapping[str, Any] | None = None  # of a plan: label and origin of each argument


@dataclass(slots=True)
class Syscall:
    """Calls that are made together and settle by id, in any order.

    `paged`: each result becomes a page of the process, in the order of the calls.
    """

    calls: Mapping[str, Call]
    paged: bool = False
    seconds: float = 0.0  # of computing before them

    @classmethod
    def one(cls, name: str, **arguments: Any) -> "Syscall":
        """A single call."""
        return cls({"0": Call(name, arguments)})


@dataclass(slots=True)
class Exit:
    """The process ends. `ok` False: it failed, and `text` says why."""

    text: str = ""
    ok: bool = True
    value: Any = None  # a structured answer
    note: str = ""  # what should be known of the answer, for people
    seconds: float = 0.0  # of computing before it


@dataclass(slots=True)
class Result:
    """How one call ended: a value, or where not `ok` a message."""

    value: Any
    ok: bool = True
    label: Literal["trusted", "untrusted"] = "trusted"
    readers: frozenset[str] | None = None  # who may read it beyond this machine; None: anybody


Step = tuple[dict[str, Any], Syscall | Exit]


class Image(Protocol):
    """A kind of program."""

    def resume(
        self, state: dict[str, Any], results: Mapping[str, Result] | None
    ) -> Step | Awaitable[Step]:
        """The next step. `results` is None at the start. Must not change `state` in place."""
