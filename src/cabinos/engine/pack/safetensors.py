"""Reading weights from safetensors files with NumPy alone, bf16 included.

The format (huggingface/safetensors README): u64 header length · JSON header
{"name": {"dtype": "BF16", "shape": [..], "data_offsets": [begin, end]}, ...} · the tensors' bytes.
It holds no code, which is why pickled `.bin` weights are refused and this is not.
"""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cabinos.engine.errors import ModelFileError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_HEADER = 100_000_000  # bytes; the limit of the reference implementation
STORAGE = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a safetensors file: its place there and how to read it."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int

    def read(self) -> "NDArray[np.float32]":
        """The values as float32, copied out of the file; bf16 and f16 widen exactly."""
        import numpy as np

        raw = np.memmap(self.path, STORAGE[self.dtype], "r", offset=self.offset, shape=self.shape)
        if self.dtype == "BF16":  # bf16 is the upper half of a float32
            bits: NDArray[np.uint32] = np.left_shift(raw, 16, dtype=np.uint32)
            return bits.view(np.float32)
        return np.array(raw, dtype=np.float32)


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of one safetensors file. Raises ModelFileError if it is missing or damaged."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, MAX_HEADER):
                raise ModelFileError(
                    f"{path}: not a safetensors file, or cut short: it has {size} bytes and "
                    f"claims a header of {length}. Download it again."
                )
            header = json.loads(file.read(length))
    except FileNotFoundError:
        raise ModelFileError(f"{path}: no such file.") from None
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except (ValueError, RecursionError):
        raise ModelFileError(f"{path}: its safetensors header is not valid JSON.") from None
    if not isinstance(header, dict):
        raise ModelFileError(f"{path}: its safetensors header is not a JSON object.")
    return {
        name: _entry(path, name, entry, base=8 + length, size=size)
        for name, entry in header.items()
        if name != "__metadata__"
    }


def _entry(path: Path, name: str, entry: Any, *, base: int, size: int) -> StoredTensor:
    try:
        dtype, shape = entry["dtype"], tuple(entry["shape"])
        begin, end = entry["data_offsets"]
        numbers = (*shape, begin, end)
        if not all(isinstance(n, int) and n >= 0 for n in numbers):
            raise ValueError
    except (TypeError, KeyError, ValueError):
        raise ModelFileError(f"{path}: the header entry of tensor {name!r} is malformed.") from None
    if dtype not in STORAGE:
        known = ", ".join(STORAGE)
        raise ModelFileError(
            f"{path}: tensor {name!r} is stored as {dtype}; {known} can be packed. "
            "Quantised checkpoints cannot: take the original weights."
        )
    expected = prod(shape) * int(STORAGE[dtype][-1])
    if end - begin != expected or base + end > size:
        raise ModelFileError(
            f"{path}: tensor {name!r} {list(shape)} {dtype} needs {expected} bytes; the header "
            f"gives it bytes {begin} to {end} of {size - base}. Download the file again."
        )
    return StoredTensor(path, dtype, shape, base + begin)
