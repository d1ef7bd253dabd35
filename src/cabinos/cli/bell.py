"""Reminders at the terminal: whatever the command is, a person who is there is told."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cabinos.cli.follow import one_line
from cabinos.cli.terminal import note

if TYPE_CHECKING:
    from cabinos.kernel.events import Event
    from cabinos.store.database import Store

__all__ = ["Bell"]

LATE = 60.0  # seconds after which it is said how late a reminder comes
LONG = 300  # characters of a reminder
UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60))


class Bell:
    """Listens to a kernel's events, in its thread, and prints reminders.

    `after` is called when one was printed: whoever reads a line there shows its prompt again.
    """

    def __init__(self, store: "Store") -> None:
        self._store = store
        self.after: Callable[[], object] = bool

    def put_nowait(self, event: "Event") -> None:
        """Prints a reminder. It counts as told where a terminal shows it."""
        if event.kind != "reminder":
            return
        from cabinos.drivers.reminders import told

        terminal = sys.stderr.isatty()
        late = time.time() - event.data["due"]
        lead = "\n" if terminal else ""  # an answer's line may be open
        note(f"{lead}Reminder{_ago(late)}: {one_line(event.data['text'], LONG)}", dim=False)
        self.after()
        if terminal:
            told(self._store, event.data["note"])


def _ago(seconds: float) -> str:
    """` (3 hours ago)`, or nothing where that is not worth a word."""
    for unit, length in UNITS:
        if seconds >= length and seconds >= LATE:
            count = int(seconds // length)
            return f" ({count} {unit}{'' if count == 1 else 's'} ago)"
    return ""
