"""Log-probabilities of texts under a local model, many texts in one step of the engine."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cabinos.engine.closing import Closing
from cabinos.engine.errors import EngineError
from cabinos.engine.model import Model
from cabinos.engine.model import Sequence as Context
from cabinos.engine.tokenizer import Tokenizer
from cabinos.lab.evaluate.errors import EvalError

__all__ = ["Scorer"]

STEP = 1024  # tokens of one step; each brings a row of logits as long as the vocabulary
ROOM = 8192  # positions for keys and values


class Scorer(Closing):
    """A GGUF file that says how likely texts are, as a context manager.

    Raises EvalError if it cannot be opened.
    """

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        try:
            self.tokenizer = Tokenizer.from_gguf(path)
            self._model = Model(path, threads=threads, kv_tokens=ROOM, kv_type="f32")
        except EngineError as error:
            raise EvalError(str(error)) from None
        self.window = self._model.context_length

    def encode(self, text: str) -> list[int]:
        """The tokens of a text that begins a document: with the token that begins texts, if any."""
        return self.tokenizer.encode(text)

    def sums(self, texts: Sequence[str]) -> list[float]:
        """The summed log-probability of each text: of its tokens after the first, in nats."""
        return [float(part.sum()) for part in self.tokens([self.encode(text) for text in texts])]

    def tokens(self, texts: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """For each text ln P(token i + 1 | tokens to i): [tokens - 1]."""
        longest = max((len(text) for text in texts), default=0)
        if longest > self.window:
            raise EvalError(f"a text of {longest} tokens; the model's window is {self.window}.")
        results: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(texts)
        order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
        while order:
            batch, total = [order.pop(0)], 0
            total = len(texts[batch[0]])
            while order and total + len(texts[order[0]]) <= STEP:
                total += len(texts[order[0]])
                batch.append(order.pop(0))
            for n, part in zip(batch, self._scored([texts[n] for n in batch]), strict=True):
                results[n] = part
        return results

    def _scored(self, texts: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        contexts = [self._model.sequence() for _ in texts]
        try:
            rows = self._forward(contexts, texts)
        finally:
            for context in contexts:
                context.free()
        return [
            _of_the_next(row, np.asarray(text[1:], np.int64))
            for row, text in zip(rows, texts, strict=True)
        ]

    def _forward(
        self, contexts: Sequence[Context], texts: Sequence[Sequence[int]]
    ) -> list[NDArray[np.float32]]:
        """Logits of all tokens but the last of each text: [tokens - 1, vocabulary]."""
        batch = [
            (context, text[:-1]) for context, text in zip(contexts, texts, strict=True)
            if len(text) > 1
        ]  # fmt: skip
        found = iter(self._model.forward(batch, logits="all"))
        empty = np.zeros((0, self._model.vocab_size), np.float32)
        rows = [next(found) if len(text) > 1 else empty for text in texts]
        return [row if row is not None else empty for row in rows]

    def close(self) -> None:
        """Frees the model."""
        self._model.close()


def _of_the_next(logits: NDArray[np.float32], tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """Ln softmax(logits)[i, tokens[i]]: [tokens]. `logits` are overwritten."""
    logits -= logits.max(axis=1, keepdims=True)
    chosen: NDArray[np.float32] = logits[np.arange(len(tokens)), tokens]
    np.exp(logits, out=logits)
    of_all: NDArray[np.float32] = np.log(logits.sum(axis=1))
    return chosen - of_all
