"""A person at this terminal who compares two answers: blind, with one key for each."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from cabinos.cli.terminal import clean, note

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from cabinos.lab.comparisons.collect import Answer, Question
    from cabinos.lab.comparisons.pair import Message

__all__ = ["TerminalRater", "rater_option"]

KEYS: "dict[str, tuple[Answer, str]]" = {
    "1": ("left", "1 the first"),
    "2": ("right", "2 the second"),
    "t": ("tie", "t tie"),
    "b": ("bad", "b both bad"),
    "s": ("skip", "s skip"),
    "u": ("undo", "u undo"),
    "q": ("quit", "q quit"),
}
LINE = " · ".join(said for _, said in KEYS.values())
BESIDE = 100  # columns from where on two answers stand side by side


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"


rater_option = click.option(
    "--rater",
    default=_user,
    show_default="your user name",
    metavar="NAME",
    help="Who compares: kept with each answer.",
)


class TerminalRater:
    """See `Rater`. `progress` says how far one has come, above each question.

    Where stdin is no terminal, each line is an answer and its end is the end.
    """

    def __init__(self, progress: Callable[[], str]) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self._progress = progress

    def rate(self, question: "Question") -> "Answer":
        """Shows both and waits for a key. Ctrl-C and Ctrl-D quit: nothing is lost by it."""
        _show(self._console, question, self._progress())
        while True:
            try:
                key = self._key()
            except (KeyboardInterrupt, EOFError):
                note("")
                return "quit"
            if key in KEYS:
                return KEYS[key][0]
            note(f"{key!r} is none of the keys: {LINE}", dim=False)

    def _key(self) -> str:
        if not sys.stdin.isatty():
            line = sys.stdin.readline()
            if not line:
                raise EOFError
            return line.strip().lower()
        return _pressed(sys.stdin.fileno())


def _pressed(terminal: int) -> str:
    """The next key. What was pressed before is thrown away: nobody answers what they have not seen.

    click.getchar would throw away what is pressed after the keys are shown, too.
    """
    import termios
    import tty

    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSAFLUSH)
        note(LINE)
        key = os.read(terminal, 16).decode("utf-8", "replace").lower()
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
    if key in ("", "\x04"):
        raise EOFError
    return key


def _show(console: "Console", question: "Question", progress: str) -> None:
    from rich.panel import Panel
    from rich.rule import Rule
    from rich.table import Table
    from rich.text import Text

    def panel(title: str, messages: "Sequence[Message]") -> Panel:
        return Panel(Text(_told(messages)), title=title, title_align="left")

    console.print(Rule(progress, style="dim"))
    console.print(Text(_told(question.prompt), style="bold"))
    left, right = panel("1", question.left), panel("2", question.right)
    shown: Sequence[RenderableType] = [left, right]
    if console.width >= BESIDE:
        grid = Table.grid(expand=True)
        grid.add_column(ratio=1)
        grid.add_column(ratio=1)
        grid.add_row(left, right)
        shown = [grid]
    for part in shown:
        console.print(part)


def _told(messages: "Sequence[Message]") -> str:
    """What messages say, and who where several speak; without what a terminal would obey."""
    from cabinos.lab.comparisons.pair import text_of

    roles = {message["role"] for message in messages}
    if len(roles) == 1:
        return clean("\n\n".join(text_of([message]) for message in messages))
    parts = [f"{message['role']}: {text_of([message])}" for message in messages]
    return clean("\n\n".join(parts))


def habits(same: Any, leaning: Any) -> list[str]:
    """How a person rates, in sentences: an `Agreement` and a `Lean`."""
    lines = []
    if same.pairs:
        kappa = "" if same.kappa is None else f", Cohen's kappa {same.kappa:.2f}"
        low, high = (100 * bound for bound in same.interval)
        lines.append(
            f"Asked twice, the same answer {same.same} of {same.pairs} times "
            f"({100 * same.share:.0f} %, {low:.0f} – {high:.0f}{kappa})."
        )
    if leaning.decided:
        low, high = (100 * bound for bound in leaning.interval)
        lines.append(
            f"The left one won {leaning.left} of {leaning.decided} ({100 * leaning.share:.0f} %, "
            f"{low:.0f} – {high:.0f})."
        )
    return lines


def habits_json(same: Any, leaning: Any) -> dict[str, Any]:
    """The same as data."""
    return {
        "repeats": same.pairs,
        "same": same.same,
        "kappa": same.kappa,
        "left": leaning.left,
        "decided": leaning.decided,
    }
