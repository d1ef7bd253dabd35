"""GRPO: answers to one case are compared with each other, and no critic is needed.

Shao et al. 2024, arXiv:2402.03300, eq. 3, and Liu et al. 2025 (Dr. GRPO), arXiv:2503.20783. For a
token a drawn at state s, with ratio = π(a|s) / π_old(a|s) and the answer's advantage A,

    loss = - w · (min(ratio · A, clip(ratio, 1 - ε, 1 + ε) · A) - β · KL)

Probabilities are those that were drawn by: at the temperature, among what the grammar allowed. KL
to the model that the run began with is estimated by e^d - d - 1, d = log π_ref - log π (Schulman
2020, "Approximating KL divergence", k3): never negative, and unbiased.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from cabinos.train.logprobs import token_logprobs
from cabinos.train.model import Llama
from cabinos.train.rl.credit import Credit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cabinos.train.rl.config import RlConfig
    from cabinos.train.rl.rounds import Played

__all__ = ["Rewarded", "advantages", "clipped", "grpo_credit", "token_weights"]

TINY = 1e-6


class Rewarded(nn.Module):  # type: ignore[misc]
    """A policy, and the loss that its rewards give it."""

    def __init__(self, model: Llama, config: "RlConfig") -> None:
        super().__init__()
        self.model, self.config = model, config

    def forward(  # noqa: PLR0913 - the fields of `RolloutPart`
        self,
        inputs: Tensor,
        targets: Tensor,
        places: Tensor,
        allowed: Tensor,
        advantages: Tensor,
        weights: Tensor,
        old: Tensor,
        reference: Tensor,
        values: Tensor,
        returns: Tensor,
    ) -> Tensor:
        """The sum of the losses of all decisions. Nobody asks for `values` and `returns` here."""
        h = self.model.hidden(inputs).flatten(0, 1)[places] / self.config.temperature
        logprobs = token_logprobs(h, self.model.output, targets, allowed)
        gain = clipped((logprobs - old).exp(), advantages, self.config.clip)
        if self.config.kl:
            d = reference - logprobs
            gain = gain - self.config.kl * (d.exp() - d - 1)
        return -(weights * gain).sum()


def clipped(ratio: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """min(ratio A, clip(ratio, 1 - ε, 1 + ε) A), [N] each: no gain from moving far."""
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def grpo_credit(played: "Sequence[Played]", config: "RlConfig") -> list[list[Credit]]:
    """What each decision of a round is worth: for each rollout, one for each of its samples."""
    rollouts = [one.rollout for one in played]
    worth = advantages([r.case for r in rollouts], [r.reward for r in rollouts], fair=config.fair)
    return [
        [
            Credit(np.full(len(sample), advantage, np.float32), np.zeros(len(sample), np.float32))
            for sample in one.old
        ]
        for one, advantage in zip(played, worth, strict=True)
    ]


def advantages(
    cases: "Sequence[int]", rewards: "Sequence[float]", *, fair: bool
) -> "NDArray[np.float32]":
    """What each answer's reward is above the mean of its case; unless `fair`, by deviations."""
    case, reward = np.array(cases), np.array(rewards, np.float64)
    made = np.zeros(len(reward))
    for number in np.unique(case):
        group = case == number
        made[group] = reward[group] - reward[group].mean()
        if not fair:
            made[group] /= reward[group].std() + TINY
    return made.astype(np.float32)


def token_weights(count: int, config: "RlConfig") -> float:
    """What one of an answer's `count` decisions weighs in its loss.

    If `fair`, always the same: an answer's tokens at most.
    """
    return 1 / (config.answer_tokens if config.fair else max(1, count))
