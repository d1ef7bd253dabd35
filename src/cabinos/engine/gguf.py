"""Reading GGUF: the metadata and tensor table of a model file, never its weights.

The format (ggml `docs/gguf.md`, versions 2 and 3, little endian):

    u32 magic "GGUF" · u32 version · u64 tensor count · u64 metadata count
    metadata:  string key · u32 value type · value          (string = u64 length + UTF-8 bytes)
    tensors:   string name · u32 dimensions · u64 each · u32 type · u64 offset into the data
    padding to `general.alignment` (32) · tensor data

A file is untrusted input: every length is checked against the bytes that are left before anything
is read or allocated, so a hostile file costs no more time and memory than its own size.
"""

import mmap
import struct
from dataclasses import dataclass
from math import prod
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypeAlias

from cabinos.engine.errors import ModelFileError

if TYPE_CHECKING:
    import numpy as np

Scalar: TypeAlias = str | int | float | bool
Value: TypeAlias = Scalar | list[Scalar]

MAX_ARRAY = 1 << 24  # elements; the largest vocabulary in use is about 2**18
MAX_STRING = 1 << 24  # bytes; a chat template is about 2**14
MAX_DIMENSIONS = 4  # GGML_MAX_DIMS

BOOL, STRING, ARRAY = 7, 8, 9
SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip


class TensorType(NamedTuple):
    """A ggml storage type: `elements` weights are stored together in `size` bytes."""

    name: str
    elements: int
    size: int


# Ids and sizes from ggml.h (enum ggml_type); the holes are types that were withdrawn.
TENSOR_TYPES = {
    0: TensorType("F32", 1, 4),
    1: TensorType("F16", 1, 2),
    2: TensorType("Q4_0", 32, 18),
    3: TensorType("Q4_1", 32, 20),
    6: TensorType("Q5_0", 32, 22),
    7: TensorType("Q5_1", 32, 24),
    8: TensorType("Q8_0", 32, 34),
    9: TensorType("Q8_1", 32, 40),
    10: TensorType("Q2_K", 256, 84),
    11: TensorType("Q3_K", 256, 110),
    12: TensorType("Q4_K", 256, 144),
    13: TensorType("Q5_K", 256, 176),
    14: TensorType("Q6_K", 256, 210),
    15: TensorType("Q8_K", 256, 292),
    16: TensorType("IQ2_XXS", 256, 66),
    17: TensorType("IQ2_XS", 256, 74),
    18: TensorType("IQ3_XXS", 256, 98),
    19: TensorType("IQ1_S", 256, 50),
    20: TensorType("IQ4_NL", 32, 18),
    21: TensorType("IQ3_S", 256, 110),
    22: TensorType("IQ2_S", 256, 82),
    23: TensorType("IQ4_XS", 256, 136),
    24: TensorType("I8", 1, 1),
    25: TensorType("I16", 1, 2),
    26: TensorType("I32", 1, 4),
    27: TensorType("I64", 1, 8),
    28: TensorType("F64", 1, 8),
    29: TensorType("IQ1_M", 256, 56),
    30: TensorType("BF16", 1, 2),
    34: TensorType("TQ1_0", 256, 54),
    35: TensorType("TQ2_0", 256, 66),
    39: TensorType("MXFP4", 32, 17),
    40: TensorType("NVFP4", 64, 36),
}


