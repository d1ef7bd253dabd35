"""Compression: bits per byte beside xz, zstd, brotli and bzip3, with and without the weights.

    python bench/workshop/compress.py --quick
    python bench/workshop/compress.py --data FOLDER --canterbury FILE [--bytes N] [--hf FOLDER]
    python bench/workshop/compress.py --canterbury FILE --whole

Texts: the first N bytes of each Canterbury text, of held-out books and of held-out textbooks (N is
64 KiB by default: a laptop packs some kilobytes a second). Rivals get the same bytes, and, as they
do better on more, also the whole text up to 1 MB, with their largest windows. "With weights" adds
the model's file to what is packed, and the break-even size is from how many bytes on packing pays
even then: weights / (their rate on the whole - ours). Coder loss is the packed size against the
cross-entropy of the model's own softmax in float64, of the model alone (--plain), on 8 KB; `gain`
is what mixing saves. With --hf, the same weights are run as llama-zip does: one forward pass of
transformers for each token, a softmax in torch, and an arithmetic coder.

`--whole` packs all of each text, and does no more with it: not even back, which the other way does.

`--quick` needs no data: it packs a page of the demo's book. Prints a table, and one JSON line last.
"""

import argparse
import bz2
import io
import json
import lzma
import math
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from cabinos.drivers.model.brain import BUILT_IN
from cabinos.lab.compress import chunk as chunks
from cabinos.lab.compress.predictor import Predictor
from cabinos.lab.compress.rangecoder import Encoder
from cabinos.lab.compress.stream import compress, decompress

ROOT = Path(__file__).resolve().parents[2]
BASE = BUILT_IN.with_name("nano-base.gguf")
WHOLE = 1 << 18  # bytes of a chunk
LARGEST = 1 << 20  # bytes of a text that rivals get
LOSS = 1 << 13  # bytes on which the coder's loss is measured


def texts(data: Path | None, canterbury: Path | None) -> dict[str, bytes]:
    """The first megabyte of each text."""
    found = {}
    if canterbury is not None:
        opened = lzma.open if canterbury.suffix == ".xz" else open
        with opened(canterbury, "rt", encoding="utf-8") as file:
            found = {Path(row["name"]).name: row["text"] for row in map(json.loads, file)}
    for domain in ("books", "textbooks") if data else ():
        with (data / "corpus" / f"{domain}-held.jsonl").open(encoding="utf-8") as file:  # type: ignore[operator]
            found[f"held-out {domain}"] = "\n\n".join(json.loads(line)["text"] for line in file)
    if not found:
        found["oz"] = (ROOT / "tools" / "oz.txt").read_text(encoding="utf-8")[20_000:]
    return {name: text.encode()[:LARGEST] for name, text in found.items()}


# ---- Rivals --------------------------------------------------------------------------------------


def rivals() -> dict[str, Callable[[bytes], int]]:
    """Packed sizes by rival; those that are not installed are left out."""
    made: dict[str, Callable[[bytes], int]] = {
        "xz -9e": lambda data: len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)),
        "bzip2 -9": lambda data: len(bz2.compress(data)),
    }
    try:
        brotli = import_module("brotli")
        made["brotli -11"] = lambda data: len(brotli.compress(data, quality=11, lgwin=24))
    except ImportError:
        pass
    try:
        zstandard = import_module("zstandard")
        made["zstd --ultra -22"] = lambda data: len(
            zstandard.ZstdCompressor(level=22).compress(data)
        )
    except ImportError:
        if shutil.which("zstd"):
            made["zstd --ultra -22"] = lambda data: _piped(["zstd", "--ultra", "-22", "-c"], data)
    if shutil.which("bzip3"):
        made["bzip3"] = lambda data: _piped(["bzip3", "-e", "-b", "16", "-c"], data)
    if shutil.which("cmix"):
        made["cmix"] = _cmix
    return made


def _piped(command: list[str], data: bytes) -> int:
    return len(subprocess.run(command, input=data, capture_output=True, check=True).stdout)


def _cmix(data: bytes) -> int:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in", Path(folder) / "out"
        source.write_bytes(data)
        subprocess.run(["cmix", "-c", source, target], capture_output=True, check=True)
        return target.stat().st_size


# ---- Ours ----------------------------------------------------------------------------------------


