"""Weight types: which tensor gets which, and turning float32 rows into stored bytes.

A named type such as q4_k is a mixture, as in llama.cpp: the matrices that lose most by rounding
get more bits. `pure` gives every matrix the named type (benchmarks compare equal bits that way).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cabinos.engine.errors import InvalidRequest, ModelFileError
from cabinos.engine.gguf import TENSOR_TYPES, TensorType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# name -> llama.cpp's `general.file_type` (llama.h, enum llama_ftype)
FILE_TYPES = {
    "f32": 0, "f16": 1, "bf16": 32, "q8_0": 7, "q4_0": 2, "q4_k": 15, "q5_k": 17, "q6_k": 18,
}  # fmt: skip
ALIASES = {"q4_k_m": "q4_k", "q5_k_m": "q5_k"}
F16_MAX = 65504.0
BY_NAME = {kind.name: (type_id, kind) for type_id, kind in TENSOR_TYPES.items()}


@dataclass(frozen=True)
class Choice:
    """The type chosen for a tensor, and why it differs from the one asked for (or "")."""

    type: str
    reason: str = ""


def parse_type(name: str) -> str:
    """The canonical name of a weight type. Raises InvalidRequest for an unknown one."""
    canonical = ALIASES.get(name.lower(), name.lower())
    if canonical not in FILE_TYPES:
        raise InvalidRequest(f"Unknown type {name!r}. Known types: {', '.join(FILE_TYPES)}.")
    return canonical


def choose_type(
    name: str, shape: tuple[int, ...], wanted: str, *, layers: int, tied: bool, pure: bool
) -> Choice:
    """Choose the storage type of tensor `name` in a file of type `wanted`.

    The rules are llama.cpp's (llama-quant.cpp, `llama_tensor_get_type_impl`). Vectors and norms
    stay F32. A row that is not a multiple of the block falls back: k-quants to Q8_0 (llama.cpp
    takes Q5_0 or Q5_1 for the smaller ones), and whatever does not fit 32 to F16.
    """
    if len(shape) < 2 or not name.endswith(".weight") or name.endswith("_norm.weight"):
        return Choice("F32")
    kind = wanted.upper()
    if not pure:
        kind = _mixture(name, wanted, layers=layers, tied=tied)
    block = BY_NAME[kind][1].elements
    if shape[-1] % block == 0:
        return Choice(kind)
    fallback = "Q8_0" if shape[-1] % 32 == 0 else "F16"
    return Choice(fallback, f"rows of {shape[-1]} are not a multiple of {block} ({kind})")


def _mixture(name: str, wanted: str, *, layers: int, tied: bool) -> str:
    """Give the matrices that lose most by rounding more bits.

    Those are the output (the embedding, when tied) and, in q4_k and q5_k (llama.cpp's Q4_K_M and
    Q5_K_M), the value and down projections of the outer layers and of every third one.
    """
    is_output = name == "output.weight" or (tied and name == "token_embd.weight")
    if is_output and wanted in ("q4_0", "q4_k", "q5_k"):
        return "Q6_K"
    if wanted in ("q4_k", "q5_k") and name.endswith(("attn_v.weight", "ffn_down.weight")):
        layer = int(name.split(".")[1])
        eighth = layers // 8
        if layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2:
            return "Q6_K"
    return wanted.upper()


def stored_size(shape: tuple[int, ...], kind: str) -> int:
    """Bytes that a tensor of `shape` takes as `kind`."""
    from math import prod

    block: TensorType = BY_NAME[kind][1]
    return prod(shape) // block.elements * block.size


def encode(name: str, weight: "NDArray[np.float32]", kind: str) -> "NDArray[np.uint8]":
    """Store float32 `weight` [..., row] as `kind`: uint8 [stored_size].

    Raises ModelFileError if a value is not finite, or beyond the f16 that scales are stored in.
    """
    import numpy as np

    from cabinos.engine.pack.kquants import QUANTIZERS

    if not np.isfinite(weight).all():
        raise ModelFileError(f"Tensor {name!r} holds NaN or infinity; the weights are broken.")
    if kind not in ("F32", "BF16") and max(weight.max(), -weight.min()) > F16_MAX:
        raise ModelFileError(f"Tensor {name!r} has values too large for {kind}; use bf16 or f32.")
    if kind in QUANTIZERS:
        return QUANTIZERS[kind](weight).reshape(-1)
    import gguf

    stored = gguf.quants.quantize(weight, gguf.GGMLQuantizationType(BY_NAME[kind][0]))
    return np.ascontiguousarray(stored).reshape(-1).view(np.uint8)


def decode(data: "NDArray[np.uint8]", kind: str, shape: tuple[int, ...]) -> "NDArray[np.float32]":
    """The float32 values of a stored tensor. Raises InvalidRequest for a type gguf cannot read."""
    import gguf
    import numpy as np

    rows = np.asarray(data).reshape(-1, stored_size(shape[-1:], kind))
    try:
        values = gguf.quants.dequantize(rows, gguf.GGMLQuantizationType(BY_NAME[kind][0]))
    except NotImplementedError:
        raise InvalidRequest(f"Weights of type {kind} cannot be read back.") from None
    return np.asarray(values, dtype=np.float32).reshape(shape)
