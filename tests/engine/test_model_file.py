"""The C loader on files that are missing, cut short, damaged, or hostile."""

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cabinos.engine.errors import EngineError, ModelFileError, UnsupportedModel
from cabinos.engine.gguf import read_gguf
from cabinos.engine.model import Model
from tests.engine.conftest import ModelMaker


def opens(path: Path) -> None:
    """Opens the file and computes with it; only an EngineError may come out."""
    with Model(path, threads=1, kv_tokens=16, cache=False) as model, model.sequence() as sequence:
        sequence.feed([0])


def damaged(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture(scope="session")
def small(tiny_model: ModelMaker) -> bytes:
    return tiny_model("q4_k", layers=1, vocab=300, inner=256, tied=True).read_bytes()


def test_missing_empty_folder_and_garbage(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="No such file"):
        opens(tmp_path / "absent.gguf")
    with pytest.raises(ModelFileError, match="empty or not a regular file"):
        opens(damaged(tmp_path / "empty.gguf", b""))
    with pytest.raises(ModelFileError, match="not a regular file"):
        opens(tmp_path)
    with pytest.raises(ModelFileError, match="not a GGUF file"):
        opens(damaged(tmp_path / "text.gguf", b"To be, or not to be" * 99))


def test_versions_and_byte_order(tmp_path: Path, small: bytes) -> None:
    for version in (1, 4, 0x03000000):
        data = small[:4] + struct.pack("<I", version) + small[8:]
        with pytest.raises(UnsupportedModel, match="GGUF version"):
            opens(damaged(tmp_path / "version.gguf", data))


def test_every_truncation_is_refused(tmp_path: Path, small: bytes) -> None:
    start = read_gguf(damaged(tmp_path / "whole.gguf", small)).tensors["blk.0.attn_q.weight"].offset
    cuts = [*range(0, 200, 7), *range(200, start, 997), start, len(small) - 40]
    for cut in cuts:
        with pytest.raises(EngineError):
            opens(damaged(tmp_path / "cut.gguf", small[:cut]))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=4))
def test_flipped_bytes_never_crash(
    tmp_path: Path, small: bytes, flips: list[tuple[float, int]]
) -> None:
    data = bytearray(small)
    header = read_gguf(damaged(tmp_path / "whole.gguf", small)).tensors
    start = min(info.offset for info in header.values())
    for place, mask in flips:  # half of them near the start, where the lengths are
        data[int(place**4 * (start - 1))] ^= mask
    with contextlib.suppress(EngineError):  # a crash or any other error fails
        opens(damaged(tmp_path / "flipped.gguf", bytes(data)))


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert len(old) == len(new)
    assert old in data
    return data.replace(old, new)


def test_what_is_not_supported_is_named(tmp_path: Path, small: bytes) -> None:
    path = tmp_path / "changed.gguf"
    five = struct.pack("<Q", 5)
    with pytest.raises(UnsupportedModel, match="architecture 'bloom'"):
        opens(damaged(path, replaced(small, five + b"llama", five + b"bloom")))
    with pytest.raises(ModelFileError, match="'llama.block_count' is missing"):
        opens(damaged(path, replaced(small, b"llama.block_count", b"llama.block_cownt")))
    with pytest.raises(ModelFileError, match=r"'blk.0.ffn_up.weight' is missing"):
        opens(damaged(path, replaced(small, b"blk.0.ffn_up.weight", b"blk.0.ffn_op.weight")))
    q4_k, q2_k = struct.pack("<I", 12), struct.pack("<I", 10)
    at = small.index(b"blk.0.ffn_up.weight") + len(b"blk.0.ffn_up.weight") + 4 + 16
    assert small[at : at + 4] == q4_k
    with pytest.raises(UnsupportedModel, match=r"'blk.0.ffn_up.weight' has GGML type 10"):
        opens(damaged(path, small[:at] + q2_k + small[at + 4 :]))


def test_a_stale_or_damaged_cache_is_made_again(tmp_path: Path, small: bytes) -> None:
    path, strips = tmp_path / "model.gguf", tmp_path / "model.gguf.strips"
    path.write_bytes(small)
    with Model(path, threads=1) as model, model.sequence() as sequence:
        expected = sequence.feed([1, 2, 3])
    if not strips.exists():
        pytest.skip("this system keeps no cache")
    good = strips.read_bytes()
    for bad in (b"", good[:100], b"x" * len(good), good[:-1]):
        strips.write_bytes(bad)
        with Model(path, threads=1) as model, model.sequence() as sequence:
            assert (sequence.feed([1, 2, 3]) == expected).all()  # type: ignore[union-attr]
        assert len(strips.read_bytes()) == len(good)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.gguf", "model.gguf.strips"]
