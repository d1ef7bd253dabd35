"""What a call comes to: an outcome, or a reason to wait."""

from dataclasses import dataclass
from typing import Any

from cabinos.kernel.driver import Integrity

__all__ = ["Blocked", "Outcome", "Record"]

# A call in a process's row: {"n": name, "a": arguments, "s": state, …}. States: absent (not begun),
# "sent" (the intent is committed, the effect may have happened), "wait", "done" (with "r").
Record = dict[str, Any]


@dataclass(slots=True)
class Outcome:
    """A settled call."""

    value: Any
    ok: bool = True
    label: Integrity = "trusted"
    sources: frozenset[str] | None = None  # of what is untrusted; None: nobody knows
    readers: frozenset[str] | None = None  # who may read it beyond this machine; None: anybody
    page: int | None = None  # the page that holds it already


@dataclass(slots=True)
class Blocked:
    """The call waits for something outside: a person, a process, a message, the clock."""

    why: str
    wake: float | None = None  # seconds since 1970
    doubt: bool = False  # an effect may have happened
