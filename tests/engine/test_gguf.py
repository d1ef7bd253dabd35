"""The GGUF reader: it reads what the reference writer writes, and nothing else harms it."""

import struct
import time
import tracemalloc
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cabinos.engine.errors import ModelFileError
from cabinos.engine.gguf import TENSOR_TYPES, read_gguf

METADATA = {
    "test.string": "a ▁ token 🙂",
    "test.empty": "",
    "test.u8": (200, gguf.GGUFValueType.UINT8),
    "test.i8": (-100, gguf.GGUFValueType.INT8),
    "test.u16": (60000, gguf.GGUFValueType.UINT16),
    "test.i16": (-30000, gguf.GGUFValueType.INT16),
    "test.u32": (4_000_000_000, gguf.GGUFValueType.UINT32),
    "test.i32": (-2_000_000_000, gguf.GGUFValueType.INT32),
    "test.u64": (1 << 63, gguf.GGUFValueType.UINT64),
    "test.i64": (-(1 << 62), gguf.GGUFValueType.INT64),
    "test.f32": (0.5, gguf.GGUFValueType.FLOAT32),
    "test.f64": (1e-300, gguf.GGUFValueType.FLOAT64),
    "test.bool": (True, gguf.GGUFValueType.BOOL),
}
ARRAYS = {
    "test.strings": ["<s>", "", "é", "🙂"],
    "test.ints": [1, -2, 3],
    "test.floats": [0.5, -1.25],
    "test.bools": [True, False, True],
}


def write_sample(path: Path) -> Path:
    """A file with every value type and three tensors, by the reference writer."""
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in METADATA.items():
        number, kind = (value, gguf.GGUFValueType.STRING) if isinstance(value, str) else value
        writer.add_key_value(key, number, kind)
    for key, values in ARRAYS.items():
        writer.add_array(key, values)
    writer.add_tensor("vector", np.arange(5, dtype=np.float32))
    writer.add_tensor("matrix", np.arange(6, dtype=np.float16).reshape(2, 3))
    blocks = np.arange(2 * 34, dtype=np.uint8).reshape(2, 34)
    writer.add_tensor("blocks", blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("gguf") / "sample.gguf")


def test_reads_every_value_type(sample: Path) -> None:
    metadata = read_gguf(sample).metadata
    for key, value in METADATA.items():
        expected = value if isinstance(value, str) else value[0]
        assert metadata[key] == expected
        assert type(metadata[key]) is type(expected)
    for key, values in ARRAYS.items():
        assert metadata[key] == values
    assert metadata["general.architecture"] == "llama"


def test_reads_tensors(sample: Path) -> None:
    file = read_gguf(sample)
    assert {n: (t.type, t.shape, t.size) for n, t in file.tensors.items()} == {
        "vector": ("F32", (5,), 20),
        "matrix": ("F16", (2, 3), 12),
        "blocks": ("Q8_0", (2, 32), 68),
    }
    assert file.data("vector").view(np.float32).tolist() == [0, 1, 2, 3, 4]
    assert file.data("matrix").view(np.float16).tolist() == [0, 1, 2, 3, 4, 5]
    assert file.data("blocks").tolist() == list(range(68))
    assert file.tensors["matrix"].elements == 6


def test_type_sizes_are_those_of_the_reference() -> None:
    for type_id, kind in TENSOR_TYPES.items():
        reference = gguf.GGMLQuantizationType(type_id)
        assert reference.name == kind.name
        assert gguf.GGML_QUANT_SIZES[reference] == (kind.elements, kind.size)


def test_large_vocabulary_is_fast(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    tokens = [f"▁token{i}" for i in range(150_000)]
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    started = time.process_time()
    file = read_gguf(path)
    assert time.process_time() - started < 1.0  # about 0.05 s; NumPy views take many seconds
    assert file.metadata["tokenizer.ggml.tokens"] == tokens


def test_missing_empty_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        read_gguf(tmp_path / "none.gguf")
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_gguf(tmp_path)
    empty, zip_file = tmp_path / "empty.gguf", tmp_path / "x.gguf"
    empty.write_bytes(b"")
    with pytest.raises(ModelFileError, match="empty"):
        read_gguf(empty)
    zip_file.write_bytes(b"PK\x03\x04" + bytes(60))
    with pytest.raises(ModelFileError, match=r"not a GGUF file.*cabin pack"):
        read_gguf(zip_file)


@pytest.mark.parametrize(
    ("version", "message"), [(1, "version 1;"), (4, "version 4;"), (3 << 24, "big-endian")]
)
def test_other_versions(tmp_path: Path, version: int, message: str) -> None:
    path = tmp_path / "old.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", version, 0, 0))
    with pytest.raises(ModelFileError, match=message):
        read_gguf(path)