def ours(data: bytes, predictor: Predictor) -> dict[str, Any]:
    """Size, seconds of the processor, and what the coder lost."""
    packed = io.BytesIO()
    began = time.process_time()
    compress(io.BytesIO(data), packed, predictor, chunk=WHOLE)
    seconds = time.process_time() - began
    plain, part = Encoder(), Encoder()
    chunks.code(data, predictor, plain, adapt=False, told=lambda _: None)
    chunks.code(data[:LOSS], predictor, part, adapt=False, told=lambda _: None)
    return {
        "bytes": len(packed.getvalue()),
        "packed": packed.getvalue(),
        "seconds": seconds,
        "plain": len(plain.finish()),
        "loss": 8 * len(part.finish()) / entropy(data[:LOSS], predictor) - 1,
    }


def entropy(data: bytes, predictor: Predictor) -> float:
    """Bits of the text under softmax in float64, over the whole vocabulary, in the same windows."""
    leaves, total, at = predictor.speller.spell(data), 0.0, 0
    tokens = [predictor.speller.tokens[leaf] for leaf in leaves]
    model = predictor._model  # the engine itself, for logits as floats
    with model.sequence() as sequence:
        while at < len(leaves):
            before = predictor.tokens_before(leaves, at)
            count = min(predictor.window - len(before) + 1, len(leaves) - at)
            window = before + tokens[at : at + count - 1]
            sequence.truncate(0)
            if before[:-1]:
                sequence.feed(before[:-1], logits="none")
            rows = sequence.feed(window[len(before) - 1 :], logits="all")
            assert rows is not None
            wide = rows.astype(np.float64)
            wide -= wide.max(axis=1, keepdims=True)
            chosen = wide[np.arange(count), tokens[at : at + count]]
            total += float((np.log(np.exp(wide).sum(axis=1)) - chosen).sum())
            at += count
    return total / math.log(2)


def unpacked(packed: bytes, threads: int) -> tuple[bytes, float]:
    target = io.BytesIO()
    began = time.process_time()
    decompress(
        io.BytesIO(packed), target, lambda _: Predictor(BASE, threads=threads, lanes=8), name="x"
    )
    return target.getvalue(), time.process_time() - began


# ---- As llama-zip does it ------------------------------------------------------------------------


