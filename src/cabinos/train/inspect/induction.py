"""Induction heads: they look for the same token earlier in the text, and at what came after it.

Olsson et al. 2022, arXiv:2209.11895. The text is random tokens, twice: nothing but the repetition
can be known. A head's score is the share of its attention that goes, from each token of the second
half, to the one after the same token in the first.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cabinos.train.inspect.hooks import recorded
from cabinos.train.inspect.subject import Subject
from cabinos.train.inspect.views import losses

__all__ = ["Induction", "induction"]


@dataclass(frozen=True)
class Induction:
    """Scores from 0 to 1, and what the repetition is worth."""

    scores: Tensor  # [L, H]
    previous: Tensor  # share of attention to the token before: [L, H]
    first: float  # bits a token in the first half
    second: float  # bits a token in the second


@torch.no_grad()  # type: ignore[untyped-decorator]
def induction(subject: Subject, *, length: int = 48, texts: int = 6, seed: int = 0) -> Induction:
    """Measure on `texts` texts of twice `length` random tokens."""
    config = subject.model.config
    length = min(length, (config.context - 1) // 2)
    generator = torch.Generator().manual_seed(seed)
    begin = subject.encode("")[:1] or [0]
    scores = torch.zeros(config.depth, config.heads)
    previous, first, second = torch.zeros_like(scores), 0.0, 0.0
    low = min(64, config.vocabulary // 4)  # special tokens and single bytes come first
    for _ in range(texts):
        half = torch.randint(low, config.vocabulary, (length,), generator=generator).tolist()
        ids = [*begin, *half, *half]
        with recorded(subject.model) as record:
            bits = losses(subject, ids)
        attention = torch.stack(record.attention)  # [L, H, T, T]
        at = torch.arange(len(ids) - length, len(ids))
        scores += attention[:, :, at, at - length + 1].mean(-1) / texts
        previous += attention[:, :, at, at - 1].mean(-1) / texts
        first += float(bits[: length - 1].mean()) / texts
        second += float(bits[-length + 1 :].mean()) / texts
    return Induction(scores, previous, first, second)
