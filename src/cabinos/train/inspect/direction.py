"""Differences of means: a direction between two kinds of prompts, and steering with it.

The stream at the last token of each prompt is averaged over each kind; the difference of the two
means is the direction (Turner et al. 2023, arXiv:2308.10248; Rimsky et al. 2023, arXiv:2312.06681;
Arditi et al. 2024, arXiv:2406.11717). How well it separates is measured on prompts it was not made
from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cabinos.train.errors import TrainError
from cabinos.train.inspect.hooks import recorded
from cabinos.train.inspect.subject import Subject

__all__ = ["Direction", "continue_text", "find_direction", "last_states"]

FEWEST = 4  # prompts of a kind: half make the direction, half measure it


@dataclass(frozen=True)
class Direction:
    """From one kind of prompts (`away`) to the other (`toward`)."""

    layer: int  # after which it separates best
    vector: Tensor  # the difference of the means there: [D]
    separation: tuple[float, ...]  # of held-out prompts, by layer: 0.5 is chance, 1 is clean


@torch.no_grad()  # type: ignore[untyped-decorator]
def last_states(subject: Subject, prompts: Sequence[list[int]]) -> Tensor:
    """The stream after each layer, at the last token of each prompt: [prompts, L, D]."""
    states = []
    for ids in prompts:
        with recorded(subject.model) as record:
            subject.model.hidden(torch.tensor([ids]))
        states.append(torch.stack([layer[-1] for layer in record.residual[1:]]))
    return torch.stack(states)


def find_direction(
    subject: Subject, toward: Sequence[list[int]], away: Sequence[list[int]]
) -> Direction:
    """The direction from `away` to `toward`, made from every other prompt, measured on the rest.

    Raises TrainError if there are too few.
    """
    if min(len(toward), len(away)) < FEWEST:
        raise TrainError(f"at least {FEWEST} prompts of each kind are needed; there are "
                         f"{len(toward)} and {len(away)}.")  # fmt: skip
    a, b = last_states(subject, toward), last_states(subject, away)
    vectors = a[::2].mean(0) - b[::2].mean(0)  # [L, D]
    separation = []
    for layer, vector in enumerate(vectors):
        ours, theirs = a[1::2, layer] @ vector, b[1::2, layer] @ vector
        separation.append(_above(ours, theirs))
    layer = max(range(len(separation)), key=lambda at: (separation[at], -at))
    return Direction(layer, vectors[layer], tuple(separation))


def _above(ours: Tensor, theirs: Tensor) -> float:
    """How often one of ours lies above one of theirs (the area under the ROC curve)."""
    pairs = ours[:, None] - theirs[None]
    return float((pairs > 0).float().mean() + (pairs == 0).float().mean() / 2)


@torch.no_grad()  # type: ignore[untyped-decorator]
def continue_text(subject: Subject, ids: list[int], count: int, ends: frozenset[int]) -> list[int]:
    """The likeliest `count` tokens after `ids`, one by one, as the model is now."""
    found = list(ids)
    for _ in range(min(count, subject.model.config.context - len(ids))):
        token = int(subject.model.logits(torch.tensor([found]))[0, -1].argmax())
        found.append(token)
        if token in ends:
            break
    return found[len(ids) :]
