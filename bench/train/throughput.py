"""Training throughput: tokens a second, and the share of the machine's peak for matrix products.

    python bench/train/throughput.py --quick
    python bench/train/throughput.py --nanogpt DIR --nanochat DIR --litgpt DIR

Every contender trains a model of nano's shape (6 layers, 256 wide, 8,192 tokens of vocabulary, rows
of 512) on the same random tokens, in a process of its own, with its own model, optimizer and the
steps of its own loop: ours with everything the real loop does, theirs from checkouts given by
flags. They take turns, one update each, so that a busy machine is busy for all; the median counts.
Prints a table, and one JSON line last.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from cabinos.train.config import ModelConfig, RunConfig
from cabinos.train.hardware import choose_machine, matrix_peak
from cabinos.train.model import Llama
from cabinos.train.optimizer import make_optimizers, set_rates

ROWS, CONTEXT, VOCABULARY, PARTS = 8, 512, 8192, 2
TOKENS = ROWS * CONTEXT * PARTS  # of one update
SHAPE = ModelConfig.from_depth(6, vocabulary=VOCABULARY, context=CONTEXT)

Step = Callable[[list[torch.Tensor]], float]


def cabin(_: Path) -> Step:
    model = Llama(SHAPE, choose_machine("cpu").dtype)
    model.initialize(torch.Generator().manual_seed(1))
    model.compile_trunk()
    optimizers = make_optimizers(model, RunConfig())

    def step(parts: list[torch.Tensor]) -> float:
        total = 0.0
        set_rates(optimizers, 1.0)
        for part in parts:
            loss = model(part[:, :-1], part[:, 1:])
            (loss / TOKENS).backward()
            total += loss.item() / TOKENS
        torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad()
        return total

    return step


def nanogpt(checkout: Path) -> Step:
    sys.path.insert(0, str(checkout))
    theirs = import_module("model")
    config = theirs.GPTConfig(
        n_layer=SHAPE.depth, n_head=SHAPE.heads, n_embd=SHAPE.width, block_size=CONTEXT,
        vocab_size=VOCABULARY, bias=False, dropout=0.0,
    )  # fmt: skip
    model = theirs.GPT(config)
    optimizer = model.configure_optimizers(0.1, 6e-4, (0.9, 0.95), "cpu")
    compiled = torch.compile(model)

    def step(parts: list[torch.Tensor]) -> float:
        for part in parts:
            _, loss = compiled(part[:, :-1].contiguous(), part[:, 1:].contiguous())
            (loss / len(parts)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.item())

    return step


def nanochat(checkout: Path) -> Step:
    sys.path.insert(0, str(checkout))
    theirs = import_module("nanochat.gpt")
    config = theirs.GPTConfig(
        sequence_len=CONTEXT, vocab_size=VOCABULARY, n_layer=SHAPE.depth, n_head=SHAPE.heads,
        n_kv_head=SHAPE.kv_heads, n_embd=SHAPE.width, window_pattern="L",
    )  # fmt: skip
    with torch.device("meta"):
        model = theirs.GPT(config)
    model.to_empty(device="cpu")
    model.init_weights()
    optimizer = model.setup_optimizer()
    compiled = torch.compile(model, dynamic=False)

    def step(parts: list[torch.Tensor]) -> float:
        for part in parts:
            loss = compiled(part[:, :-1].contiguous(), part[:, 1:].contiguous())
            (loss / len(parts)).backward()
        optimizer.step()
        model.zero_grad(set_to_none=True)
        return float(loss.item())

    return step


def litgpt(checkout: Path) -> Step:
    sys.path.insert(0, str(checkout))
    lightning, theirs = import_module("lightning"), import_module("litgpt.model")
    cross_entropy = import_module("litgpt.utils").chunked_cross_entropy
    config = theirs.Config(
        block_size=CONTEXT, vocab_size=VOCABULARY, padded_vocab_size=VOCABULARY,
        n_layer=SHAPE.depth, n_head=SHAPE.heads, n_query_groups=SHAPE.kv_heads,
        n_embd=SHAPE.width, intermediate_size=SHAPE.inner, rotary_percentage=1.0,
        parallel_residual=False, bias=False, norm_class_name="RMSNorm", mlp_class_name="LLaMAMLP",
    )  # fmt: skip
    fabric = lightning.Fabric(devices=1, accelerator="cpu", precision="32-true")
    model = fabric.setup(torch.compile(theirs.GPT(config)))
    optimizer = fabric.setup_optimizers(
        torch.optim.AdamW(model.parameters(), lr=4e-4, weight_decay=0.1, betas=(0.9, 0.95))
    )

    def step(parts: list[torch.Tensor]) -> float:
        for part in parts:
            loss = cross_entropy(model(part[:, :-1].contiguous()), part[:, 1:].contiguous())
            fabric.backward(loss / len(parts))
        fabric.clip_gradients(model, optimizer, max_norm=1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.item())

    return step


CONTENDERS: dict[str, Callable[[Path], Step]] = {
    "cabin": cabin,
    "nanogpt": nanogpt,
    "nanochat": nanochat,
    "litgpt": litgpt,
}


def worker(name: str, checkout: Path, threads: int) -> None:
    """Answer every line on stdin with one update: the seconds it took, and the loss."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # what a contender prints is no answer
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(1)
    parts = [
        torch.randint(0, VOCABULARY, (ROWS, CONTEXT + 1), generator=generator) for _ in range(PARTS)
    ]
    try:
        step = CONTENDERS[name](checkout)
        step(parts)  # compiles
    except Exception as error:  # noqa: BLE001 (whatever a contender raises is its reason)
        print(json.dumps({"error": f"{type(error).__name__}: {error}"[:300]}), file=answers)
        return
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        loss = step(parts)
        print(json.dumps([time.perf_counter() - start, loss]), file=answers, flush=True)


