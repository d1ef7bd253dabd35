"""A round's rollouts as batches: only those that a reward tells anything about go through."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cabinos.train.rl.credit import Credit
from cabinos.train.rl.decisions import Decisions
from cabinos.train.row_batches import alike, padded

__all__ = ["Lesson", "RolloutBatch", "RolloutPart"]


@dataclass(frozen=True)
class RolloutPart:
    """n samples with N decisions."""

    inputs: NDArray[np.int64]  # [n, T]
    targets: NDArray[np.int64]  # [N], what was drawn
    places: NDArray[np.int64]  # [N], of the positions before in n · T
    allowed: NDArray[np.uint8]  # [N, ceil(V / 8)], bits of what could be drawn
    advantages: NDArray[np.float32]  # [N]
    weights: NDArray[np.float32]  # [N]
    old: NDArray[np.float32]  # [N], log-probabilities under the policy that played
    reference: NDArray[np.float32]  # [N]; 0 if nobody asks
    values: NDArray[np.float32]  # [N], by the critic of then; 0 if there is none
    returns: NDArray[np.float32]  # [N], see `Credit`


@dataclass(frozen=True)
class Lesson:
    """A sample and what is to be learnt from it."""

    ids: NDArray[np.int64]
    decisions: Decisions
    credit: Credit
    weight: float  # of each decision
    old: NDArray[np.float32]  # of each decision
    reference: NDArray[np.float32]
    values: NDArray[np.float32]
    name: str  # to find it again


@dataclass(frozen=True)
class RolloutBatch:
    """The lessons of one update."""

    lessons: Sequence[Lesson]
    count: int  # rollouts, also those that teach nothing
    micro_tokens: int

    @property
    def targets(self) -> NDArray[np.int64]:
        """The tokens that are learnt."""
        return np.concatenate([lesson.ids[lesson.decisions.places] for lesson in self.lessons])

    @property
    def seen(self) -> int:
        """Tokens that go through the model, without padding."""
        return int(self._lengths.sum())

    @property
    def context(self) -> float:
        """The length of a sample, on average over tokens."""
        return float((self._lengths**2).sum() / max(1, self._lengths.sum()))

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        return np.array([len(lesson.ids) for lesson in self.lessons])

    def parts(self, rank: int = 0, count: int = 1) -> list[RolloutPart]:
        """What process `rank` of `count` takes of it: at least one part, for all to keep step."""
        # Whole samples, with their last token.
        groups = alike(self._lengths + 1, np.arange(len(self.lessons)), self.micro_tokens)
        own = groups[rank::count]
        return [self._part(group) for group in own] or [self._part(groups[0], idle=True)]

    def _part(self, group: NDArray[np.int64], *, idle: bool = False) -> RolloutPart:
        lessons = [self.lessons[int(number)] for number in group]
        length = padded(max(len(lesson.ids) for lesson in lessons))
        inputs = np.zeros((len(lessons), length), np.int64)
        targets, places = [], []
        for row, lesson in enumerate(lessons):
            inputs[row, : len(lesson.ids)] = lesson.ids
            targets.append(lesson.ids[lesson.decisions.places])
            places.append(lesson.decisions.places - 1 + row * length)
        counts = [len(lesson.decisions.places) for lesson in lessons]
        worth = [0.0 if idle else lesson.weight for lesson in lessons]
        return RolloutPart(
            inputs,
            np.concatenate(targets),
            np.concatenate(places),
            np.concatenate([lesson.decisions.allowed for lesson in lessons]),
            np.concatenate([lesson.credit.advantages for lesson in lessons]),
            np.repeat(worth, counts).astype(np.float32),
            np.concatenate([lesson.old for lesson in lessons]),
            np.concatenate([lesson.reference for lesson in lessons]),
            np.concatenate([lesson.values for lesson in lessons]),
            np.concatenate([lesson.credit.returns for lesson in lessons]),
        )

    def __str__(self) -> str:
        """`round 3 case 17, …`, to find a bad one again."""
        return ", ".join(dict.fromkeys(lesson.name for lesson in self.lessons))
