"""Log-probabilities of given tokens, with gradients, without ever holding all logits."""

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor
from torch.utils.checkpoint import checkpoint

__all__ = ["token_logprobs"]

CHUNK = 256  # positions whose logits are held at once


def token_logprobs(
    h: Tensor, weight: Tensor, targets: Tensor, allowed: Tensor | None = None
) -> Tensor:
    """Log P(target) at each state: h [N, D], weight [V, D], targets [N] -> float32 [N].

    allowed [N, ceil(V / 8)]: bits, the lowest first, of the tokens that could be drawn there; the
    probability is of the target among these. Logits are computed again on the way back, so that
    memory is that of one chunk.
    """
    if not len(targets):
        return (h.sum() * 0).float().expand(0)
    parts = []
    for start in range(0, len(targets), CHUNK):
        some = slice(start, start + CHUNK)
        mask = None if allowed is None else allowed[some]
        parts.append(
            checkpoint(_chunk, h[some], weight, targets[some], mask, use_reentrant=False)
            if torch.is_grad_enabled()
            else _chunk(h[some], weight, targets[some], mask)
        )
    return torch.cat(parts)


def _chunk(h: Tensor, weight: Tensor, targets: Tensor, allowed: Tensor | None) -> Tensor:
    logits = F.linear(h, weight.to(h.dtype)).float()  # [C, V]
    if allowed is not None:
        bits = torch.arange(8, device=h.device, dtype=torch.uint8)
        drawn = ((allowed[:, :, None] >> bits) & 1).bool().flatten(1)[:, : logits.shape[1]]
        logits = logits.masked_fill(~drawn, -torch.inf)
    return -F.cross_entropy(logits, targets, reduction="none")
