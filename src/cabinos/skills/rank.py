"""How well short texts answer a request: by their words, and by meaning where vectors are at hand.

Words: Okapi BM25 (Robertson & Zaragoza 2009) over stems, divided by what a text would score that
says every word of the request without end:

    lexical = Σ idf(w) · f(w)·(k + 1) / (f(w) + k·(1 - b + b·length / mean)) / Σ idf(w)·(k + 1)

over the words w of the request, with f(w) weighted by field. So it lies between 0 and 1, and a word
that no text knows weighs as much as the rarest: a request about something else stays low, however
well its small words fit.

Meaning: the cosine of two vectors, after some of what all texts have in common was taken from both
(Mu & Viswanath 2018, arXiv:1702.01417): descriptions of skills are written alike, and what is alike
says nothing of which one is meant. Of a few texts the mean is hardly known, so it is shrunk as if
PRIOR others, about anything, belonged to them. What counts is the cosine above that of texts
without a common theme (the encoder's `near`), of which the same share is gone:

    common = (v(1) + … + v(N)) / (N + PRIOR)
    near'  = near · PRIOR / (N + PRIOR)
    dense  = max(0, (cos(query - common, v - common) - near') / (1 - near'))
    fused  = WORDS · lexical + (1 - WORDS) · dense

The constants were chosen by `bench/skills/constants.py`.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from cabinos.drivers.ranking import stems

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cabinos.index.encoder import Encoder

    Vectors = NDArray[np.float32]

__all__ = ["Ranker", "Score"]

K, B = 1.2, 0.4  # how fast repetition stops to count; how much length is held against a text
WORDS = 0.5  # the share of the words where there are vectors, too
PRIOR = 33  # texts that shrink the mean of the vectors
LONGEST = 20_000  # characters of a text, or a request, that count


class Score(NamedTuple):
    """What speaks for a text, each from 0 to 1; `words`: those it shares with the request."""

    fused: float
    lexical: float
    dense: float
    words: tuple[str, ...]


class Ranker:
    """Texts in fields of (weight, words), to be compared with many requests."""

    def __init__(
        self, texts: Sequence[Sequence[tuple[float, str]]], encoder: "Encoder | None" = None
    ) -> None:
        self._counts: list[Counter[str]] = []
        for fields in texts:
            counts: Counter[str] = Counter()
            for weight, words in fields:
                for word in stems(words[:LONGEST]):
                    counts[word] += weight  # type: ignore[assignment]  # weights are floats
            self._counts.append(counts)
        lengths = [sum(counts.values()) for counts in self._counts]
        mean = sum(lengths) / max(1, len(lengths)) or 1.0
        self._norms = [K * (1 - B + B * length / mean) for length in lengths]
        self._holders: dict[str, list[int]] = {}
        for at, counts in enumerate(self._counts):
            for word in counts:
                self._holders.setdefault(word, []).append(at)
        self._encoder = encoder
        if encoder is not None:
            flat = [". ".join(words[:LONGEST] for _, words in fields) for fields in texts]
            vectors = encoder.encode(flat)
            self._common = vectors.sum(axis=0) / (len(texts) + PRIOR)
            self._near = encoder.near * PRIOR / (len(texts) + PRIOR)
            self._vectors = self._apart(vectors)

    def rarity(self, word: str) -> float:
        """Its idf: ln(1 + (N - n + 0.5) / (n + 0.5)) for a word in n of N texts."""
        n = len(self._holders.get(word, ()))
        return math.log(1 + (len(self._counts) - n + 0.5) / (n + 0.5))

    def scores(self, request: str) -> list[Score]:
        """One for each text."""
        wanted = sorted(set(stems(request[:LONGEST])))
        most = sum(self.rarity(word) for word in wanted) * (K + 1)
        lexical = [0.0] * len(self._counts)
        shared: list[list[str]] = [[] for _ in self._counts]
        for word in wanted:  # sorted: sums of floats depend on their order
            for at in self._holders.get(word, ()):
                count = self._counts[at][word]
                gain = self.rarity(word) * count * (K + 1) / (count + self._norms[at])
                lexical[at] += gain / most
                shared[at].append(word)
        dense = self._dense(request)
        if dense is None:
            return [Score(x, x, 0.0, tuple(w)) for x, w in zip(lexical, shared, strict=True)]
        return [
            Score(WORDS * x + (1 - WORDS) * y, x, y, tuple(w))
            for x, y, w in zip(lexical, dense, shared, strict=True)
        ]

    def _dense(self, request: str) -> list[float] | None:
        if self._encoder is None:
            return None
        (query,) = self._apart(self._encoder.encode([request[:LONGEST]]))
        near = self._near
        return [max(0.0, (float(cos) - near) / (1 - near)) for cos in self._vectors @ query]

    def _apart(self, vectors: "Vectors") -> "Vectors":
        """Of length 1 without what is common; 0 stays 0, since that has nothing in common."""
        import numpy as np

        rest = np.where(vectors.any(axis=1, keepdims=True), vectors - self._common, 0)
        apart: Vectors = rest / np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), 1e-9)
        return apart
