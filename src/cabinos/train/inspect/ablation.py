"""What a text costs without a head, and without a neuron: the difference is what they do for it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor

from cabinos.train.inspect.hooks import recorded, without_heads, without_neurons
from cabinos.train.inspect.subject import Subject
from cabinos.train.inspect.views import losses

__all__ = ["Neuron", "heads", "neurons"]


@dataclass(frozen=True)
class Neuron:
    """One neuron of a layer's MLP."""

    layer: int
    index: int
    effect: float  # bits a token that the text costs more without it
    where: str  # the word at which it fires most
    peak: float  # how much
    promotes: tuple[str, ...]  # the words whose logits it raises most


def heads(subject: Subject, ids: list[int]) -> Tensor:
    """Bits a token that the text costs more without each head: [L, H]."""
    config = subject.model.config
    whole = losses(subject, ids).mean()
    effects = torch.zeros(config.depth, config.heads)
    for layer in range(config.depth):
        for head in range(config.heads):
            with without_heads(subject.model, layer, [head]):
                effects[layer, head] = losses(subject, ids).mean() - whole
    return effects


def neurons(subject: Subject, ids: list[int], count: int = 12) -> list[Neuron]:
    """The neurons that matter most for a text, either way.

    Candidates are found to first order, by activation times gradient (Molchanov et al. 2017,
    arXiv:1611.06440); then each is left out in fact, and that is what counts.
    """
    model, tokens = subject.model, torch.tensor([ids])
    with recorded(model) as record:
        loss = F.cross_entropy(model.logits(tokens)[0, :-1], tokens[0, 1:])
    slopes = torch.autograd.grad(loss, record.neurons)
    estimates = torch.stack(
        [-(a * g)[0].sum(0) for a, g in zip(record.neurons, slopes, strict=True)]
    ).detach()  # [L, inner]
    whole, found = losses(subject, ids).mean(), []
    for place in estimates.abs().flatten().topk(2 * count).indices.tolist():
        layer, index = divmod(place, estimates.shape[1])
        with without_neurons(model, layer, [index]):
            effect = float(losses(subject, ids).mean() - whole)
        fires = record.neurons[layer][0, :, index].detach()
        at = int(fires.abs().argmax())
        promotes = _promoted(subject, layer, index, float(fires[at]))
        found.append(
            Neuron(layer, index, effect, subject.word(ids[at]), float(fires[at]), promotes)
        )
    return sorted(found, key=lambda neuron: -abs(neuron.effect))[:count]


@torch.no_grad()  # type: ignore[untyped-decorator]
def _promoted(subject: Subject, layer: int, index: int, sign: float) -> tuple[str, ...]:
    model = subject.model
    written = model.layers[layer].mlp.down_proj.weight[:, index] * (1 if sign >= 0 else -1)
    raised = (model.norm.weight * written) @ model.output.T
    return tuple(subject.word(int(token)) for token in raised.topk(5).indices)
