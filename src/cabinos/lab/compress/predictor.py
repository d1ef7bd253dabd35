"""A model that says, token by token, what comes next: the same when packing and when unpacking."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cabinos.engine.closing import Closing
from cabinos.engine.errors import EngineError
from cabinos.engine.model import Logits, Model
from cabinos.engine.model import Sequence as Context
from cabinos.engine.tokenizer import Tokenizer
from cabinos.lab.compress.errors import CompressError
from cabinos.lab.compress.odds import cumulative
from cabinos.lab.compress.spelling import Speller
from cabinos.lab.compress.tree import build

__all__ = ["Lane", "Predictor", "digest"]

WINDOW = 1024  # tokens a prediction may rest on, at most; half of them are kept when it is full
FLOATS = 1 << 22  # logits of one step of the engine
ROWS = 32  # of them that are turned into odds at once: they fit a cache
PROBE = 24  # tokens


class Predictor(Closing):
    """An open GGUF model. `lanes`: texts that are unpacked at once.

    Raises CompressError if the file is no model, or one that cannot spell every byte.
    """

    def __init__(self, path: Path, *, threads: int | None = None, lanes: int = 1) -> None:
        try:
            self.identity = digest(path)
            tokenizer = Tokenizer.from_gguf(path)
            self._model = Model(path, threads=threads, kv_tokens=(lanes + 1) * (WINDOW + 16))
        except EngineError as error:
            raise CompressError(str(error)) from None
        self.path = path
        self.threads = self._model.threads
        self.window = min(self._model.context_length, WINDOW)
        self.speller = Speller(tokenizer)
        self._columns = np.array(self.speller.tokens)
        if (
            not self.speller.spells_all
            or self.window < 4
            or self._columns.max() >= self._model.vocab_size
        ):
            self.close()
            raise CompressError(
                f"{path}: the vocabulary lacks some bytes, or is not the model's, so it cannot "
                "spell everything. Use another model."
            )
        self.tree = build(self.speller.words)
        begins = [tokenizer.bos_id, *sorted(tokenizer.end_ids), self.speller.tokens[0]]
        self.begin = next(token for token in begins if token is not None)
        """The token that stands before every text."""

    def probe(self) -> bytes:
        """Four bytes that change if this engine computes other numbers from the same file."""
        tokens = [self.begin, *self.speller.tokens[:: len(self._columns) // PROBE + 1]]
        with self._model.sequence() as sequence:
            logits = self._forward([(sequence, tokens)], "all")[0]
        return hashlib.sha256(logits.tobytes()).digest()[:4]

    def lane(self) -> "Lane":
        """A new text, of which nothing is known yet."""
        return Lane(self, self._model.sequence())

    def sums(self, leaves: Sequence[int]) -> Iterator[NDArray[np.int64]]:
        """Cumulative odds before each leaf of a text that is known: blocks [rows, words + 1]."""
        step = max(1, FLOATS // len(self._columns))
        at = 0
        with self._model.sequence() as sequence:
            while at < len(leaves):
                before = self.tokens_before(leaves, at)
                count = min(self.window - len(before) + 1, len(leaves) - at)
                window = before + [
                    self.speller.tokens[leaf] for leaf in leaves[at : at + count - 1]
                ]
                sequence.truncate(0)
                start = len(before) - 1
                if start:
                    self._forward([(sequence, window[:start])], "none")
                for first in range(start, len(window), step):
                    [logits] = self._forward([(sequence, window[first : first + step])], "all")
                    for row in range(0, len(logits), ROWS):
                        yield self._odds(logits[row : row + ROWS])
                at += count

    def tokens_before(self, leaves: Sequence[int], at: int) -> list[int]:
        """What a new window begins with: the first token, and the last half window before `at`."""
        kept = leaves[max(0, at - self.window // 2) : at]
        return [self.begin, *(self.speller.tokens[leaf] for leaf in kept)]

    def next_sums(self, lanes: "Sequence[Lane]") -> NDArray[np.int64]:
        """Cumulative odds of what comes next in each lane, in one step: [lanes, words + 1]."""
        logits = self._forward([(lane.sequence, lane.waiting()) for lane in lanes], "last")
        return self._odds(np.array(logits))

    def _odds(self, logits: NDArray[np.float32]) -> NDArray[np.int64]:
        return cumulative(logits.take(self._columns, axis=1))

    def _forward(
        self, batch: list[tuple[Context, list[int]]], logits: Logits
    ) -> list[NDArray[np.float32]]:
        try:
            found = self._model.forward(batch, logits=logits)
        except EngineError as error:
            raise CompressError(str(error)) from None
        return [rows for rows in found if rows is not None]

    def close(self) -> None:
        """Frees the model."""
        self._model.close()


class Lane:
    """A text that grows leaf by leaf while it is unpacked."""

    def __init__(self, predictor: Predictor, sequence: Context) -> None:
        self.sequence = sequence
        self.leaves: list[int] = []
        self._predictor = predictor

    def waiting(self) -> list[int]:
        """The tokens that the model has to read before it can say what comes next."""
        predictor = self._predictor
        if self.leaves and len(self.sequence) < predictor.window:
            return [predictor.speller.tokens[self.leaves[-1]]]
        self.sequence.truncate(0)
        return predictor.tokens_before(self.leaves, len(self.leaves))


def digest(path: Path) -> bytes:
    """The first 16 bytes of a file's SHA-256. Raises CompressError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()[:16]
    except OSError as error:
        raise CompressError(f"{path}: {error.strerror or error}.") from None
