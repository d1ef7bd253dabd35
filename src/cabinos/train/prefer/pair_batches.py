"""Batches of pairs: both rows of a pair go through the model together.

As in `row_batches`, a pure function of the seed and the update.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cabinos.train.prefer.config import PairConfig
from cabinos.train.prefer.pairs import Pairs
from cabinos.train.row_batches import GroupStream, RowBatch, alike, padded

__all__ = ["PairBatch", "PairPart", "PairStream", "cut", "pair_groups"]


@dataclass(frozen=True)
class PairPart:
    """n pairs: rows 2p and 2p + 1 are the chosen and the rejected answer of pair p."""

    inputs: NDArray[np.int64]  # [2n, T], whole rows
    targets: NDArray[np.int64]  # [N], the tokens of the answers
    places: NDArray[np.int64]  # [N], of the positions before them in 2n · T
    ends: NDArray[np.int64]  # [2n], of the last token of each answer in T
    wanted: NDArray[np.float32]  # [n], probability that the chosen one is better
    margins: NDArray[np.float32]  # [n]
    reference: NDArray[np.float32]  # [2n], log-probabilities of the answers; 0 if nobody asks


@dataclass(frozen=True)
class PairBatch:
    """Groups of pairs, by their numbers."""

    pairs: Pairs
    groups: Sequence[NDArray[np.int64]]
    smoothing: float = 0.0
    reference: NDArray[np.float32] | None = None  # [rows]

    @property
    def count(self) -> int:
        """The pairs, over which the loss is a mean."""
        return sum(map(len, self.groups))

    @cached_property
    def _rows(self) -> RowBatch:
        return RowBatch(self.pairs.rows, [_both(group) for group in self.groups])

    @property
    def targets(self) -> NDArray[np.int64]:
        """The tokens of all answers."""
        return self._rows.targets

    @property
    def seen(self) -> int:
        """Tokens that go through the model, without padding."""
        return self._rows.seen

    @property
    def context(self) -> float:
        """The length of a row, on average over tokens."""
        return self._rows.context

    def parts(self, rank: int = 0, count: int = 1) -> list[PairPart]:
        """What process `rank` of `count` takes of it."""
        return [self._part(group) for group in self.groups[rank::count]]

    def _part(self, group: NDArray[np.int64]) -> PairPart:
        numbers, rows = _both(group), self.pairs.rows
        length = padded(int(rows.lengths[numbers].max()))
        inputs = np.zeros((len(numbers), length), np.int64)
        targets, places, ends = [], [], []
        for place, number in enumerate(numbers):
            ids, learnt = rows.row(int(number))
            inputs[place, : len(ids)] = ids
            where = np.flatnonzero(learnt)
            targets.append(ids[where].astype(np.int64))
            places.append(where - 1 + place * length)
            ends.append(where[-1])
        wanted = np.where(self.pairs.ties[group], 0.5, 1 - self.smoothing)
        reference = np.zeros(len(numbers)) if self.reference is None else self.reference[numbers]
        return PairPart(
            inputs,
            np.concatenate(targets),
            np.concatenate(places),
            np.array(ends, np.int64),
            wanted.astype(np.float32),
            self.pairs.margins[group],
            reference.astype(np.float32),
        )

    def __str__(self) -> str:
        """`pairs.jsonl:7, …`, to find a bad pair again."""
        rows = self.pairs.rows
        return ", ".join(rows.place(2 * int(number)) for group in self.groups for number in group)


class PairStream:
    """All batches of a run on the pairs `chosen`."""

    def __init__(
        self,
        pairs: Pairs,
        chosen: NDArray[np.int64],
        config: PairConfig,
        taken: dict[str, int] | None = None,
        reference: NDArray[np.float32] | None = None,
    ) -> None:
        self.taken = dict(taken or {"pairs": 0})
        self._pairs, self._smoothing, self._reference = pairs, config.smoothing, reference
        self._many = max(1, config.batch_tokens // config.micro_tokens)
        self._stream = GroupStream(lambda epoch: pair_groups(pairs, chosen, config, epoch))

    def batch(self, step: int) -> PairBatch:
        """The batch of update `step`."""
        first = step * self._many
        groups = [self._stream.group(first + n) for n in range(self._many)]
        batch = PairBatch(self._pairs, groups, self._smoothing, self._reference)
        self.taken["pairs"] += batch.seen
        return batch


def pair_groups(
    pairs: Pairs, chosen: NDArray[np.int64], config: PairConfig, epoch: int
) -> list[NDArray[np.int64]]:
    """The chosen pairs, each once, in groups that go through the model at once."""
    random = np.random.default_rng([config.seed, epoch])
    groups = cut(pairs, random.permutation(chosen), config.micro_tokens)
    return [groups[place] for place in random.permutation(len(groups))]


def cut(pairs: Pairs, chosen: NDArray[np.int64], most: int) -> list[NDArray[np.int64]]:
    """The chosen pairs in groups of about one length, of at most `most` tokens, or of one pair."""
    return alike(pairs.lengths + 1, chosen, most // 2)  # whole rows, with their last token


def _both(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows of the pairs in a group."""
    return np.stack([2 * group, 2 * group + 1], 1).ravel()
