"""Equal bytes, equal compute: bits per byte on held-out text, beside nanoGPT's own recipe.

    python bench/train/quality.py DATA --nanogpt DIR

Both train a model of nano's shape on the very same rows of the same shards (DATA: a prepared data
folder), each with its own architecture, initialisation, optimizer and schedule: ours is what
`cabin train pretrain` does; nanoGPT's is `model.py` with `configure_optimizers` and the settings of
its `config/train_shakespeare_char.py`, its setting for small models and small batches. Operations a
token are counted alike and reported: where one takes more, it gets fewer tokens.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cabinos.train.batches import Batches
from cabinos.train.config import ModelConfig, RunConfig
from cabinos.train.evaluate import bits_per_byte
from cabinos.train.pretrain import pretrain
from cabinos.train.session import Options

ROOT = Path(__file__).resolve().parents[2]
CONTEXT, BATCH = 512, 4096
GOAL = 0.95  # ours ÷ theirs
# nanoGPT's config/train_shakespeare_char.py: "with baby networks can afford to go a bit higher"
RATE, LEAST, WARM_UP, BETAS, DECAY, CLIP = 1e-3, 1e-4, 100, (0.9, 0.99), 0.1, 1.0


class Peer(nn.Module):  # type: ignore[misc]
    """nanoGPT's model, as `bits_per_byte` asks: the summed loss of targets, in nats."""

    def __init__(self, checkout: Path, shape: ModelConfig) -> None:
        super().__init__()
        sys.path.insert(0, str(checkout))
        theirs = import_module("model")
        config = theirs.GPTConfig(
            n_layer=shape.depth, n_head=shape.heads, n_embd=shape.width, block_size=CONTEXT,
            vocab_size=shape.vocabulary, bias=False, dropout=0.0,
        )  # fmt: skip
        self.gpt: Any = theirs.GPT(config)
        self.embed_tokens = self.gpt.transformer.wte
        self.fast: Any = torch.compile(self.gpt)

    @property
    def flops_per_token(self) -> float:
        """As ModelConfig.flops_per_token counts."""
        of = self.gpt.config
        vectors = sum(p.numel() for p in self.gpt.parameters() if p.dim() < 2)
        positions = self.gpt.transformer.wpe.weight.numel()
        weights = sum(p.numel() for p in self.gpt.parameters()) - vectors - positions
        return float(6 * (weights + of.n_layer * of.n_embd * CONTEXT))

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Nats of all targets."""
        _, loss = self.gpt(tokens, targets)
        total: Tensor = loss * targets.numel()
        return total


def theirs(data: Path, checkout: Path, tokens: int, held_tokens: int) -> dict[str, float]:
    """nanoGPT, trained as it trains, on as many of our rows as our operations pay for."""
    shape = ModelConfig.from_depth(6, context=CONTEXT)
    torch.manual_seed(1337)
    peer = Peer(checkout, shape)
    paid = shape.flops_per_token(CONTEXT) / peer.flops_per_token
    updates = round(tokens * min(1.0, paid) / BATCH)
    optimizer = peer.gpt.configure_optimizers(DECAY, RATE, BETAS, "cpu")
    batches = Batches(data, RunConfig().mix)
    start = time.perf_counter()
    for step in range(updates):
        rate = RATE * (step + 1) / (WARM_UP + 1)
        if step >= WARM_UP:
            done = (step - WARM_UP) / max(1, updates - WARM_UP)
            rate = LEAST + 0.5 * (1 + math.cos(math.pi * done)) * (RATE - LEAST)
        for group in optimizer.param_groups:
            group["lr"] = rate
        rows = torch.from_numpy(batches.next(BATCH // CONTEXT, CONTEXT).tokens)
        _, loss = peer.fast(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(peer.gpt.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    seconds = time.perf_counter() - start
    peer.eval()
    held = bits_per_byte(peer, data, context=CONTEXT, tokens=held_tokens)
    return {"bits per byte": held["all"], "tokens": updates * BATCH, "seconds": seconds,
            "MFLOP a token": peer.flops_per_token / 1e6}  # fmt: skip


def ours(data: Path, tokens: int, held_tokens: int) -> dict[str, float]:
    """`cabin train pretrain` with nano's rates."""
    config = RunConfig(tokens=tokens, batch_tokens=BATCH, other_rate=0.008, long_context=CONTEXT)
    with tempfile.TemporaryDirectory(prefix="cabin-quality-") as folder:
        run = pretrain(config, data, Path(folder), Options(device="cpu", test_every=10**9))
        held = bits_per_byte(run.model, data, context=CONTEXT, tokens=held_tokens)
    return {"bits per byte": held["all"], "tokens": tokens, "seconds": run.progress.seconds,
            "MFLOP a token": run.model.config.flops_per_token(CONTEXT) / 1e6}  # fmt: skip


def main() -> int:
    """Train both and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--nanogpt", type=Path, required=True, metavar="DIR")
    parser.add_argument("--tokens", type=int, default=3_200_000, help="nano's, by default")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="3 updates each: it runs")
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results/train")
    options = parser.parse_args()
    held = 16_384  # tokens of each domain
    if options.quick:
        options.tokens, held = 3 * BATCH, CONTEXT
    torch.set_num_threads(options.threads)
    found = {
        "cabin": ours(options.data, options.tokens, held),
        "nanogpt": theirs(options.data, options.nanogpt, options.tokens, held),
    }
    ratio = found["cabin"]["bits per byte"] / found["nanogpt"]["bits per byte"]
    for name, row in found.items():
        print(f"{name:8} " + "  ".join(f"{k} {v:,.4g}" for k, v in row.items()))
    told = {"bench": "quality", **found, "ratio": ratio, "goal": GOAL, "ok": ratio <= GOAL}
    options.results.mkdir(parents=True, exist_ok=True)
    name = f"quality{'-quick' if options.quick else ''}.json"
    (options.results / name).write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told))
    return 0 if told["ok"] or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())
