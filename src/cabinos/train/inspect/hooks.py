"""Record what flows through a model, or change it, for as long as a `with` block lasts.

The model's code knows nothing of this: torch's own hooks are put on its modules and removed again,
so logits without them are the same bits as if there had never been any. T tokens, width D, H heads
of length E, L layers.
"""

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from cabinos.train.model import Llama, rotate

__all__ = ["Record", "changed", "recorded", "steered", "without_direction", "without_heads",
           "without_neurons"]  # fmt: skip


@dataclass
class Record:
    """What flowed through in one pass over one text."""

    residual: list[Tensor] = field(default_factory=list)  # [T, D]: embedded, and after each layer
    attention: list[Tensor] = field(default_factory=list)  # [H, T, T] by layer: who looks at whom
    neurons: list[Tensor] = field(default_factory=list)  # [1, T, inner] by layer, with gradient


@contextmanager
def recorded(model: Llama) -> Iterator[Record]:
    """A record that the next pass over one text (a batch of one) fills."""
    record = Record()

    def embedded(_module: object, inputs: tuple[Tensor, ...]) -> None:
        record.residual.append(inputs[0][0].detach())

    def layer_done(_module: object, _inputs: object, output: Tensor) -> None:
        record.residual.append(output[0].detach())

    def attends(module: Any, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
        record.attention.append(_pattern(module, *inputs))

    def fires(_module: object, inputs: tuple[Tensor]) -> None:
        record.neurons.append(inputs[0])

    handles: list[Any] = []
    try:
        handles.append(model.layers[0].register_forward_pre_hook(embedded))
        for layer in model.layers:
            handles.append(layer.register_forward_hook(layer_done))
            handles.append(layer.self_attn.register_forward_pre_hook(attends))
            handles.append(layer.mlp.down_proj.register_forward_pre_hook(fires))
        yield record
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()  # type: ignore[untyped-decorator]
def _pattern(attention: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The weights softmax(q kᵀ / sqrt(E)) that the fused attention never shows: [H, T, T]."""
    length = x.shape[1]
    q, k = (
        rotate(projection(x).view(1, length, -1, attention.head).transpose(1, 2), cos, sin)[0]
        for projection in (attention.q_proj, attention.k_proj)
    )
    k = k.repeat_interleave(len(q) // len(k), dim=0)
    scores = (q @ k.transpose(1, 2)).float() / math.sqrt(attention.head)
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    return scores.masked_fill(future, -math.inf).softmax(-1)


@contextmanager
def changed(
    places: Collection[Any], change: Callable[[Tensor], Tensor], *, before: bool = False
) -> Iterator[None]:
    """The output of these modules (or `before` them, their input) is changed."""

    def at_output(_module: object, _inputs: object, output: Tensor) -> Tensor:
        return change(output)

    def at_input(_module: object, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return change(inputs[0]), *inputs[1:]

    if before:
        handles = [place.register_forward_pre_hook(at_input) for place in places]
    else:
        handles = [place.register_forward_hook(at_output) for place in places]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def without_heads(model: Llama, layer: int, heads: Collection[int]) -> AbstractContextManager[None]:
    """What these heads of a layer found is zero."""
    length = model.config.head

    def change(x: Tensor) -> Tensor:
        x = x.clone()
        for head in heads:
            x[..., head * length : (head + 1) * length] = 0
        return x

    return changed([model.layers[layer].self_attn.o_proj], change, before=True)


def without_neurons(
    model: Llama, layer: int, neurons: Collection[int]
) -> AbstractContextManager[None]:
    """These neurons of a layer are silent."""

    def change(x: Tensor) -> Tensor:
        x = x.clone()
        x[..., list(neurons)] = 0
        return x

    return changed([model.layers[layer].mlp.down_proj], change, before=True)


def steered(model: Llama, layer: int, vector: Tensor) -> AbstractContextManager[None]:
    """`vector` [D] is added to the stream after a layer, everywhere."""
    return changed([model.layers[layer]], lambda x: x + vector.to(x.dtype))


def without_direction(model: Llama, vector: Tensor) -> AbstractContextManager[None]:
    """Nothing in the stream points along `vector` [D] (Arditi et al. 2024)."""
    unit = vector / vector.norm()

    def change(x: Tensor) -> Tensor:
        return x - (x @ unit.to(x.dtype)).unsqueeze(-1) * unit.to(x.dtype)

    return changed([model.embed_tokens, *model.layers], change)
