"""Bits per byte on held-out texts: what a model would need to store each byte of them.

Unlike the loss per token, it can be compared between tokenizers.
"""

from math import log
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from cabinos.train.model import Llama
from cabinos.train.shards import open_shards, tokens_of
from cabinos.train.tokenizer import SPECIAL, open_tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["bits_per_byte", "token_lengths"]

ROWS = 8  # at once


def token_lengths(folder: Path) -> "NDArray[np.int64]":
    """UTF-8 bytes that each token stands for: [vocabulary]; special tokens stand for none."""
    tokenizer = open_tokenizer(folder / "tokenizer.json")
    lengths = np.zeros(tokenizer.get_vocab_size(), np.int64)
    for text, index in tokenizer.get_vocab().items():
        if text not in SPECIAL:
            lengths[index] = len(text)  # byte-level: one character stands for each byte
    return lengths


@torch.no_grad()  # type: ignore[untyped-decorator]
def bits_per_byte(
    model: Llama, folder: Path, *, context: int = 512, tokens: int = 16_384
) -> dict[str, float]:
    """By domain, on the first `tokens` tokens of what is held out; "all" is the mean of domains."""
    lengths, device = token_lengths(folder), model.embed_tokens.weight.device
    result = {}
    for shard in open_shards(folder):
        if shard.split != "held" or shard.tokens <= context:
            continue
        count = min(tokens, shard.tokens - 1) // context
        data = np.asarray(tokens_of(folder, shard)[: count * context + 1], np.int64)
        inputs = data[:-1].reshape(count, context)
        targets = data[1:].reshape(count, context)
        nats = 0.0
        for start in range(0, count, ROWS):
            x = torch.from_numpy(inputs[start : start + ROWS]).to(device)
            y = torch.from_numpy(targets[start : start + ROWS]).to(device)
            nats += model(x, y).item()
        result[shard.domain] = nats / log(2) / max(1, int(lengths[targets].sum()))
    if result:
        result["all"] = sum(result.values()) / len(result)
    return result
