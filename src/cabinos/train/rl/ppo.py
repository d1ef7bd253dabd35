"""PPO: a critic says what was to be expected, and what went better becomes likelier.

Schulman et al. 2017, arXiv:1707.06347, as it is used on language models: Ziegler et al. 2019,
arXiv:1909.08593, and Ouyang et al. 2022 (InstructGPT), arXiv:2203.02155. For decision t of an
answer, with the values V of the policy that played,

    r_t  = reward at the last decision, less β (log π_old - log π_ref) at each
    δ_t  = r_t + γ V(s_t+1) - V(s_t)                                V after the last: 0
    A_t  = δ_t + γλ A_t+1                                           advantage
    R_t  = A_t + V(s_t)                                             what the critic learns
    loss = - min(ratio A, clip(ratio, 1 - ε, 1 + ε) A)
           + 1/2 max((V_now - R)², (V + clip(V_now - V, -c, c) - R)²)

A is generalised advantage estimation (Schulman et al. 2016, arXiv:1506.02438, eq. 16). Advantages
of a round are shifted and scaled to mean 0 and deviation 1, and values clipped like ratios, as in
OpenAI's code and TRL (Huang et al. 2022, "The 37 implementation details of PPO", nos. 7 and 9).
A decision, and so a step in time, is a token that the policy had a choice about; where an answer
consists of several texts, one goes on after the other.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from cabinos.train.logprobs import token_logprobs
from cabinos.train.rl.credit import Credit
from cabinos.train.rl.grpo import clipped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cabinos.train.rl.config import PpoConfig
    from cabinos.train.rl.critic import CriticModel
    from cabinos.train.rl.rounds import Played

__all__ = ["PpoObjective", "explained", "gae", "ppo_credit", "value_loss"]

TINY = 1e-8


class PpoObjective(nn.Module):  # type: ignore[misc]
    """A policy with its critic, and the loss that its rewards give both."""

    def __init__(self, model: "CriticModel", config: "PpoConfig") -> None:
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
        """The sum of the losses of all decisions. The `reference` is in the rewards already."""
        h = self.model.hidden(inputs).flatten(0, 1)[places]
        logprobs = token_logprobs(h / self.config.temperature, self.model.output, targets, allowed)
        gain = clipped((logprobs - old).exp(), advantages, self.config.clip)
        error = value_loss(self.model.critic(h), values, returns, self.config.value_clip)
        return (weights * (error - gain)).sum()


def value_loss(now: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """Half the squared error of values, or of values that moved by `clip` at most: [N] each."""
    near = old + (now - old).clamp(-clip, clip)
    return torch.maximum((now - returns).square(), (near - returns).square()) / 2


def gae(
    rewards: "NDArray[np.float64]", values: "NDArray[np.float64]", gamma: float, lam: float
) -> "NDArray[np.float64]":
    """The advantage of each of n decisions, from the last one back: [n], [n] -> [n]."""
    after = np.append(values[1:], 0.0)
    deltas = rewards + gamma * after - values
    found, advantage = np.zeros(len(deltas)), 0.0
    for t in range(len(deltas) - 1, -1, -1):
        found[t] = advantage = deltas[t] + gamma * lam * advantage
    return found


def ppo_credit(played: "Sequence[Played]", config: "PpoConfig") -> list[list[Credit]]:
    """What each decision of a round is worth: for each rollout, one for each of its samples."""
    raw = [_estimates(one, config) for one in played]
    every = np.concatenate([np.zeros(0), *(advantages for advantages, _ in raw)])
    middle, spread = (every.mean(), every.std()) if len(every) else (0.0, 0.0)
    found = []
    for one, (advantages, returns) in zip(played, raw, strict=True):
        white = (advantages - middle) / (spread + TINY)
        made, at = list[Credit](), 0
        for sample in one.old:
            part = slice(at, at := at + len(sample))
            made.append(Credit(white[part].astype(np.float32), returns[part].astype(np.float32)))
        found.append(made)
    return found


def explained(played: "Sequence[Played]", config: "PpoConfig") -> float:
    """Which share of the variance of what came in the end the critic foresaw: 1 is all of it."""
    found = [
        (returns, [value for sample in one.values for value in sample])
        for one in played
        for _, returns in [_estimates(one, replace(config, lam=1.0))]
    ]
    came, expected = (np.concatenate([np.zeros(0), *part]) for part in zip(*found, strict=True))
    spread = came.var() if len(came) else 0.0
    return float(1 - (came - expected).var() / spread) if spread else 0.0


def _estimates(
    one: "Played", config: "PpoConfig"
) -> tuple["NDArray[np.float64]", "NDArray[np.float64]"]:
    """Advantages and returns of a rollout's decisions, its samples joined: [n] both."""
    old, reference, values = (
        np.concatenate([np.array(sample, np.float64) for sample in part] or [np.zeros(0)])
        for part in (one.old, one.reference, one.values)
    )
    rewards = -config.kl * (old - reference)
    if len(rewards):
        rewards[-1] += one.rollout.reward
    advantages = gae(rewards, values, config.gamma, config.lam)
    return advantages, advantages + values