def plain_loop(folder: Path, data: bytes, predictor: Predictor, count: int) -> dict[str, float]:
    """Tokens a second of a plain loop over transformers, on `count` tokens."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    leaves = predictor.speller.spell(data)[:count]
    tokens = [predictor.begin, *(predictor.speller.tokens[leaf] for leaf in leaves)]
    encoder, cache = Encoder(), None
    began = time.process_time()
    with torch.inference_mode():
        for token, following in pairwise(tokens):
            out = model(torch.tensor([[token]]), past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            shares = (out.logits[0, -1].softmax(-1).double() * (1 << 32)).long() + 1
            before, share, total = (
                int(x) for x in (shares[:following].sum(), shares[following], shares.sum())
            )
            # The interval of the token as two decisions: not before it, and not after it.
            if before:
                encoder.decide(before, total, True)
            if share < total - before:
                encoder.decide(share, total - before, False)
    seconds = time.process_time() - began
    return {"tokens_per_second": (len(tokens) - 1) / seconds, "bytes": len(encoder.finish())}


# ---- Round trips ---------------------------------------------------------------------------------


def fuzz(predictor: Predictor, large: int) -> dict[str, bool]:
    """Round trips of what is hard; `large`: bytes of the two large ones, which LZMA packs."""
    random = np.random.default_rng(0)
    corpus = {
        "empty": b"",
        "one byte": b"\x00",
        "invalid UTF-8": b"caf\xe9 \xff\xfe and so on \xc3",
        "every byte": bytes(range(256)) * 4,
        "large, random": random.bytes(large),
        "large, repeated": b"the same line again and again\n" * (large // 30),
    }
    results = {}
    for name, data in corpus.items():
        packed = io.BytesIO()
        compress(io.BytesIO(data), packed, predictor, chunk=1 << 22)
        results[name] = unpacked(packed.getvalue(), 1)[0] == data
    return results


def only_packed(arguments: argparse.Namespace) -> None:
    """Whole texts, in chunks of the size that the command takes by default."""
    others = rivals()
    facts: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(), "chunk": WHOLE, "texts": {},
    }  # fmt: skip
    target = ROOT / "bench" / "results" / "workshop" / "compress-whole.json"
    with Predictor(BASE, threads=1) as predictor:
        for name, data in texts(arguments.data, arguments.canterbury).items():
            packed, began = io.BytesIO(), time.process_time()
            compress(io.BytesIO(data), packed, predictor, chunk=WHOLE)
            seconds = time.process_time() - began
            sizes = {"cabin": len(packed.getvalue())} | {
                rival: pack(data) for rival, pack in others.items()
            }
            facts["texts"][name] = {
                "bytes": len(data),
                "bits_per_byte": {rival: 8 * size / len(data) for rival, size in sizes.items()},
                "pack_bytes_per_cpu_second": len(data) / seconds,
            }
            print(name, facts["texts"][name], flush=True)
            target.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(facts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="6 KB of the demo's book")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="of `cabin data get`")
    parser.add_argument(
        "--canterbury", type=Path, metavar="FILE", help='lines of {"name", "text"}; may be .xz'
    )
    parser.add_argument("--bytes", type=int, default=1 << 16, help="of each text")
    parser.add_argument("--whole", action="store_true", help="all of each text, only packed")
    parser.add_argument("--hf", type=Path, help="the same weights as a Hugging Face folder")
    parser.add_argument("--large", type=int, default=50_000_000, help="bytes of the large files")
    arguments = parser.parse_args()
    size = 6_000 if arguments.quick else arguments.bytes
    large = 300_000 if arguments.quick else arguments.large
    if not arguments.quick and not (arguments.data or arguments.canterbury):
        parser.error("give --data FOLDER or --canterbury FILE, or --quick")
    if arguments.whole:
        only_packed(arguments)
        return
    name = "compress-quick" if arguments.quick else "compress"
    target = ROOT / "bench" / "results" / "workshop" / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    others, weights = rivals(), BASE.stat().st_size
    facts: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "absent": sorted({"bzip3", "cmix", "brotli -11", "zstd --ultra -22"} - set(others)),
        "weights": weights,
        "texts": {},
    }
    with Predictor(BASE, threads=1) as predictor:
        for name, data in texts(arguments.data, arguments.canterbury).items():
            facts["texts"][name] = row = measure(name, data, size, predictor, others, weights)
            print(line(name, row), flush=True)
            target.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        if arguments.hf:
            facts["plain_loop"] = plain_loop(arguments.hf, data[:LOSS], predictor, 300)
        facts["round_trips"] = fuzz(predictor, large)
    target.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(facts))
    if not all(facts["round_trips"].values()):
        sys.exit("a round trip failed")


def measure(
    name: str,
    whole: bytes,
    size: int,
    predictor: Predictor,
    others: dict[str, Callable[[bytes], int]],
    weights: int,
) -> dict[str, Any]:
    """All that is said of one text; rates in bits per byte."""
    data = whole[:size]
    made = ours(data, predictor)
    again, seconds = unpacked(made["packed"], 1)
    if again != data:
        sys.exit(f"{name}: did not come back")
    rates = {"cabin": 8 * made["bytes"] / len(data)} | {
        rival: 8 * pack(data) / len(data) for rival, pack in others.items()
    }
    whole_rates = {rival: 8 * pack(whole) / len(whole) for rival, pack in others.items()}
    tokens = len(predictor.speller.spell(data))
    return {
        "bytes": len(data),
        "tokens": tokens,
        "bits_per_byte": rates,
        "rivals_on_the_whole": whole_rates,
        "cabin_plain": 8 * made["plain"] / len(data),
        "cabin_with_weights": 8 * (made["bytes"] + weights) / len(data),
        "break_even_bytes": {
            rival: round(8 * weights / (rate - rates["cabin"])) if rate > rates["cabin"] else None
            for rival, rate in whole_rates.items()
        },
        "coder_loss": made["loss"],
        "gain": 1 - made["bytes"] / made["plain"],
        "pack_bytes_per_cpu_second": len(data) / made["seconds"],
        "unpack_bytes_per_cpu_second": len(data) / seconds,
        "pack_tokens_per_cpu_second": tokens / made["seconds"],
        "unpack_tokens_per_cpu_second": tokens / seconds,
    }


def line(name: str, row: dict[str, Any]) -> str:
    rates = "  ".join(f"{rival} {rate:.3f}" for rival, rate in row["bits_per_byte"].items())
    return f"{name:20} {rates}  plain {row['cabin_plain']:.3f}  loss {row['coder_loss']:.3%}"


if __name__ == "__main__":
    main()
