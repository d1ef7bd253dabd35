"""Suite `bytes`: bits per byte on texts that were held out, and on WikiText-2's validation part.

What a model would need to store each byte of them; unlike the loss per token, it can be compared
between tokenizers. A text is cut into windows of the model's context; each begins with the last
token of the one before, so that every token but the first is predicted once.
"""

import json
from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from cabinos.lab.evaluate.suite import Brain, Case, Kind, Need, Verdict

if TYPE_CHECKING:
    from cabinos.lab.evaluate.logprob import Scorer

__all__ = ["Bytes", "held_out_books", "windows"]

PIECE = 4096  # bytes of text that make one case, about
LONGEST = 1 << 20  # bytes of the held-out books that are measured


class Bytes:
    """Bits per byte, by text."""

    name = "bytes"
    measures: ClassVar[Mapping[str, Kind]] = {"bits per byte": "bits"}
    batch, workers = 1, 1
    needs: Need = "scorer"

    def __init__(self, texts: dict[str, str]) -> None:
        self._cases = [
            Case(f"{name} {number}", name, piece)
            for name, text in texts.items()
            for number, piece in enumerate(pieces(text))
        ]

    def cases(self) -> Sequence[Case]:
        """See `Suite`."""
        return self._cases

    async def judge(self, brain: Brain, cases: Sequence[Case]) -> Sequence[Verdict]:
        """See `Suite`."""
        assert brain.scorer is not None
        verdicts = []
        for case in cases:
            bits, size = measure(brain.scorer, case.data)
            verdicts.append(Verdict({"bits per byte": bits / size}, weight=float(size)))
        return verdicts


def measure(scorer: "Scorer", text: str) -> tuple[float, int]:
    """(bits, bytes) of a text by itself."""
    tokens = scorer.encode(text)
    parts = scorer.tokens(windows(tokens, scorer.window))
    return -float(sum(part.sum(dtype="float64") for part in parts)) / log(2), len(text.encode())


def windows(tokens: Sequence[int], size: int) -> list[Sequence[int]]:
    """Parts of at most `size` tokens, each beginning with the last token of the one before."""
    return [tokens[at : at + size] for at in range(0, max(1, len(tokens) - 1), size - 1)]


def pieces(text: str) -> list[str]:
    """A text in parts of about the same size, cut at line ends."""
    found, piece, size = [], list[str](), 0
    for line in text.splitlines(keepends=True):
        piece.append(line)
        size += len(line.encode())
        if size >= PIECE:
            found.append("".join(piece))
            piece, size = [], 0
    return [*found, *(["".join(piece)] if piece else [])]


def held_out_books(folder: Path) -> str | None:
    """The books that no training sees, up to a megabyte; None if this is no data folder."""
    path = folder / "corpus" / "books-held.jsonl"
    if not path.is_file():
        return None
    text, size = [], 0
    with path.open(encoding="utf-8") as file:
        for line in file:
            book = json.loads(line)["text"]
            text.append(book)
            size += len(book.encode())
            if size >= LONGEST:
                break
    return "\n".join(text).encode()[:LONGEST].decode("utf-8", "ignore")
