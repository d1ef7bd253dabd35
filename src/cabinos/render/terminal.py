"""An answer as a terminal shows it: a bar before what nobody vouches for, quotations underlined."""

from cabinos.render.answer import Origin, Piece, Rendering

__all__ = ["Painter"]

BAR = "┆ "
DIM, BRIGHT, LINE, PLAIN = "\x1b[2m", "\x1b[22m", "\x1b[4m", "\x1b[24m"


class Painter:
    """Takes an answer in pieces and gives the text for the terminal.

    Without `colour`, quotations stand in ⟦brackets⟧.
    """

    def __init__(self, origin: Origin, *, colour: bool) -> None:
        self._rendering = Rendering(origin)
        self._bar = f"{DIM}{BAR}{BRIGHT}" if colour else BAR
        self._marks = (LINE, PLAIN) if colour else ("⟦", "⟧")
        self._begins = True
        self._quoting = False

    def push(self, text: str) -> str:
        """The next piece of the answer; returns what can be shown of it."""
        return "".join(map(self._paint, self._rendering.push(text)))

    def close(self) -> str:
        """The rest; afterwards another text may begin."""
        rest = "".join(map(self._paint, self._rendering.close())) + self._quote(False)
        self._begins = True
        return rest

    def whole(self, text: str) -> str:
        """A whole answer."""
        return self.push(text) + self.close()

    def _paint(self, piece: Piece) -> str:
        if piece.raw == "\n":
            begins, self._begins = self._begins, True
            return f"{self._quote(False)}{self._bar if begins else ''}\n"
        lead = self._bar if self._begins else ""
        self._begins = False
        return f"{lead}{self._quote(bool(piece.source))}{piece.shown}"

    def _quote(self, quoting: bool) -> str:
        if quoting == self._quoting:
            return ""
        self._quoting = quoting
        return self._marks[0] if quoting else self._marks[1]