class Contender:
    """A worker process."""

    def __init__(self, name: str, checkout: Path, threads: int) -> None:
        command = [sys.executable, __file__, "--worker", name, str(checkout), str(threads)]
        self.name = name
        self.seconds: list[float] = []
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a pipe that nobody reads would stop a talkative one
            text=True,
        )
        answer: dict[str, Any] = json.loads(self._read() or '{"error": "it died"}')
        self.error = answer.get("error")

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def update(self) -> None:
        """Let it do one update."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.seconds.append(json.loads(self._read())[0])

    def close(self) -> None:
        self._process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 updates each, not 11")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    for name in list(CONTENDERS)[1:]:
        parser.add_argument(f"--{name}", type=Path, metavar="DIR", help=f"a checkout of {name}")
    arguments = parser.parse_args()
    if arguments.worker:
        name, checkout, threads = arguments.worker
        worker(name, Path(checkout), int(threads))
        return
    checkouts = {name: getattr(arguments, name) for name in list(CONTENDERS)[1:]}
    chosen = {"cabin": Path()} | {name: path for name, path in checkouts.items() if path}
    contenders = [Contender(name, path, arguments.threads) for name, path in chosen.items()]
    running = [contender for contender in contenders if contender.error is None]
    torch.set_num_threads(arguments.threads)
    peaks = []
    for _ in range(3 if arguments.quick else 11):
        peaks.append(matrix_peak(choose_machine("cpu", "float32"), 0.2))
        for contender in running:
            contender.update()
    for contender in running:
        contender.close()
    print(json.dumps(table(contenders, statistics.median(peaks))))


def table(contenders: list[Contender], peak: float) -> dict[str, Any]:
    flops = SHAPE.flops_per_token(CONTEXT)
    facts: dict[str, Any] = {"peak_gflops": round(peak / 1e9, 1), "tokens_per_update": TOKENS}
    print(f"peak of 1024² products: {peak / 1e9:.0f} GFLOP/s (float32)")
    ours = None
    for contender in contenders:
        if contender.error is not None:
            print(f"{contender.name:10} skipped: {contender.error}")
            facts[contender.name] = {"skipped": contender.error}
            continue
        speed = TOKENS / statistics.median(contender.seconds)
        ours = ours or speed
        facts[contender.name] = {"tokens_per_second": round(speed), "ours_is": ours / speed}
        line = f"{contender.name:10} {speed:8,.0f} tokens/s"
        if contender.name == "cabin":
            share = speed * flops / peak
            facts["cabin"]["share_of_peak"] = share
            line += f"   {share:.0%} of peak"
        else:
            line += f"   cabin is {ours / speed:.2f} times as fast"
        print(line)
    return facts


if __name__ == "__main__":
    main()
