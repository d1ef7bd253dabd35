"""How rows that differ in length should go through the model: tokens learnt a second of CPU time.

    python bench/train/rows.py --threads 2

nano's shape, random tokens; rows as long as those of nano's conversations (200 tokens on average,
most of them 65 to 310), 28 % of each learnt. The contenders take turns, and each second of CPU time
counts, not of the clock, so that a busy machine misleads less:

    alike        rows of one length together, padded; the output matrix only where one is learnt
    everywhere   the same, with the output matrix at every position
    packed       rows one behind the other in lines of 1,024, which see each other
    fenced       the same, with a mask, so that they do not

"packed" is given its lines without the padding that packing would leave.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor

from cabinos.train.batches import Part
from cabinos.train.config import ModelConfig, TuneConfig
from cabinos.train.hardware import choose_machine
from cabinos.train.model import Llama
from cabinos.train.row_batches import RowStream
from cabinos.train.rows import Rows

SHAPE = ModelConfig.from_depth(6, vocabulary=8192, context=1024)
LEARNT, LINE = 0.28, 1024


def rows(random: np.random.Generator, count: int = 2048) -> Rows:
    """Random rows."""
    lengths = random.normal(200, 65, count).clip(65, 545).astype(np.int64)
    offsets = np.concatenate([[0], lengths.cumsum()])
    learnt = np.zeros(offsets[-1], np.bool_)
    for end, length in zip(offsets[1:], lengths, strict=True):
        learnt[end - int(LEARNT * length) : end] = True
    tokens = random.integers(0, SHAPE.vocabulary, offsets[-1]).astype(np.uint16)
    return Rows(tokens, learnt, offsets, np.zeros((count, 2), np.int32), ["random"])


def packed(source: Rows, lines: int, start: int) -> tuple[Part, Tensor]:
    """`lines` lines of LINE tokens, and a mask [lines, 1, LINE, LINE] that keeps rows apart."""
    first = start * lines * LINE % (len(source.tokens) - lines * LINE - 1)
    span = slice(first, first + lines * LINE)
    inputs = np.asarray(source.tokens[span], np.int64).reshape(lines, LINE)
    places = np.flatnonzero(source.learnt[first + 1 : first + lines * LINE + 1])
    targets = np.asarray(source.tokens[first + 1 + places], np.int64)
    row = np.searchsorted(source.offsets, np.arange(span.start, span.stop), side="right")
    number = torch.from_numpy(row.reshape(lines, LINE))
    mask = (number[:, :, None] == number[:, None, :]).tril()[:, None]
    return Part(inputs, targets, places), mask


def learn(model: Llama, part: Part, *, everywhere: bool = False) -> None:
    """Forward and backward."""
    inputs, targets = torch.from_numpy(part.inputs), torch.from_numpy(part.targets)
    places = None if part.places is None else torch.from_numpy(part.places)
    if everywhere:
        spread = torch.full((inputs.numel(),), -1)
        spread[places] = targets
        targets, places = spread, None
    (model(inputs, targets, places) / len(part.targets)).backward()
    model.zero_grad()


def main() -> None:
    """Take turns and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--micro-tokens", type=int, default=4096)
    parser.add_argument("--quick", action="store_true", help="one turn of a quarter of the tokens")
    options = parser.parse_args()
    if options.quick:
        options.turns, options.micro_tokens = 1, LINE
    torch.set_num_threads(options.threads)
    model = Llama(SHAPE, choose_machine("cpu").dtype)
    model.initialize(torch.Generator().manual_seed(1))
    source = rows(np.random.default_rng(1))
    size = options.micro_tokens
    stream = RowStream(source, TuneConfig(batch_tokens=size, micro_tokens=size))
    attention = F.scaled_dot_product_attention

    def fenced(mask: Tensor) -> Callable[..., Tensor]:
        return lambda q, k, v, **_: attention(q, k, v, attn_mask=mask, enable_gqa=True)

    found: dict[str, list[float]] = {"alike": [], "everywhere": [], "packed": [], "fenced": []}
    for turn in range(options.turns + 1):  # the first warms up
        part = stream.batch(turn).parts()[0]
        lines, mask = packed(source, size // LINE, turn)
        for name, rates in found.items():
            F.scaled_dot_product_attention = fenced(mask) if name == "fenced" else attention
            chosen = lines if name in ("packed", "fenced") else part
            begin = time.process_time()
            learn(model, chosen, everywhere=name == "everywhere")
            if turn:
                rates.append(len(chosen.targets) / (time.process_time() - begin))
    medians = {name: statistics.median(rates) for name, rates in found.items()}
    for name, rate in medians.items():
        print(f"{name:12} {rate:8,.0f} learnt tokens/s of CPU   {rate / medians['packed']:.2f}")
    print(json.dumps({name: round(rate, 1) for name, rate in medians.items()}))


if __name__ == "__main__":
    main()
