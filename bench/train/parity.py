"""Does the exported model say what the trained one says?

    python bench/train/parity.py RUN DATA

- logits: transformers, which reads the exported folder, and the engine, which reads the F32 GGUF,
  against torch in float32, on held-out text; the largest difference.
- greedy: so many tokens decoded greedily by the engine in F32, many documents at once; torch then
  reads them and says at every place which token it would have chosen.
- types: bits per byte of held-out text in F32 and in Q8_0, by the engine.

RUN is the folder of a training run, DATA the data folder that it was trained on.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cabinos.engine.model import Model
from cabinos.lab.evaluate.logprob import Scorer
from cabinos.lab.evaluate.text import held_out_books, measure
from cabinos.train.export import export_gguf, export_hf
from cabinos.train.model import Llama
from cabinos.train.saved import load_run

ROOT = Path(__file__).resolve().parents[2]
LOGITS_GOAL, BITS_GOAL = 1e-4, 0.005
PROMPT = 16  # tokens of text that each document begins with
AT_ONCE = 16  # documents
LENGTH = 256  # tokens of each


def logits(model: Llama, folder: Path, gguf: Path, tokens: Sequence[int]) -> dict[str, Any]:
    """The largest difference between the three readings of one text."""
    from transformers import AutoModelForCausalLM

    text = torch.tensor([list(tokens)])
    other = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        ours, theirs = model.logits(text)[0].numpy(), other(text).logits[0].numpy()
    with Model(gguf, cache=False, kv_type="f32") as engine, engine.sequence() as sequence:
        said = sequence.feed(tokens, logits="all")
    assert said is not None
    worst = {
        "transformers": float(np.abs(ours - theirs).max()),
        "engine": float(np.abs(ours - said).max()),
    }
    return {"what": "logits", **worst, "goal": LOGITS_GOAL, "ok": max(worst.values()) < LOGITS_GOAL}


def greedy(
    model: Llama, gguf: Path, starts: Sequence[Sequence[int]], wanted: int
) -> dict[str, Any]:
    """How many of the engine's greedy tokens torch would have chosen too."""
    same = count = 0
    gap = 0.0  # between torch's choice and the engine's, where they differ
    with Model(gguf, cache=False, kv_type="f32", kv_tokens=AT_ONCE * (LENGTH + 64)) as engine:
        while count < wanted:
            texts = [list(starts[(count // LENGTH + n) % len(starts)]) for n in range(AT_ONCE)]
            sequences = [engine.sequence() for _ in texts]
            steps: list[list[int]] = texts
            for _ in range(LENGTH - PROMPT):
                found = engine.forward(list(zip(sequences, steps, strict=True)))
                steps = [[int(np.argmax(row))] for row in found if row is not None]
                texts = [text + step for text, step in zip(texts, steps, strict=True)]
            for sequence in sequences:
                sequence.free()
            with torch.no_grad():
                read = model.logits(torch.tensor(texts))[:, PROMPT - 1 : -1].numpy()
            chosen = np.array(texts)[:, PROMPT:]
            lost = read.max(-1) - np.take_along_axis(read, chosen[..., None], -1)[..., 0]
            same += int((lost == 0).sum())
            gap = max(gap, float(lost.max()))
            count += chosen.size
    return {"what": "greedy", "tokens": count, "same": same, "gap": gap, "ok": same == count}


def types(paths: dict[str, Path], text: str) -> dict[str, Any]:
    """Bits per byte of a text by type."""
    found = {}
    for kind, path in paths.items():
        with Scorer(path) as scorer:
            bits, size = measure(scorer, text)
        found[kind] = bits / size
    cost = found["q8_0"] - found["f32"]
    return {"what": "types", **found, "cost": cost, "goal": BITS_GOAL, "ok": cost <= BITS_GOAL}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--tokens", type=int, default=10_000)
    parser.add_argument("--bytes", type=int, default=200_000, help="of held-out text")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results/train")
    options = parser.parse_args()
    if options.quick:
        options.tokens, options.bytes = 2_000, 20_000
    text = held_out_books(options.data)
    if text is None:
        parser.error(f"{options.data} holds no books-held.jsonl: give a prepared data folder")
    model, companion = load_run(options.run)
    model.eval()
    with tempfile.TemporaryDirectory(prefix="cabin-parity-") as temporary:
        folder = export_hf(model, companion, Path(temporary) / "hf")
        paths = {kind: Path(temporary) / f"{kind}.gguf" for kind in ("f32", "q8_0")}
        for kind, path in paths.items():
            export_gguf(model, companion, path, kind)
        with Scorer(paths["f32"]) as scorer:
            tokens = scorer.encode(text[: options.bytes])
        starts = [tokens[at : at + PROMPT] for at in range(0, len(tokens) - PROMPT, LENGTH)]
        rows = [
            logits(model, folder, paths["f32"], tokens[:LENGTH]),
            greedy(model, paths["f32"], starts, options.tokens),
            types(paths, text[: options.bytes]),
        ]
    for row in rows:
        print(
            ", ".join(
                f"{k} {v:.7g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()
            )
        )
    options.results.mkdir(parents=True, exist_ok=True)
    name = f"parity{'-quick' if options.quick else ''}.json"
    told = {"bench": "parity", "run": options.run.name, "rows": rows}
    (options.results / name).write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told))
    return 0 if all(row["ok"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
