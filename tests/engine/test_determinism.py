"""Logits are the same bits however work is batched, cut, threaded, forked, saved or compiled."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cabinos.engine.library import _LEVELS, cpu_features, library_path
from cabinos.engine.model import Model
from tests.engine.conftest import ModelMaker

KINDS = ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_k", "q5_k", "q6_k"]
TOKENS = [(7919 * i + 3) % 512 for i in range(330)]  # more than one chunk of attention


def whole(model: Model) -> np.ndarray:
    with model.sequence() as sequence:
        result = sequence.feed(TOKENS, logits="all")
    assert result is not None
    return result


def in_pieces(model: Model, sizes: list[int], seed: int = 0) -> np.ndarray:
    choose, parts, at = random.Random(seed), [], 0
    with model.sequence() as sequence:
        while at < len(TOKENS):
            piece = TOKENS[at : at + choose.choice(sizes)]
            parts.append(sequence.feed(piece, logits="all"))
            at += len(piece)
    return np.concatenate(parts)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", ["llama", "mistral"])
def test_threads_and_pieces(kind: str, architecture: str, tiny_model: ModelMaker) -> None:
    options = {"sliding_window": 70} if architecture == "mistral" else {}
    path = tiny_model(kind, architecture, **options)
    with Model(path, threads=1, cache=False) as model:
        expected = whole(model)
        assert np.array_equal(in_pieces(model, [1, 1, 2, 5, 17, 64]), expected)
    with Model(path, threads=3, cache=False) as model:
        assert np.array_equal(whole(model), expected)
        assert np.array_equal(in_pieces(model, [1, 3, 40]), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_company_in_the_batch(kind: str, tiny_model: ModelMaker) -> None:
    choose, parts, at = random.Random(1), [], 0
    with Model(tiny_model(kind), threads=2, cache=False, kv_tokens=16384) as model:
        expected = whole(model)
        sequence, others = model.sequence(), [model.sequence() for _ in range(6)]
        while at < len(TOKENS):
            batch = [(other, TOKENS[: choose.randint(1, 6)]) for other in others]
            place, piece = choose.randint(0, 6), TOKENS[at : at + choose.choice([1, 1, 9, 33])]
            batch.insert(place, (sequence, piece))
            parts.append(model.forward(batch, logits="all")[place])
            at += len(piece)
    assert np.array_equal(np.concatenate(parts), expected)


def test_fork_truncate_save_and_restore(tiny_model: ModelMaker) -> None:
    with Model(tiny_model("q4_0"), threads=2, cache=False, kv_tokens=4096) as model:
        expected = whole(model)
        sequence = model.sequence()
        sequence.feed(TOKENS[:100], logits="none")
        child = sequence.fork()
        assert np.array_equal(child.feed(TOKENS[100:120], logits="all"), expected[100:120])
        sequence.feed([5, 6, 7, 8], logits="none")  # the parent goes elsewhere
        child.truncate(50)
        grandchild, saved = child.fork(), child.save()
        child.free()
        restored = model.restore(saved)
        for copy in (grandchild, restored):
            assert copy.tokens == TOKENS[:50]
            assert np.array_equal(copy.feed(TOKENS[50:80], logits="all"), expected[50:80])


def test_the_cached_layout_gives_the_same_bits(tmp_path: Path, tiny_model: ModelMaker) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny_model("q4_k").read_bytes())
    strips = Path(f"{path}.strips")
    with Model(path, threads=1, cache=False) as model:
        expected = whole(model)
    assert not strips.exists()
    for _ in range(2):  # written, then mapped
        with Model(path, threads=1) as model:
            assert np.array_equal(whole(model), expected)
        assert sys.platform == "darwin" or strips.exists()


def levels() -> list[str]:
    folder, features = library_path().parent, cpu_features()
    return [
        level
        for names in _LEVELS.values()
        for level, needed in names.items()
        if needed <= features and (folder / f"librun-{level}.so").exists()
    ]


PRINT_HASH = """
import hashlib, sys
from cabinos.engine.model import Model
for path in sys.argv[1:]:
    with Model(path, threads=1, cache=False) as model, model.sequence() as sequence:
        rows = sequence.feed([(7919 * i + 3) % 512 for i in range(70)], logits="all")
    print(hashlib.sha256(rows.tobytes()).hexdigest())
"""


def test_every_instruction_set_gives_the_same_bits(tiny_model: ModelMaker) -> None:
    """Each intrinsic has a plain C twin; the `generic` build is made of those alone."""
    paths = [str(tiny_model(kind)) for kind in KINDS]
    hashes = {}
    for level in levels():
        environment = os.environ | {"CABIN_ISA": level}
        command = [sys.executable, "-c", PRINT_HASH, *paths]
        hashes[level] = subprocess.check_output(command, env=environment, text=True).split()
        assert len(set(hashes[level])) == len(KINDS)
    assert "generic" in hashes
    assert len({tuple(lines) for lines in hashes.values()}) == 1
