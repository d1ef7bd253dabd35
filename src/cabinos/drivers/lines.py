"""Texts in their smallest pieces: lines or, where lines are wrapped, paragraphs."""

from collections.abc import Iterator

from cabinos.drivers import text

__all__ = ["passages_of", "pieces_of"]

PARAGRAPH = 600  # characters of lines that are read as one passage


def passages_of(content: str) -> Iterator[tuple[int, str]]:
    """(number of its first line, text) of each passage."""
    for first, lines in pieces_of(content):
        yield first, " ".join(lines)


def pieces_of(content: str) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, its lines) of each passage.

    Lines that wrap, each long and none a heading or an item of a list, are one passage.
    """
    lines: list[str] = []
    first = 1
    for number, line in enumerate(content.splitlines(), 1):
        words = " ".join(line.split())
        wraps = bool(lines) and _wraps(lines[-1]) and bool(words) and not _begins(words)
        if lines and not (wraps and sum(map(len, lines)) < PARAGRAPH):
            yield first, lines
            lines = []
        if words:
            if not lines:
                first = number
            lines.append(words[: text.LINE])
    if lines:
        yield first, lines


def _wraps(line: str) -> bool:
    """Whether a line looks as if its sentence went on in the next."""
    return len(line) >= 50 and not line.startswith(("#", "|"))


def _begins(line: str) -> bool:
    """Whether a line begins something of its own: an item, a heading, a row."""
    return line[0] in "#-*+|>•" or (line[0].isdigit() and line[:4].find(".") > 0)
