"""Peak memory against file + KV, and what a fork costs.

    python bench/engine/memory.py --models 30M-Q4_0.gguf 1.1B-Q8_0.gguf --llama-cpp DIR

Peak resident memory of whole processes, mapped files included, opened with a context of --tokens
and filled with generated tokens; the KV counted against it is that context's. For Python the row
shows what opening and running the model added to a process with the engine imported. Sizes in MB;
the fork of a long sequence in µs.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import harness
import peers
import standalone

ALLOWED = 1.10  # of file + KV
FORK_GOAL = 100.0  # microseconds
IN_PYTHON = """
import sys
from cabinos.engine.model import Model
if len(sys.argv) > 1:
    path, threads, tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with Model(path, threads=threads, kv_tokens=tokens) as model, model.sequence() as sequence:
        for token in range(tokens - 8):
            sequence.feed([3 + token % 200])
"""


def peaks(
    model: Path, program: Path, threads: int, tokens: int, llama: peers.Peer
) -> tuple[dict[str, int], dict[str, str]]:
    """Peak bytes by way of running, and the failures by way of running."""
    found: dict[str, int] = {}
    failures: dict[str, str] = {}

    def take(name: str, command: list[str]) -> None:
        try:
            found[name] = standalone.peak_memory(command)
        except standalone.ProgramError as error:
            failures[name] = str(error)

    with standalone.private_copy(model) as copy:
        ask = ["-p", "a", "-n", str(tokens - 8), "-c", str(tokens), "-t", str(threads)]
        take("run, first open", [str(program), str(copy), *ask])
        take("run, second open", [str(program), str(copy), *ask])
        python = [sys.executable, "-c", IN_PYTHON]
        net = "Python, second open, net"
        take(net, [*python, str(copy), str(threads), str(tokens)])
        if net in found:
            found[net] -= standalone.peak_memory(python)
        if not llama.missing:
            extra = ["-no-cnv", "--ignore-eos"]
            completion = llama.binary("llama-completion")
            take("llama-completion", [completion, "-m", str(copy), *ask, *extra])
    return found, failures


def peak_rows(
    model: Path, program: Path, threads: int, tokens: int, llama: peers.Peer, kv_bytes: int
) -> list[harness.Row]:
    size = model.stat().st_size
    found, failures = peaks(model, program, threads, tokens, llama)
    base = {"model": model.stem, "threads": threads}
    rows: list[harness.Row] = []
    for name, why in failures.items():
        rows.append({**base, "what": f"peak, {name}", "failed": why[:80], "ok": False})
    for name, peak in found.items():
        ratio = peak / (size + kv_bytes)
        row: harness.Row = {**base, "what": f"peak, {name}", "value": peak / 1e6}
        row |= {"file": size / 1e6, "KV": kv_bytes / 1e6, "ratio": ratio}
        if name.startswith("run"):
            row |= {"goal": ALLOWED, "ok": ratio <= ALLOWED}
        rows.append(row)
    return rows


def fork_rows(
    model: Path, threads: int, length: int = 2000, rounds: int = 200
) -> list[harness.Row]:
    """Time of a fork of `length` tokens, and of the next token, which copies a page."""
    random = np.random.default_rng(1)
    forks, plain, copied = [], [], []
    opened = harness.engine().Model(model, threads=threads, kv_tokens=4096)
    with opened as engine, engine.sequence() as parent:
        tokens = [int(token) for token in random.integers(3, engine.vocab_size, length)]
        parent.feed(tokens, logits="none")
        free = engine.pages_free
        for _ in range(rounds):
            start = time.perf_counter()
            child = parent.fork()
            forks.append(1e6 * (time.perf_counter() - start))
            child.free()
        with parent.fork():
            taken = free - engine.pages_free
        for _ in range(5):
            start = time.perf_counter()
            parent.feed([5])
            plain.append(1e6 * (time.perf_counter() - start))
            parent.truncate(length)
            with parent.fork() as child:
                start = time.perf_counter()
                child.feed([5])
                copied.append(1e6 * (time.perf_counter() - start))
    median = statistics.median(forks)
    base = {"model": model.stem, "threads": threads}
    return [
        {**base, "what": f"fork of {length} tokens, µs", "value": median, "worst": max(forks),
         "goal": FORK_GOAL, "ok": median <= FORK_GOAL},
        {**base, "what": "pages a fork takes", "value": taken, "goal": 0.0, "ok": taken == 0},
        {**base, "what": "next token after a fork, µs", "value": statistics.median(copied),
         "ratio": statistics.median(copied) / statistics.median(plain)},
    ]  # fmt: skip


def kv_bytes(model: Path, tokens: int) -> int:
    """Bytes of KV pages that `tokens` tokens fill."""
    with harness.engine().Model(model, threads=1) as engine:
        return int(-(-tokens // engine.page_tokens) * engine.page_bytes)


def main() -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--tokens", type=int, help="context to fill (default 1024, quick: 128)")
    options: argparse.Namespace = harness.finish(parser.parse_args())
    tokens = options.tokens or (128 if options.quick else 1024)
    found = peers.find(options)
    os.environ["PYTHONPATH"] = str(harness.ROOT / "src")
    rows: list[harness.Row] = []
    threads = max(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        try:
            program = standalone.build(Path(folder))
        except standalone.ProgramError as error:
            raise SystemExit(f"memory: {error}") from None
        for model in harness.models(options):
            held = kv_bytes(model, tokens)
            rows += peak_rows(model, program, threads, tokens, found["llama.cpp"], held)
            rows += fork_rows(model, threads)
    detail: dict[str, Any] = {"peers": {name: peer.describe() for name, peer in found.items()}}
    return harness.report("memory", options, rows, detail=detail)


if __name__ == "__main__":
    sys.exit(main())
