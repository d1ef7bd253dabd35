"""Are the logits the same bits, however the work is cut up?

    python bench/engine/determinism.py --models 30M-Q4_0.gguf 30M-Q8_0.gguf

The reference is one prompt fed in one step on one thread. Each row feeds the same tokens another
way and counts the logits whose bits differ. The builds for other instruction sets run in processes
of their own, chosen with CABIN_ISA; they must agree for quantised weights (F16, BF16 and F32 are
only reported).
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import harness

LENGTH = 150  # tokens: odd to pages, tiles and chunks
EXACT = ("Q4_0", "Q8_0", "Q4_K", "Q5_K", "Q6_K")  # integer arithmetic inside
LEVELS = ("avx512", "avx2", "neon", "generic")
IN_PROCESS = """
import sys, determinism, numpy
with determinism.opened(sys.argv[1], 1) as model:
    numpy.save(sys.argv[2], determinism.reference(model))
"""


@contextmanager
def opened(path: str | Path, threads: int) -> Iterator[Any]:
    with harness.engine().Model(path, threads=threads, kv_tokens=16 * 1024) as model:
        yield model


def prompt(model: Any, seed: int = 1) -> list[int]:
    """The same random tokens for every way of feeding; another seed gives others."""
    random = np.random.default_rng(seed)
    return [int(token) for token in random.integers(3, model.vocab_size, LENGTH)]


def reference(model: Any) -> np.ndarray:
    """Logits [LENGTH, vocab] of the prompt in one step."""
    with model.sequence() as sequence:
        return np.asarray(sequence.feed(prompt(model), logits="all"))


def in_chunks(model: Any, sizes: list[int]) -> np.ndarray:
    """The prompt in steps of `sizes` tokens, repeated as often as needed."""
    tokens, parts, at = prompt(model), [], 0
    with model.sequence() as sequence:
        while at < LENGTH:
            for size in sizes:
                parts.append(sequence.feed(tokens[at : at + size], logits="all"))
                at += size
                if at >= LENGTH:
                    break
    return np.concatenate(parts)


def in_company(model: Any) -> np.ndarray:
    """The prompt among seven ragged sequences, its place in the batch changing."""
    random = np.random.default_rng(2)
    tokens, parts, at = prompt(model), [], 0
    others = [model.sequence() for _ in range(7)]
    with model.sequence() as sequence:
        while at < LENGTH:
            size = int(random.integers(1, 20))
            batch = [(other, prompt(model, 3)[: int(random.integers(1, 20))]) for other in others]
            place = int(random.integers(0, len(batch) + 1))
            batch.insert(place, (sequence, tokens[at : at + size]))
            parts.append(model.forward(batch, logits="all")[place])
            at += size
    for other in others:
        other.free()
    return np.concatenate(parts)


def after_fork(model: Any) -> np.ndarray:
    """A fork goes on with the prompt while its parent, which shares its pages, goes elsewhere."""
    tokens = prompt(model)
    with model.sequence() as parent:
        first = parent.feed(tokens[:70], logits="all")
        with parent.fork() as child:
            parent.feed(prompt(model, 4), logits="none")
            rest = child.feed(tokens[70:], logits="all")
    return np.concatenate([first, rest])


def after_truncation(model: Any) -> np.ndarray:
    """The prompt after another ending was fed and taken back."""
    tokens = prompt(model)
    with model.sequence() as sequence:
        first = sequence.feed(tokens[:70], logits="all")
        sequence.feed(prompt(model, 5), logits="none")
        sequence.truncate(70)
        return np.concatenate([first, sequence.feed(tokens[70:], logits="all")])


def after_restore(model: Any) -> np.ndarray:
    """The prompt interrupted: saved, freed, restored from bytes."""
    tokens = prompt(model)
    with model.sequence() as sequence:
        first = sequence.feed(tokens[:70], logits="all")
        saved = sequence.save()
    with model.restore(saved) as sequence:
        return np.concatenate([first, sequence.feed(tokens[70:], logits="all")])


def compare(what: str, expected: np.ndarray, found: np.ndarray) -> harness.Row:
    """Count the logits whose bits differ."""
    differ = int((expected.view(np.uint32) != found.view(np.uint32)).sum())
    largest = float(np.abs(expected - found).max())
    return {
        "way": what,
        "logits": expected.size,
        "differ": differ,
        "largest": largest,
        "ok": not differ,
    }


def by_instruction_set(path: Path, expected: np.ndarray) -> list[harness.Row]:
    """The same reference from each build of the engine that is installed and runs here."""
    rows: list[harness.Row] = []
    kind = path.stem.partition("-")[2]
    here = str(Path(__file__).parent)
    for level in LEVELS:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "logits.npy"
            done = subprocess.run(
                [sys.executable, "-c", IN_PROCESS, str(path), str(out)],
                env={
                    **os.environ,
                    "CABIN_ISA": level,
                    "PYTHONPATH": f"{here}:{harness.ROOT / 'src'}",
                },
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                why = done.stderr.strip().splitlines()[-1:] or [f"ended with {done.returncode}"]
                rows.append({"way": f"CABIN_ISA={level}", "note": why[0][-60:], "ok": None})
                continue
            row = compare(f"CABIN_ISA={level}", expected, np.load(out))
        if not kind.startswith(EXACT):
            row["ok"] = None
        rows.append(row)
    return rows


def measure(path: Path, options: argparse.Namespace) -> list[harness.Row]:
    with opened(path, 1) as model:
        expected = reference(model)
        again = reference(model)
        rows = [
            compare("the same again", expected, again),
            compare("one token at a time", expected, in_chunks(model, [1])),
            compare("chunks of 7, 1, 16, 33, 2", expected, in_chunks(model, [7, 1, 16, 33, 2])),
            compare("among 7 other sequences", expected, in_company(model)),
            compare("after fork", expected, after_fork(model)),
            compare("after truncation", expected, after_truncation(model)),
            compare("after save and restore", expected, after_restore(model)),
        ]
    for threads in sorted({2, 3, *options.threads} - {1}):
        with opened(path, threads) as model:
            rows.append(compare(f"{threads} threads", expected, reference(model)))
            company = compare(f"{threads} threads, among 7 others", expected, in_company(model))
            rows.append(company)
    rows += by_instruction_set(path, expected)
    return [{"model": path.stem, **row} for row in rows]


def main() -> int:
    options = harness.arguments(__doc__, repeats=1)
    kinds = ("Q4_0", "Q8_0", "F16")
    rows = [row for path in harness.models(options, types=kinds) for row in measure(path, options)]
    return harness.report("determinism", options, rows)


if __name__ == "__main__":
    sys.exit(main())
