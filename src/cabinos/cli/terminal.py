"""What reaches the person, and what comes back: a terminal shows model text and never obeys it."""

import json
import os
import sys
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any

import click

from cabinos.render.characters import clean, visible

if TYPE_CHECKING:
    from cabinos.render.answer import Origin
    from cabinos.render.terminal import Painter

__all__ = ["Answers", "Page", "clean", "note", "print_json", "show", "visible"]


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
    if dim and _colour(sys.stderr):
        text = click.style(text, dim=True)
    click.echo(text, err=True)


def _colour(stream: IO[str]) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR")


def print_json(data: Any) -> None:
    """One JSON document; where a terminal reads it, without anything that it would obey."""
    text = json.dumps(data, ensure_ascii=False, indent=2)
    click.echo(visible(text) if sys.stdout.isatty() else text)


class Page:
    """The answer on stdout and notes on stderr, which may be the same screen.

    An answer with an `origin` may be somebody else's words: to a terminal it goes as `render` makes
    it, a word at a time. In a pipe it is data, and goes as it is.
    """

    def __init__(self, *, silent: bool = False, quiet: bool = False) -> None:
        self._silent = silent
        self._quiet = quiet
        self._terminal = sys.stdout.isatty()
        self._open = False  # a line of the answer has no end yet
        self._painter: Painter | None = None
        self.named: tuple[str, ...] = ()  # sources of the answers, of which a note has told

    @property
    def streams(self) -> bool:
        """Whether text is shown as it comes. In a pipe, only the answer itself is worth having."""
        return self._terminal and not self._silent

    def begin(self, origin: "Origin | None") -> None:
        """What is streamed from here on has this origin; None: the model speaks for itself."""
        self.flush()
        self._painter = _painter(origin)

    def stream(self, text: str) -> None:
        """A piece of what the model says, if it is to be shown as it comes."""
        if text and self.streams:
            self._put(self._painter.push(text) if self._painter is not None else clean(text))

    def flush(self) -> None:
        """Shows what was held back of a streamed text, which has come to its end."""
        if self._painter is not None:
            self._put(self._painter.close())

    def answer(self, text: str, origin: "Origin | None" = None) -> None:
        """The whole answer, where it has not been streamed."""
        if self._silent:
            return
        self.rest()
        text = text.rstrip("\n")
        painter = _painter(origin) if self._terminal else None
        if painter is not None:
            self._put(painter.whole(text))
            self._put("\n")
        else:
            show([text])

    def note(self, text: str, *, dim: bool = True) -> None:
        """A line of what goes on, unless it should be quiet."""
        if not self._quiet:
            self.rest()
            note(text, dim=dim)

    def rest(self) -> None:
        """Ends a line that was begun."""
        self.flush()
        if self._open:
            self._put("\n")

    def _put(self, text: str) -> None:
        """Text for the terminal, which is fit for it."""
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()
            self._open = not text.endswith("\n")


def _painter(origin: "Origin | None") -> "Painter | None":
    if origin is None:
        return None
    from cabinos.render.terminal import Painter

    return Painter(origin, colour=_colour(sys.stdout))


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