@dataclass(frozen=True)
class TensorInfo:
    """Where one tensor lies in the file.

    `shape` is in NumPy order: (rows, row length) for a matrix; GGUF stores it reversed.
    `offset` counts bytes from the start of the file.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    offset: int
    size: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)


@dataclass(frozen=True)
class GGUFFile:
    """The metadata and tensor table of a GGUF file.

    `value_types` keeps the stored type of each metadata value (and of its elements, for an array),
    so that a copy of the file can be written with the very same types.
    """

    path: Path
    version: int
    metadata: dict[str, Value]
    value_types: dict[str, tuple[int, int | None]]
    tensors: dict[str, TensorInfo]
    size: int

    def data(self, name: str) -> "np.ndarray":
        """The stored bytes of tensor `name`, as a read-only memory map: uint8 [size]."""
        import numpy as np

        tensor = self.tensors[name]
        return np.memmap(self.path, np.uint8, "r", offset=tensor.offset, shape=(tensor.size,))


def read_gguf(path: str | PathLike[str]) -> GGUFFile:
    """Read the metadata and the tensor table of the GGUF file at `path`.

    Raises ModelFileError when the file is missing, is not GGUF, or is damaged; the message names
    the field and its byte offset. The weights themselves are neither read nor judged.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size == 0:
                raise ModelFileError(f"{path}: the file is empty.")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(path, data).file()
    except FileNotFoundError:
        raise ModelFileError(f"{path}: no such file.") from None
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror or error}).") from None


