"""LoRA: a frozen model that learns by small additions to its matrices.

Hu et al. 2021, arXiv:2106.09685. A matrix W [out, in] becomes W + B A · alpha / rank, with
A [rank, in] and B [out, rank]. B begins as zeros, so nothing changes at first. What is saved is a
PEFT adapter: other programs load it, and the engine merges it into a model (`cabin run --lora`).
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor, nn

from cabinos.train.errors import TrainError
from cabinos.train.model import Linear, Llama

if TYPE_CHECKING:
    from cabinos.train.config import TuneConfig

__all__ = ["AdaptedLinear", "adapt", "merge", "save_adapter"]


class AdaptedLinear(Linear):
    """A frozen matrix and what is added to it."""

    def __init__(self, base: Linear, rank: int, scale: float) -> None:
        """`base`: its weights are taken over, not copied."""
        nn.Module.__init__(self)
        outputs, inputs = base.weight.shape
        self.weight, self.bias, self.scale = base.weight, base.bias, scale
        self.lora_A = nn.Parameter(torch.zeros(rank, inputs))
        self.lora_B = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        added = F.linear(F.linear(x, self.lora_A.to(x.dtype)), self.lora_B.to(x.dtype))
        return super().forward(x) + self.scale * added

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def merged(self) -> Linear:
        """A plain matrix that computes the same."""
        plain = Linear(self.weight.shape[1], self.weight.shape[0], bias=self.bias is not None)
        plain.weight.copy_(self.weight + self.scale * self.lora_B @ self.lora_A)
        if self.bias is not None:
            plain.bias.copy_(self.bias)
        return plain


def adapt(model: Llama, config: "TuneConfig", generator: torch.Generator) -> None:
    """Freeze `model` and give the matrices that `config` names an adapter, which alone learns.

    A is uniform within 1 / sqrt(inputs), as in PEFT. Raises TrainError for an unknown matrix.
    """
    model.requires_grad_(False)
    found = {name for _, name, _ in _matrices(model, config.adapted)}
    if missing := set(config.adapted) - found:
        raise TrainError(f"no matrix is called {min(missing)!r}; take some of q_proj, k_proj, "
                         "v_proj, o_proj, gate_proj, up_proj and down_proj.")  # fmt: skip
    for parent, name, matrix in list(_matrices(model, config.adapted)):
        adapted = AdaptedLinear(matrix, config.rank, config.alpha / config.rank)
        bound = matrix.weight.shape[1] ** -0.5
        nn.init.uniform_(adapted.lora_A, -bound, bound, generator=generator)
        setattr(parent, name, adapted)


def _matrices(model: Llama, names: Sequence[str]) -> Iterator[tuple[nn.Module, str, Linear]]:
    """The module that holds it, its name there, and the matrix, for every one of these names."""
    for layer in model.layers:
        for parent in (layer.self_attn, layer.mlp):
            for name, child in parent.named_children():
                if name in names:
                    yield parent, name, child


def merge(model: Llama) -> None:
    """Make the adapters part of the matrices: a plain model that computes the same."""
    for parent, name, matrix in list(_matrices(model, [n for n, _ in _adapted_names(model)])):
        setattr(parent, name, matrix.merged())


def _adapted_names(model: Llama) -> Iterator[tuple[str, "AdaptedLinear"]]:
    for path, module in model.named_modules():
        if isinstance(module, AdaptedLinear):
            yield path.rpartition(".")[2], module


def save_adapter(model: Llama, config: "TuneConfig", base: str, folder: Path) -> None:
    """Write the adapters of `model` as PEFT does. Raises TrainError if they cannot be written."""
    import safetensors.torch

    tensors = {}
    for name, weight in model.named_parameters():
        if ".lora_" in name:
            tensors[f"base_model.model.model.{name}.weight"] = weight.detach().cpu().contiguous()
    facts = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": 0.0,
        "target_modules": list(config.adapted),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
        (folder / "adapter_config.json").write_text(json.dumps(facts, indent=1) + "\n")
    except OSError as error:
        raise TrainError(f"{folder}: cannot be written ({error.strerror or error}).") from None
