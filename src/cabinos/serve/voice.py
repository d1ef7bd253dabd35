"""What a process says, on its way to a client.

A client that draws Markdown would fetch the images in it, wherever they come from. So the words of
a process with Cabin's own tools are rendered, once it has read what nobody vouches for; annotations
say so, and which parts stand word for word in what was read. With a plain model the client holds
the conversation and knows itself what it has put into it; its words stay as they are.
"""

from typing import Any

from cabinos.kernel.kernel import ProcessHandle
from cabinos.render.answer import Origin, Piece, Rendering, joined
from cabinos.render.process import origin

__all__ = ["Json", "Voice"]

Json = dict[str, Any]


class Voice:
    """The text of one thought after the other."""

    def __init__(self, handle: ProcessHandle) -> None:
        self._handle = handle
        self._pieces: list[Piece] = []
        self._plain: list[str] = []
        self._rendering: Rendering | None = None
        self._origin = Origin()

    def begin(self, label: str, page: int | None = None) -> None:
        """A thought of this label begins: the one that is kept in `page`, or a new one."""
        process = self._handle.process
        self._pieces, self._plain, self._rendering = [], [], None
        if label != "trusted" and process.capabilities.tools != frozenset():
            self._origin = origin(self._handle.kernel, process, before=page)
            self._rendering = Rendering(self._origin)

    def push(self, text: str) -> str:
        """A piece of it; returns what can be told now."""
        if self._rendering is None:
            self._plain.append(text)
            return text
        return self._told(self._rendering.push(text))

    def close(self) -> str:
        """The rest of it."""
        return self._told(self._rendering.close()) if self._rendering is not None else ""

    @property
    def text(self) -> str:
        """All that was told of it."""
        return "".join([*self._plain, *(piece.shown for piece in self._pieces)])

    def provenance(self, offset: int = 0) -> list[Json]:
        """What is to be known of the text, which begins at `offset`; nothing if it is the model's.

        The whole of it is `untrusted`, with the sources; each `quotation` names its own.
        """
        text = self.text
        if self._rendering is None or not text:
            return []
        whole = {"type": "untrusted", "sources": list(self._origin.sources)}
        found = [{**whole, "start_index": offset, "end_index": offset + len(text)}]
        for quote in joined((piece.shown, piece.source) for piece in self._pieces):
            place = {"start_index": offset + quote.start, "end_index": offset + quote.end}
            found.append({"type": "quotation", "sources": [quote.source], **place})
        return found

    def _told(self, pieces: list[Piece]) -> str:
        self._pieces += pieces
        return "".join(piece.shown for piece in pieces)
