"""Perplexity over a text, ours beside llama-perplexity's, on the same file with the same counting.

    python bench/engine/perplexity.py --models 30M-Q4_K.gguf … --text wiki.txt --llama-cpp DIR

As llama.cpp counts (tools/perplexity): the text is cut into chunks of --context tokens; the first
token of each chunk is replaced by BOS where the model wants one; the first half of a chunk is
context only, and every later position but the last predicts the token after it, which makes
context/2 - 1 predictions a chunk. Perplexity is exp of the mean negative log-likelihood. With
random weights its height means nothing, but it moves with every error in the arithmetic; it also
moves with rounding, so give it many chunks. Our KV in f32 shows the weights' arithmetic alone; bf16
is our default, f16 is llama.cpp's.
"""

import argparse
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

import harness
import peers

ALLOWED = 1e-3  # of llama.cpp's perplexity


def encode(model: Path, text: str) -> tuple[list[int], int | None]:
    """Our tokens of the text, and the BOS that the model wants in front of each chunk, if any."""
    harness.engine()
    from cabinos.engine.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_gguf(model)
    # llama.cpp drops one newline at the end of a prompt file
    ids = tokenizer.encode(text.removesuffix("\n"))
    return ids, tokenizer.bos_id if tokenizer.add_bos else None


def ours(
    model: Path, tokens: list[int], bos: int | None, options: argparse.Namespace, kv: str
) -> float:
    """Perplexity of `tokens` (whole chunks) under our engine."""
    context, threads = options.context, max(options.threads)
    half, total, count = context // 2, 0.0, 0
    with harness.engine().Model(model, threads=threads, kv_tokens=context, kv_type=kv) as engine:
        for start in range(0, len(tokens), context):
            chunk = tokens[start : start + context]
            fed = chunk if bos is None else [bos, *chunk[1:]]
            with engine.sequence() as sequence:
                sequence.feed(fed[:half], logits="none")
                logits = sequence.feed(fed[half : context - 1], logits="all").astype(np.float64)
            targets = chunk[half + 1 :]
            top = logits.max(axis=1)
            log_sum = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
            total += float((log_sum - logits[np.arange(len(targets)), targets]).sum())
            count += len(targets)
    return math.exp(total / count)


def theirs(
    peer: peers.Peer, model: Path, text: Path, options: argparse.Namespace, chunks: int
) -> float:
    """llama-perplexity's figure after all chunks."""
    context, threads, kv = options.context, max(options.threads), options.llama_kv
    command = [
        peer.binary("llama-perplexity"), "-m", str(model), "-f", str(text), "-c", str(context),
        "-b", str(context), "--chunks", str(chunks), "-t", str(threads), "-ctk", kv, "-ctv", kv,
    ]  # fmt: skip
    # its log is written by a thread that can lose the last lines on a busy machine: ask again then
    for _ in range(3):
        done = peers.run(command, timeout=3600)
        found = re.search(rf"\[{chunks}\]([0-9.]+)", done.stdout)
        if found is not None:
            return float(found.group(1))
    raise peers.PeerError("llama-perplexity printed no figure")


def measure(
    model: Path, text: Path, options: argparse.Namespace, llama: peers.Peer
) -> list[harness.Row]:
    """One row for each of our KV types."""
    tokens, bos = encode(model, text.read_text(encoding="utf-8"))
    if len(tokens) < 2 * options.context:
        needed = 2 * options.context
        raise SystemExit(f"perplexity: {text} has {len(tokens)} tokens; {needed} are needed")
    chunks = min(options.chunks, len(tokens) // options.context)
    his: float | None = None
    why = f"absent, {llama.missing}"
    if not llama.missing:
        try:
            his = theirs(llama, model, text, options, chunks)
        except peers.PeerError as failure:
            why = str(failure)[:80]
    rows: list[harness.Row] = []
    for kv in options.kv:
        mine = ours(model, tokens[: chunks * options.context], bos, options, kv)
        row: harness.Row = {"model": model.stem, "kv": kv, "chunks": chunks, "ours": mine}
        if his is None:
            rows.append({**row, "llama.cpp": why})
            continue
        off = mine / his - 1
        row |= {"llama.cpp": his, "off by": off, "goal": ALLOWED, "ok": abs(off) <= ALLOWED}
        rows.append(row)
    return rows


def main() -> int:
    parser = harness.parser(__doc__)
    default = harness.ROOT / "LICENSE"
    parser.add_argument("--text", type=Path, default=default, help="plain text (default: LICENSE)")
    parser.add_argument("--context", type=int, default=512, help="tokens a chunk (default 512)")
    kinds = ("f32", "bf16")
    parser.add_argument("--kv", nargs="+", choices=kinds, default=kinds, help="our KV types")
    parser.add_argument("--llama-kv", default="f16", help="llama.cpp's KV type (its default: f16)")
    parser.add_argument("--chunks", type=int, help="chunks at most (default 32, quick: 4)")
    options = harness.finish(parser.parse_args())
    options.chunks = options.chunks or (4 if options.quick else 32)
    if not options.text.is_file():
        raise SystemExit(f"perplexity: no such text file: {options.text}")
    found = peers.find(options)
    models = harness.models(options, types=("F32", "F16", "BF16", "Q8_0", "Q4_0"))
    rows: list[harness.Row] = []
    for model in models:
        rows += measure(model, options.text.resolve(), options, found["llama.cpp"])
    detail: dict[str, Any] = {"peers": {name: peer.describe() for name, peer in found.items()}}
    return harness.report("perplexity", options, rows, detail=detail)


if __name__ == "__main__":
    sys.exit(main())
