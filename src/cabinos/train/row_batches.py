"""Batches of rows that differ in length: a pure function of the seed and the update.

Rows of about the same length go through the model together, each in a line of its own, padded at
its end. Under causal attention nothing ever looks at the padding, so a row learns exactly what it
would learn alone. Every epoch cuts the rows, in a new order, into pools; those of a pool are sorted
by length and cut into groups that fit, and the groups of all pools are shuffled.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from cabinos.train.batches import Part
from cabinos.train.config import TuneConfig
from cabinos.train.rows import Rows

__all__ = ["GroupStream", "RowBatch", "RowStream", "alike", "epoch_groups", "padded"]

POOL = 2048  # rows
STEP = 16  # lengths are padded to a multiple of it


@dataclass(frozen=True)
class RowBatch:
    """Groups of rows, by their numbers."""

    rows: Rows
    groups: Sequence[NDArray[np.int64]]

    @property
    def count(self) -> int:
        """What the loss is a mean over: the tokens that are learnt."""
        return len(self.targets)

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        """The tokens that are learnt."""
        return np.concatenate([part.targets for part in self._parts])

    @cached_property
    def seen(self) -> int:
        """Tokens that go through the model, without padding."""
        return int(sum((self.rows.lengths[group] - 1).sum() for group in self.groups))

    @property
    def context(self) -> float:
        """The length of a row, on average over tokens."""
        lengths = np.concatenate([self.rows.lengths[group] - 1 for group in self.groups])
        return float((lengths**2).sum() / lengths.sum())

    def parts(self, rank: int = 0, count: int = 1) -> list[Part]:
        """What process `rank` of `count` takes of it."""
        return self._parts[rank::count]

    @cached_property
    def _parts(self) -> list[Part]:
        return [self._part(group) for group in self.groups]

    def _part(self, group: NDArray[np.int64]) -> Part:
        """A group as one padded block."""
        length = padded(int(self.rows.lengths[group].max()) - 1)
        inputs = np.zeros((len(group), length), np.int64)
        targets, places = [], []
        for place, index in enumerate(group):
            ids, learnt = self.rows.row(int(index))
            inputs[place, : len(ids) - 1] = ids[:-1]
            where = np.flatnonzero(learnt[1:])
            targets.append(ids[1:][where].astype(np.int64))
            places.append(where + place * length)
        return Part(inputs, np.concatenate(targets), np.concatenate(places))

    def __str__(self) -> str:
        """`rows.jsonl:7, …`, to find a bad row again."""
        return ", ".join(self.rows.place(int(index)) for group in self.groups for index in group)


class GroupStream:
    """The groups of all epochs, one after the other; `cut` gives those of one epoch."""

    def __init__(self, cut: Callable[[int], list[NDArray[np.int64]]]) -> None:
        self._cut = cut
        self._ends: list[int] = []  # groups up to the end of each epoch
        self._epoch: tuple[int, list[NDArray[np.int64]]] = (-1, [])

    def group(self, index: int) -> NDArray[np.int64]:
        """The rows of group `index`, which counts from 0 over all epochs."""
        while not self._ends or index >= self._ends[-1]:
            groups = self._groups(len(self._ends))
            self._ends.append((self._ends[-1] if self._ends else 0) + len(groups))
        epoch = next(n for n, end in enumerate(self._ends) if index < end)
        return self._groups(epoch)[index - (self._ends[epoch - 1] if epoch else 0)]

    def _groups(self, epoch: int) -> list[NDArray[np.int64]]:
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._cut(epoch))
        return self._epoch[1]


class RowStream:
    """All batches of a run."""

    def __init__(self, rows: Rows, config: TuneConfig, taken: dict[str, int] | None = None) -> None:
        self.taken = dict(taken or {"rows": 0})
        self._rows = rows
        self._many = max(1, config.batch_tokens // config.micro_tokens)
        self._stream = GroupStream(partial(epoch_groups, rows, config))

    def batch(self, step: int) -> RowBatch:
        """The batch of update `step`."""
        first = step * self._many
        batch = RowBatch(self._rows, [self._stream.group(first + n) for n in range(self._many)])
        self.taken["rows"] += batch.seen
        return batch


def epoch_groups(rows: Rows, config: TuneConfig, epoch: int) -> list[NDArray[np.int64]]:
    """The rows, each once, in groups that go through the model at once, in the epoch's order."""
    random = np.random.default_rng([config.seed, epoch])
    groups = alike(rows.lengths, random.permutation(len(rows)), config.micro_tokens)
    return [groups[place] for place in random.permutation(len(groups))]


def alike(
    lengths: NDArray[np.int64], chosen: NDArray[np.int64], most: int
) -> list[NDArray[np.int64]]:
    """The chosen rows in groups of about one length, of at most `most` tokens, or of one row."""
    groups = []
    for start in range(0, len(chosen), POOL):
        pool = chosen[start : start + POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        first = 0
        for place, index in enumerate(pool):
            if place > first and (place + 1 - first) * padded(lengths[index] - 1) > most:
                groups.append(pool[first:place])
                first = place
        groups.append(pool[first:])
    return groups


def padded(length: int) -> int:
    """The length that rows of `length` tokens are padded to."""
    return max(STEP, -(-int(length) // STEP) * STEP)