def header(tensors: int, *pairs: bytes) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, len(pairs)) + b"".join(pairs)


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def info(name: str, lengths: list[int], kind: int = 0, offset: int = 0) -> bytes:
    shape = struct.pack(f"<I{len(lengths)}Q", len(lengths), *lengths)
    return text(name) + shape + struct.pack("<IQ", kind, offset)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header(0, text("k") + struct.pack("<IQ", 8, 1 << 60)), "'k' at byte 37 claims"),
        (header(0, text("k") + struct.pack("<IIQ", 9, 4, 1 << 61)), "'k' at byte .* claims"),
        (header(0, text("k") + struct.pack("<IIQ", 9, 8, 1 << 20)), "'k' at byte .* needs"),
        (header(0, text("k") + struct.pack("<IIQ", 9, 4, 9)), "needs 36 bytes"),
        (header(0, text("k") + struct.pack("<IIQ", 9, 9, 1)), "elements of unknown type 9"),
        (header(0, text("k") + struct.pack("<IQ", 77, 0)), "'k' at byte .* unknown type 77"),
        (header(0, text("k") + struct.pack("<I", 8) + text(b"\xff")), "not valid UTF-8"),
        (header(0, text("k") + struct.pack("<IIQ", 9, 8, 1) + text(b"\xff")), "element 0, at byte"),
        (header(0, *[text("k") + struct.pack("<II", 4, 1)] * 2), "'k' at byte .* occurs twice"),
        (
            header(0, text("general.alignment") + struct.pack("<II", 4, 24)),
            "'general.alignment' .* power of two",
        ),
        (header(1 << 60), "table of metadata and tensors"),
        (header(1, info("w", [8])[:-30] + bytes(40)), "tensor"),
        (header(1) + info("w", [8, 1, 1, 1, 1]), "tensor 'w' at byte 24 has 5 dimensions"),
        (header(1) + info("w", [0]) + bytes(64), "impossible shape"),
        (header(1) + info("w", [1 << 62, 1 << 62]) + bytes(64), "impossible shape"),
        (header(1) + info("w", [8], kind=99) + bytes(64), "tensor 'w' .* unknown type 99"),
        (header(1) + info("w", [33], kind=8) + bytes(64), "rows of 33, not a multiple of 32"),
        (header(1) + info("w", [8], offset=7) + bytes(64), "offset 7, not a multiple of 32"),
        (header(1) + info("w", [8], offset=1 << 63) + bytes(64), "ends at byte"),
        (
            header(1) + info("w", [800]) + bytes(64),
            "tensor 'w' .* ends at byte .* but the file has",
        ),
        (header(2) + info("w", [1]) + info("w", [1]) + bytes(96), "'w' at byte .* occurs twice"),
    ],
)
def test_damage_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=message):
        read_gguf(path)


def test_truncation_at_every_byte(sample: Path, tmp_path: Path) -> None:
    content, cut = sample.read_bytes(), tmp_path / "cut.gguf"
    last = max(t.offset + t.size for t in read_gguf(sample).tensors.values())
    for length in range(len(content)):
        cut.write_bytes(content[:length])
        if length < last:
            with pytest.raises(ModelFileError):
                read_gguf(cut)
        else:
            assert read_gguf(cut).tensors  # only padding is missing


@settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.too_slow])
@given(flips=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=8))
def test_flipped_bytes_never_escape(
    flips: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    sample, path = folder / "flip-sample.gguf", folder / "flipped.gguf"
    if not sample.exists():
        write_sample(sample)
    content = bytearray(sample.read_bytes())
    for position, value in flips:
        content[position % len(content)] = value
    path.write_bytes(content)
    try:
        file = read_gguf(path)
    except ModelFileError:
        return
    for tensor in file.tensors.values():
        assert tensor.offset + tensor.size <= len(content)


@settings(max_examples=300, deadline=2000)
@given(tail=st.binary(max_size=400), counts=st.tuples(*[st.integers(0, (1 << 64) - 1)] * 2))
def test_random_bytes_never_escape(
    tail: bytes, counts: tuple[int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "random.gguf"
    for tensors, pairs in (counts, (counts[0] % 4, counts[1] % 4)):
        path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, tensors, pairs) + tail)
        try:
            read_gguf(path)
        except ModelFileError as error:
            assert str(path) in str(error)  # noqa: PT017


def test_lies_about_length_cost_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "liar.gguf"
    tracemalloc.start()
    try:
        for count in (1 << 24, 1 << 40, (1 << 64) - 1):
            for element in (0, 4, 8, 12):
                path.write_bytes(header(0, text("k") + struct.pack("<IIQ", 9, element, count)))
                with pytest.raises(ModelFileError):
                    read_gguf(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
