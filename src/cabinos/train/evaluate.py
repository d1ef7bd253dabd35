"""What a run is measured by while it goes, on what is held out.

Texts: bits per byte, what a model would need to store each byte of them; unlike the loss per token,
it can be compared between tokenizers. Conversations: how the assistant's words are predicted, each
behind the true ones before it.
"""

from math import log
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)

from cabinos.train.model import Llama
from cabinos.train.row_batches import RowBatch, alike
from cabinos.train.rows import Rows
from cabinos.train.shards import open_shards, tokens_of
from cabinos.train.tokenizer import SPECIAL, open_tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["answers", "bits_per_byte", "token_lengths"]

ROWS = 8  # at once
LOGITS = 256  # rows of them at once


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


@torch.no_grad()  # type: ignore[untyped-decorator]
def answers(model: Llama, rows: Rows, *, most: int = 512, tokens: int = 4096) -> dict[str, float]:
    """On `most` rows, evenly spread: `loss` (nats a learnt token), and which share is right.

    `tokens`: learnt tokens that are the likeliest; `rows`: rows in which each of them is, so that
    greedy decoding would write the very same conversation.
    """
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64))
    batch = RowBatch(rows, alike(rows.lengths, chosen, tokens))
    device = model.embed_tokens.weight.device
    loss, right, whole = 0.0, 0, 0
    for part in batch.parts():
        assert part.places is not None
        h = model.hidden(torch.from_numpy(part.inputs).to(device)).flatten(0, 1)
        h = h[torch.from_numpy(part.places).to(device)]
        hit = np.zeros(len(h), np.bool_)
        for start in range(0, len(h), LOGITS):
            some = slice(start, start + LOGITS)
            logits = F.linear(h[some], model.output.to(h.dtype)).float().cpu()
            targets = torch.from_numpy(part.targets[some])
            loss += F.cross_entropy(logits, targets, reduction="sum").item()
            hit[some] = (logits.argmax(1) == targets).numpy()
        right += int(hit.sum())
        whole += len(part.inputs) - len(np.unique(part.places[~hit] // part.inputs.shape[1]))
    count = len(batch.targets)
    return {"loss": loss / count, "tokens": right / count, "rows": whole / len(chosen)}
