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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cabinos.train.rl.config import RlConfig

__all__ = ["Rewarded", "advantages", "token_weights"]

TINY = 1e-6


class Rewarded(nn.Module):  # type: ignore[misc]
    """A policy, and the loss that its rewards give it."""

    def __init__(self, model: Llama, config: "RlConfig") -> None:
        super().__init__()
        self.model, self.config = model, config

    def forward(
        self,
        inputs: Tensor,
        targets: Tensor,
        places: Tensor,
        allowed: Tensor,
        advantages: Tensor,
        weights: Tensor,
        old: Tensor,
        reference: Tensor,
    ) -> Tensor:
        """The sum of the losses of all decisions; see `RolloutPart`."""
        h = self.model.hidden(inputs).flatten(0, 1)[places] / self.config.temperature
        logprobs = token_logprobs(h, self.model.output, targets, allowed)
        ratio = (logprobs - old).exp()
        clip = self.config.clip
        gain = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
        if self.config.kl:
            d = reference - logprobs
            gain = gain - self.config.kl * (d.exp() - d - 1)
        return -(weights * gain).sum()


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
