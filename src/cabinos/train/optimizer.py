"""Muon for the matrices of the layers, AdamW for the embedding and the norms."""

from collections.abc import Mapping
from itertools import groupby
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from cabinos.train.config import RunConfig, TuneConfig
from cabinos.train.model import Llama

__all__ = ["NOTHING", "Muon", "make_optimizers", "set_rates"]

# Newton–Schulz coefficients of Jordan et al. 2024 (kellerjordan.github.io/posts/muon).
A, B, C = 3.4445, -4.7750, 2.0315
STEPS = 5

NOTHING: Mapping[str, float] = MappingProxyType({})


class Muon(torch.optim.Muon):  # type: ignore[misc]
    """torch's Muon, with matrices of one shape orthogonalised in one batch.

    torch takes them one by one, in bfloat16, which takes a CPU without bfloat16 instructions five
    times as long as float32. The update rule and the state are torch's own.
    """

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: None = None) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            chosen = [p for p in group["params"] if p.grad is not None]
            chosen.sort(key=lambda p: tuple(p.shape))
            for shape, same in groupby(chosen, key=lambda p: tuple(p.shape)):
                self._step_alike(group, list(same), shape)

    def _step_alike(
        self, group: dict[str, float], weights: list[Tensor], shape: tuple[int, int]
    ) -> None:
        momentum, rate = group["momentum"], group["lr"]
        updates = []
        for weight in weights:
            state = self.state[weight]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(weight)
            state["momentum_buffer"].lerp_(weight.grad, 1 - momentum)
            updates.append(weight.grad.lerp(state["momentum_buffer"], momentum))  # Nesterov
        orthogonal = orthogonalize(torch.stack(updates))
        scale = max(1.0, shape[0] / shape[1]) ** 0.5
        for weight, update in zip(weights, orthogonal, strict=True):
            weight.mul_(1 - rate * group["weight_decay"])
            weight.add_(update, alpha=-rate * scale)


def orthogonalize(matrices: Tensor) -> Tensor:
    """Each matrix with its singular values brought near 1: [n, rows, columns], the same shape."""
    x = matrices.bfloat16() if matrices.is_cuda else matrices.float()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=B, alpha=C), x, beta=A)
    return (x.mT if tall else x).to(matrices.dtype)


def make_optimizers(
    model: Llama, config: RunConfig | TuneConfig, apart: Mapping[str, float] = NOTHING
) -> list[torch.optim.Optimizer]:
    """Muon and AdamW for `model`. Each group remembers its rate as "peak" (see `set_rates`).

    If the layers' own matrices are frozen, AdamW alone, for the adapters. `apart`: the beginning of
    the names of parameters that AdamW takes at a rate of their own, and that rate.
    """
    trained = {k: p for k, p in model.named_parameters() if p.requires_grad}
    special: list[dict[str, Any]] = [
        {"params": [trained.pop(k) for k in list(trained) if k.startswith(name)], "lr": rate}
        for name, rate in apart.items()
    ]
    layers = [p for k, p in trained.items() if k.startswith("layers.") and p.ndim == 2]
    adapters = [p for k, p in trained.items() if ".lora_" in k]
    others = [p for k, p in trained.items() if not k.startswith("layers.") and p.ndim == 2]
    vectors = [p for p in trained.values() if p.ndim == 1]
    groups: list[dict[str, Any]] = [{"params": p} for p in (adapters + others, vectors) if p]
    groups += special
    adam = torch.optim.AdamW(
        groups, lr=config.other_rate, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0, fused=True
    )
    optimizers: list[torch.optim.Optimizer] = [adam]
    if not adapters:
        rate, decay = config.matrix_rate, config.weight_decay
        optimizers.insert(0, Muon(layers, lr=rate, weight_decay=decay, momentum=0.95))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def set_rates(optimizers: list[torch.optim.Optimizer], scale: float) -> None:
    """Set every learning rate to `scale` times its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = scale * group["peak"]
