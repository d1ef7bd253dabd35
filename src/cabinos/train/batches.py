"""Which tokens an update sees: a pure function of how many were taken from each domain so far.

There is no random state. Every row goes to the domain that is furthest behind its share, and
walks through that domain's shard in steps of the golden ratio, which visits every window once an
epoch and puts neighbours far apart. So a run resumes exactly from a handful of counts, and two
processes agree on a batch without talking.
"""

from dataclasses import dataclass
from math import gcd
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cabinos.train.errors import CorpusError
from cabinos.train.shards import open_shards, tokens_of

__all__ = ["Batch", "Batches", "Part"]

GOLDEN = 0.6180339887498949
SHIFT = 127  # tokens by which the windows move from one epoch to the next


@dataclass(frozen=True)
class Part:
    """What goes through a model at once."""

    inputs: NDArray[np.int64]  # [rows, T]
    targets: NDArray[np.int64]  # [targets]
    places: NDArray[np.int64] | None = None  # of the targets in rows · T; None: each has one


@dataclass(frozen=True)
class Batch:
    """Rows of tokens [rows, context + 1], and where each comes from."""

    tokens: NDArray[np.int64]
    places: list[tuple[str, int]]  # domain, offset in its shard
    micro_tokens: int = 4096  # that go through the model at once

    @property
    def count(self) -> int:
        """What the loss is a mean over: the tokens that are learnt."""
        return len(self.targets)

    @property
    def targets(self) -> NDArray[np.int64]:
        """The tokens that are learnt: all but the first of each row."""
        return self.tokens[:, 1:].ravel()

    @property
    def seen(self) -> int:
        """Tokens that go through the model."""
        return self.tokens.size - len(self.tokens)

    @property
    def context(self) -> int:
        """The length of a row."""
        return int(self.tokens.shape[1]) - 1

    def parts(self, rank: int = 0, count: int = 1) -> list[Part]:
        """What process `rank` of `count` takes of it."""
        own = self.tokens[rank::count]
        rows = max(1, self.micro_tokens // self.context)
        cut = [own[start : start + rows] for start in range(0, len(own), rows)]
        return [Part(part[:, :-1], part[:, 1:].ravel()) for part in cut]

    def __str__(self) -> str:
        """`books@1024, maths@77, …`, to find a bad text again."""
        return ", ".join(f"{domain}@{offset}" for domain, offset in self.places)


class Batches:
    """The stream of batches for a mixture of domains.

    Raises CorpusError if a domain of the mixture has no shard.
    """

    def __init__(self, folder: Path, mix: dict[str, float]) -> None:
        shards = {s.domain: s for s in open_shards(folder) if s.split == "train"}
        total = sum(mix.values())
        self._shares = {domain: share / total for domain, share in mix.items() if share > 0}
        for domain in self._shares:
            if domain not in shards or shards[domain].tokens < 2:
                known = ", ".join(sorted(d for d, s in shards.items() if s.tokens > 1))
                raise CorpusError(f"{folder}: no tokens of domain {domain!r}; there are {known}.")
        self._tokens = {domain: tokens_of(folder, shards[domain]) for domain in self._shares}
        self.taken = dict.fromkeys(self._shares, 0)
        """Tokens taken so far from each domain: all there is to know to go on from here."""

    def next(self, rows: int, context: int) -> Batch:
        """The next `rows` rows of `context` tokens, each with the token that follows."""
        tokens = np.empty((rows, context + 1), np.int64)
        places = []
        for row in range(rows):
            domain = self._furthest_behind(context)
            source = self._tokens[domain]
            if len(source) <= context:
                raise CorpusError(
                    f"domain {domain!r} has only {len(source)} tokens, too few for rows of "
                    f"{context}. Take a shorter context or leave the domain out."
                )
            offset = _window(self.taken[domain] // context, len(source), context)
            tokens[row] = source[offset : offset + context + 1]
            places.append((domain, offset))
            self.taken[domain] += context
        return Batch(tokens, places)

    def _furthest_behind(self, context: int) -> str:
        total = sum(self.taken.values()) + context
        return max(self._shares, key=lambda d: self._shares[d] * total - self.taken[d])


def _window(index: int, length: int, context: int) -> int:
    """Where the window of that index begins, in a shard of `length` tokens."""
    count = (length - 1) // context
    epoch, place = divmod(index, count)
    stride = max(1, round(GOLDEN * count))
    while gcd(stride, count) != 1:
        stride += 1
    shift = SHIFT * epoch % (length - context * count)  # what is left over at the end
    return place * stride % count * context + shift
