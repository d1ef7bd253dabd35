"""A critic: what reward is to be expected from here on, read off the policy's own states.

Its gradient ends at the states. Muon makes every update of the layers equally long, however small
the gradient: a critic that taught them too would move the policy also where no reward says so. So
policy and critic share no weight that learns, and their losses need no balance between them.
"""

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor, nn

from cabinos.train.config import ModelConfig
from cabinos.train.model import Linear, Llama

__all__ = ["Critic", "CriticModel"]


class Critic(nn.Module):  # type: ignore[misc]
    """Two layers; it begins by expecting nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.value = Linear(width, width), Linear(width, 1)
        nn.init.zeros_(self.value.weight)

    def forward(self, h: Tensor) -> Tensor:
        """States [N, D] -> expected rewards, float32 [N]."""
        found: Tensor = self.value(F.silu(self.inner(h.detach().float()))).squeeze(1)
        return found


class CriticModel(Llama):
    """A policy and its critic. What is exported, and what other runs begin with, has none."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(config, dtype)
        self.critic = Critic(config.width)

    @classmethod
    def of(cls, model: Llama, seed: int) -> "CriticModel":
        """With the weights of a policy; the critic's first layer is drawn from `seed`."""
        made = cls(model.config, model.dtype)
        made.load_state_dict(model.state_dict(), strict=False)
        make = torch.Generator().manual_seed(seed)
        made.critic.inner.weight.data.normal_(0.0, model.config.width**-0.5, generator=make)
        return made