class _Reader:
    """A cursor over the mapped file that refuses to step past the end."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path = path
        self.data = data
        self.size = len(data)
        self.at = 0

    def fail(self, field: str, problem: str, at: int | None = None) -> NoReturn:
        where = self.at if at is None else at
        raise ModelFileError(
            f"{self.path}: {field} at byte {where} {problem}. "
            "The file is damaged or was not downloaded completely; fetch it again."
        )

    def need(self, size: int, field: str) -> None:
        if size > self.size - self.at:
            left = self.size - self.at
            self.fail(field, f"needs {size} bytes, but only {left} are left in the file")

    def number(self, code: str, field: str) -> int:
        size = struct.calcsize("<" + code)
        self.need(size, field)
        (value,) = struct.unpack_from("<" + code, self.data, self.at)
        self.at += size
        return int(value)

    def string(self, field: str) -> str:
        start = self.at
        length = self.number("Q", f"the length of {field}")
        if length > MAX_STRING:
            self.fail(field, f"claims {length} bytes of text (at most {MAX_STRING})", start)
        self.need(length, field)
        raw = self.data[self.at : self.at + length]
        self.at += length
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self.fail(field, "is not valid UTF-8", start)

    def strings(self, count: int, field: str) -> list[Scalar]:
        """`count` strings. A vocabulary has 150,000, so this loop is kept bare."""
        self.need(8 * count, field)
        data, size, at = self.data, self.size, self.at
        from_bytes = int.from_bytes
        result: list[Scalar] = []
        try:
            for _ in range(count):
                start = at + 8
                at = start + from_bytes(data[at:start], "little")
                if at > size:
                    break
                result.append(data[start:at].decode())
        except UnicodeDecodeError:
            self.fail(f"{field}, element {len(result)},", "is not valid UTF-8", start)
        if len(result) < count:
            self.fail(f"{field}, element {len(result)},", "runs past the end of the file", start)
        self.at = at
        return result

    def array(self, field: str) -> tuple[list[Scalar], int]:
        start = self.at
        kind = self.number("I", f"the element type of {field}")
        count = self.number("Q", f"the length of {field}")
        if count > MAX_ARRAY:
            self.fail(field, f"claims {count} elements (at most {MAX_ARRAY})", start)
        if kind == STRING:
            return self.strings(count, field), kind
        if kind not in SCALARS:
            self.fail(field, f"has elements of unknown type {kind}", start)
        layout = f"<{count}{SCALARS[kind]}"
        self.need(struct.calcsize(layout), field)
        values: list[Scalar] = list(struct.unpack_from(layout, self.data, self.at))
        self.at += struct.calcsize(layout)
        return ([bool(v) for v in values] if kind == BOOL else values), kind

    def scalar(self, kind: int, field: str) -> Scalar:
        if kind == STRING:
            return self.string(field)
        if kind not in SCALARS:
            self.fail(field, f"has the unknown type {kind}")
        layout = "<" + SCALARS[kind]
        self.need(struct.calcsize(layout), field)
        (value,) = struct.unpack_from(layout, self.data, self.at)
        self.at += struct.calcsize(layout)
        return bool(value) if kind == BOOL else value

    def file(self) -> GGUFFile:
        magic = self.data[:4]
        if magic != b"GGUF":
            raise ModelFileError(
                f"{self.path}: not a GGUF file (it begins with {magic!r}, not b'GGUF'). "
                "Pack a Hugging Face folder with `cabin pack`."
            )
        self.at = 4
        version = self.number("I", "the version")
        if version not in (2, 3):
            hint = " (big-endian?)" if version & 0xFFFF == 0 else ""
            raise ModelFileError(
                f"{self.path}: GGUF version {version}{hint}; versions 2 and 3, little endian, "
                "can be read. Convert the file again with a current tool."
            )
        tensor_count = self.number("Q", "the tensor count")
        metadata_count = self.number("Q", "the metadata count")
        # The shortest entry has an empty key; a count that cannot fit is refused before the loop.
        self.need(metadata_count * 13 + tensor_count * 32, "the table of metadata and tensors")
        metadata, value_types = self.metadata(metadata_count)
        tensors = self.tensors(tensor_count, self.alignment(metadata))
        return GGUFFile(self.path, version, metadata, value_types, tensors, self.size)

    def metadata(self, count: int) -> tuple[dict[str, Value], dict[str, tuple[int, int | None]]]:
        metadata: dict[str, Value] = {}
        types: dict[str, tuple[int, int | None]] = {}
        for index in range(count):
            start = self.at
            key = self.string(f"metadata key {index}")
            if key in metadata:
                self.fail(f"metadata key {key!r}", "occurs twice", start)
            kind = self.number("I", f"the type of {key!r}")
            element: int | None = None
            if kind == ARRAY:
                metadata[key], element = self.array(repr(key))
            else:
                metadata[key] = self.scalar(kind, repr(key))
            types[key] = (kind, element)
        return metadata, types

    def alignment(self, metadata: dict[str, Value]) -> int:
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            self.fail("'general.alignment'", f"is {alignment!r}, not a power of two")
        return alignment

    def tensors(self, count: int, alignment: int) -> dict[str, TensorInfo]:
        table: dict[str, TensorInfo] = {}
        for index in range(count):
            start = self.at
            tensor = self.tensor(index)
            if tensor.name in table:
                self.fail(f"tensor {tensor.name!r}", "occurs twice", start)
            table[tensor.name] = tensor
        base = -(-self.at // alignment) * alignment
        placed: dict[str, TensorInfo] = {}
        for name, t in table.items():
            if t.offset % alignment:
                problem = f"has offset {t.offset}, not a multiple of {alignment}"
                self.fail(f"tensor {name!r}", problem)
            offset = base + t.offset
            if offset + t.size > self.size:
                self.fail(
                    f"tensor {name!r}",
                    f"ends at byte {offset + t.size}, but the file has {self.size}",
                    offset,
                )
            placed[name] = TensorInfo(name, t.type, t.shape, offset, t.size)
        return placed

    def tensor(self, index: int) -> TensorInfo:
        start = self.at
        name = self.string(f"the name of tensor {index}")
        field = f"tensor {name!r}"
        dimensions = self.number("I", f"the dimensions of {field}")
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            self.fail(field, f"has {dimensions} dimensions (1 to {MAX_DIMENSIONS})", start)
        lengths = [self.number("Q", f"the shape of {field}") for _ in range(dimensions)]
        type_id = self.number("I", f"the type of {field}")
        offset = self.number("Q", f"the offset of {field}")
        if type_id not in TENSOR_TYPES:
            self.fail(field, f"has the unknown type {type_id}", start)
        kind = TENSOR_TYPES[type_id]
        if 0 in lengths or prod(lengths) > 1 << 48:
            self.fail(field, f"has the impossible shape {lengths}", start)
        if lengths[0] % kind.elements:
            problem = f"has rows of {lengths[0]}, not a multiple of {kind.elements} ({kind.name})"
            self.fail(field, problem, start)
        size = prod(lengths) // kind.elements * kind.size
        return TensorInfo(name, kind.name, tuple(reversed(lengths)), offset, size)
