"""What reaches the person, and what comes back: a terminal shows model text and never obeys it."""

import json
import os
import re
import sys
from collections.abc import Iterable
from typing import IO, Any

import click

__all__ = ["Answers", "Page", "clean", "note", "print_json", "show", "visible"]

# What a terminal would obey, or a reader would not see: C0 but tab and newline, DEL and C1; marks
# and overrides of direction; separators and joiners of width zero but those that scripts need;
# annotations; tags and the variation selectors beyond the first sixteen (plane 14).
UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


def clean(text: str) -> str:
    """The text without what a terminal would obey and without hidden characters."""
    return UNSAFE.sub("", text)


def visible(text: str) -> str:
    r"""The text with such characters written out, as \u202e: what a person is to judge."""
    return UNSAFE.sub(lambda found: _escaped(found[0]), text)


def _escaped(character: str) -> str:
    """The character as JSON escapes it, in one or two halves."""
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"


def show(texts: Iterable[str], *, end: str = "\n") -> None:
    """Prints each text as it comes, then `end`; to a terminal, without what it would obey."""
    terminal = sys.stdout.isatty()
    for text in texts:
        sys.stdout.write(clean(text) if terminal else text)
        sys.stdout.flush()
    sys.stdout.write(end)
    sys.stdout.flush()


def note(text: str, *, dim: bool = True) -> None:
    """A line beside the answer: on stderr, dim where that can be seen. Always cleaned."""
    text = clean(text)
    if dim and sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        text = click.style(text, dim=True)
    click.echo(text, err=True)


def print_json(data: Any) -> None:
    """One JSON document; where a terminal reads it, without anything that it would obey."""
    text = json.dumps(data, ensure_ascii=False, indent=2)
    click.echo(visible(text) if sys.stdout.isatty() else text)


class Page:
    """The answer on stdout and notes on stderr, which may be the same screen."""

    def __init__(self, *, silent: bool = False, quiet: bool = False) -> None:
        self._silent = silent
        self._quiet = quiet
        self._terminal = sys.stdout.isatty()
        self._open = False  # a line of the answer has no end yet

    @property
    def streams(self) -> bool:
        """Whether text is shown as it comes. In a pipe, only the answer itself is worth having."""
        return self._terminal and not self._silent

    def stream(self, text: str) -> None:
        """A piece of what the model says, if it is to be shown as it comes."""
        if text and self.streams:
            show([text], end="")
            self._open = not text.endswith("\n")

    def answer(self, text: str) -> None:
        """The whole answer, where it has not been streamed."""
        if not self._silent:
            self.rest()
            show([text.rstrip("\n")])

    def note(self, text: str, *, dim: bool = True) -> None:
        """A line of what goes on, unless it should be quiet."""
        if not self._quiet:
            self.rest()
            note(text, dim=dim)

    def rest(self) -> None:
        """Ends a line that was begun."""
        if self._open:
            show([])
            self._open = False


class Answers:
    """A person at a terminal: stdin if that is one, else the terminal behind a pipe."""

    def __init__(self, source: IO[str]) -> None:
        self._source = source

    @classmethod
    def at_terminal(cls) -> "Answers | None":
        """None if nobody is there to be asked."""
        if not sys.stderr.isatty():
            return None
        if sys.stdin is not None and sys.stdin.isatty():
            return cls(sys.stdin)
        try:
            return cls(open("/dev/tty", encoding="utf-8", errors="replace"))  # noqa: PTH123
        except OSError:
            return None

    def line(self, prompt: str) -> str | None:
        """What is typed, without spaces around it; None at the end of input (Ctrl-D)."""
        sys.stderr.write(prompt)
        sys.stderr.flush()
        text = self._source.readline()
        if not text:
            sys.stderr.write("\n")
            return None
        return text.strip()
