"""LoRA adapters (Hugging Face PEFT) merged into the weights, while packing or at load.

An adapter adds B A * scale to some matrices (Hu et al. 2021), scale = alpha / r, or alpha / sqrt(r)
for rank-stabilised LoRA (Kalajdzievski 2023). A is [r, inputs], B is [outputs, r]. Merging costs
nothing when running, and the merged model is an ordinary GGUF file.

    pack("hf_model", "merged.gguf", adapters=[load_adapter("my_adapter")])
    merge_cached("base.gguf", ["my_adapter:0.5"])   # -> path of a merged file in the cache folder
"""

import hashlib
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cabinos.engine.errors import InvalidRequest, ModelFileError, UnsupportedModel
from cabinos.engine.gguf import GGUFFile, TensorInfo, read_gguf
from cabinos.engine.pack.architecture import ATTENTION, FEED_FORWARD, permute_heads
from cabinos.engine.pack.quantize import FILE_TYPES, decode, encode
from cabinos.engine.pack.safetensors import StoredTensor, read_header
from cabinos.engine.pack.source import read_json
from cabinos.engine.pack.write import OutputTensor, Progress, replacing, require_gguf, write_gguf

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Adapter", "cache_folder", "load_adapter", "merge", "merge_cached", "parse_lora"]

PREFIX = "base_model.model."
UNSUPPORTED = (
    "use_dora", "modules_to_save", "lora_bias", "trainable_token_indices", "layer_replication",
    "fan_in_fan_out",
)  # fmt: skip
MERGE_VERSION = 1  # part of the cache key; raise it when merged files would come out different


@dataclass(frozen=True)
class Adapter:
    """A PEFT adapter, scaled. `pairs`: HF tensor name -> (A [r, inputs], B [outputs, r])."""

    folder: Path
    pairs: Mapping[str, tuple[StoredTensor, StoredTensor]]
    scales: Mapping[str, float]

    def names(self) -> set[str]:
        """The HF tensors it changes."""
        return set(self.pairs)

    def delta(self, name: str, shape: tuple[int, ...]) -> "NDArray[np.float32]":
        """What it adds to tensor `name`, in HF layout: float32 `shape`, (outputs, inputs).

        Raises InvalidRequest if the adapter was made for a matrix of another shape.
        """
        a, b = self.pairs[name]
        if (b.shape[0], a.shape[1]) != shape:
            raise InvalidRequest(
                f"{self.folder}: the adapter changes {name!r} as {[b.shape[0], a.shape[1]]}, but "
                f"the model has {list(shape)}. It was trained for another model."
            )
        product: NDArray[np.float32] = b.read() @ a.read()
        return product * product.dtype.type(self.scales[name])

    def apply(self, name: str, weight: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """`weight` of HF tensor `name` with the adapter merged in, if it changes that tensor."""
        if name not in self.pairs:
            return weight
        return weight + self.delta(name, weight.shape)


def parse_lora(text: str) -> tuple[Path, float]:
    """`DIR` or `DIR:SCALE` -> (folder, scale). A colon inside an existing path is left alone."""
    folder, colon, scale = text.rpartition(":")
    if not colon or Path(text).is_dir():
        return Path(text), 1.0
    try:
        value = float(scale)
    except ValueError:
        return Path(text), 1.0
    if not math.isfinite(value):
        raise InvalidRequest(f"--lora {text}: the scale must be a finite number.")
    return Path(folder), value


def load_adapter(folder: str | PathLike[str], scale: float = 1.0) -> Adapter:
    """Open a PEFT adapter folder; `scale` multiplies the adapter's own scale.

    Raises ModelFileError if files are missing or damaged, UnsupportedModel for what is not plain
    LoRA on linear layers (DoRA, other PEFT methods, extra trained modules).
    """
    folder = Path(folder)
    if not (folder / "adapter_config.json").is_file():
        raise ModelFileError(
            f"{folder}: no adapter_config.json; this is not a PEFT adapter folder."
        )
    config = read_json(folder / "adapter_config.json")
    _refuse_unsupported(folder, config)
    weights = folder / "adapter_model.safetensors"
    if not weights.is_file() and (folder / "adapter_model.bin").is_file():
        raise ModelFileError(
            f"{folder}: only pickled weights (adapter_model.bin), which can run code when opened. "
            "Save the adapter as safetensors."
        )
    pairs = _pair(weights, read_header(weights))
    scales = {name: scale * _own_scale(folder, config, name, a) for name, (a, _) in pairs.items()}
    return Adapter(folder, pairs, scales)


def _refuse_unsupported(folder: Path, config: Mapping[str, Any]) -> None:
    if config.get("peft_type", "LORA") != "LORA":
        raise UnsupportedModel(
            f"{folder}: a {config['peft_type']} adapter; only LoRA is supported."
        )
    for feature in UNSUPPORTED:
        if config.get(feature):
            raise UnsupportedModel(f"{folder}: the adapter uses {feature}, which is not supported.")
    if config.get("bias", "none") != "none":
        raise UnsupportedModel(f"{folder}: the adapter trained biases, which is not supported.")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.split("_")[0] in ("pissa", "olora", "corda", "loftq"):
        raise UnsupportedModel(
            f"{folder}: an adapter that started from {start!r} changed the base weights too. Save "
            "it with path_initial_model_for_weight_conversion, which makes it plain LoRA."
        )


def _pair(
    path: Path, tensors: Mapping[str, StoredTensor]
) -> dict[str, tuple[StoredTensor, StoredTensor]]:
    """Match `base_model.model.<module>.lora_A.weight` with its `lora_B`."""
    pairs: dict[str, tuple[StoredTensor, StoredTensor]] = {}
    for name, tensor in tensors.items():
        module, marker, rest = name.removeprefix(PREFIX).partition(".lora_")
        if rest not in ("A.weight", "B.weight") or not marker or len(tensor.shape) != 2:
            raise UnsupportedModel(f"{path}: tensor {name!r} is not part of a plain LoRA adapter.")
        if rest == "B.weight":
            continue
        other = tensors.get(name.replace(".lora_A.", ".lora_B."))
        if other is None or len(other.shape) != 2 or other.shape[1] != tensor.shape[0]:
            raise ModelFileError(f"{path}: {name!r} has no matching lora_B.")
        pairs[f"{module}.weight"] = (tensor, other)
    if 2 * len(pairs) != len(tensors) or not pairs:
        raise ModelFileError(f"{path}: {len(pairs)} LoRA pairs in {len(tensors)} tensors.")
    return pairs


def _own_scale(folder: Path, config: Mapping[str, Any], name: str, a: StoredTensor) -> float:
    """The scale of one module: alpha / r, where patterns may override both.

    The rank is seen in A's shape; alpha's patterns match the end of the module's name, as in PEFT.
    """
    rank = a.shape[0]
    alpha = config.get("lora_alpha", 8)
    module = name.removesuffix(".weight")
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", module):
            alpha = value
            break
    if not isinstance(alpha, int | float) or rank < 1:
        raise ModelFileError(f"{folder}: lora_alpha is {alpha!r} and the rank {rank}.")
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def gguf_name(hf_name: str) -> str | None:
    """The GGUF name of a HF weight, or None if it is not one of a Llama-family model."""
    if hf_name in ("lm_head.weight", "model.embed_tokens.weight"):
        return "output.weight" if hf_name.startswith("lm_head") else "token_embd.weight"
    parts = hf_name.split(".")
    if parts[:2] != ["model", "layers"] or parts[-1] != "weight" or len(parts) < 5:
        return None
    inner = (ATTENTION | FEED_FORWARD).get(".".join(parts[3:-1]))
    return inner and f"blk.{parts[2]}.{inner}.weight"


def merge(
    base: str | PathLike[str],
    adapters: Sequence[Adapter],
    output: str | PathLike[str],
    progress: Progress | None = None,
) -> Path:
    """Write `output`: the GGUF model `base` with `adapters` merged in, in order.

    The changed matrices keep their type where it can be written (f32, f16, bf16, q8_0, q4_0, q4_k,
    q5_k, q6_k) and become Q8_0 otherwise; everything else is copied bit for bit.

    Raises ModelFileError, InvalidRequest (the adapter does not fit), EngineError (cannot write).
    """
    require_gguf()
    import gguf

    source = read_gguf(base)
    changes = _changes(source, adapters)
    writer = gguf.GGUFWriter(None, str(source.metadata.get("general.architecture", "")))
    for key, value in source.metadata.items():
        kind, element = source.value_types[key]
        sub_type = None if element is None else gguf.GGUFValueType(element)
        if (
            key != "general.architecture" and value != []
        ):  # the writer has no empty arrays; to a reader they mean the same as none
            writer.add_key_value(key, value, gguf.GGUFValueType(kind), sub_type)
    writer.data_alignment = int(str(source.metadata.get("general.alignment", 32)))
    tensors = [_output_tensor(source, t, changes.get(t.name, [])) for t in source.tensors.values()]
    with replacing(Path(output)) as temporary:
        write_gguf(temporary, writer, tensors, progress)
    return Path(output)


def _changes(source: GGUFFile, adapters: Sequence[Adapter]) -> dict[str, list[tuple[Adapter, str]]]:
    """GGUF tensor name -> the adapters that change it, with its HF name."""
    changes: dict[str, list[tuple[Adapter, str]]] = {}
    for adapter in adapters:
        for hf_name in sorted(adapter.names()):
            name = gguf_name(hf_name)
            if name not in source.tensors:
                raise InvalidRequest(
                    f"{adapter.folder}: the adapter changes {hf_name!r}, which {source.path} does "
                    "not have. It was trained for another model."
                )
            changes.setdefault(name, []).append((adapter, hf_name))
    return changes


def _output_tensor(
    source: GGUFFile, tensor: TensorInfo, changes: list[tuple[Adapter, str]]
) -> OutputTensor:
    import numpy as np

    kind = tensor.type
    if changes and kind.lower() not in FILE_TYPES:
        kind = "Q8_0" if tensor.shape[-1] % 32 == 0 else "F16"

    def stored() -> "NDArray[np.uint8]":
        raw = source.data(tensor.name)
        if not changes:
            return np.asarray(raw)
        weight = decode(raw, tensor.type, tensor.shape)
        heads = _permuted_heads(source, tensor.name)
        for adapter, hf_name in changes:
            delta = adapter.delta(hf_name, tensor.shape)
            weight = weight + (permute_heads(delta, heads) if heads else delta)
        return encode(tensor.name, weight, kind)

    return OutputTensor(tensor.name, tensor.shape, kind, stored)


def _permuted_heads(source: GGUFFile, name: str) -> int:
    """Over how many heads the rows of this tensor are re-ordered; 0: not at all."""
    if source.metadata.get("general.architecture") != "llama":
        return 0
    heads = source.metadata.get("llama.attention.head_count", 0)
    if name.endswith("attn_q.weight"):
        return int(str(heads))
    if name.endswith("attn_k.weight"):
        return int(str(source.metadata.get("llama.attention.head_count_kv", heads)))
    return 0


def cache_folder() -> Path:
    """Where merged models are kept: $CABIN_CACHE, or the platform's cache folder for cabin."""
    if override := os.environ.get("CABIN_CACHE"):
        return Path(override)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "cabin"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cabin"


def merge_cached(
    base: str | PathLike[str],
    loras: Sequence[str | tuple[str | PathLike[str], float]],
    progress: Progress | None = None,
) -> Path:
    """The path of `base` with `loras` merged in, made once and then taken from the cache folder.

    Each of `loras` is "DIR", "DIR:SCALE" or (DIR, scale). The file is named after the content of
    the base, the adapters and the scales, so a changed adapter never meets a stale merge. Without
    `loras` the base itself is returned. Raises what `load_adapter` and `merge` raise.
    """
    base = Path(base)
    parsed = [parse_lora(x) if isinstance(x, str) else (Path(x[0]), x[1]) for x in loras]
    if not parsed:
        return base
    adapters = [load_adapter(folder, scale) for folder, scale in parsed]
    read_gguf(base)  # a clear message before a long hash
    digest = hashlib.sha256(f"merge {MERGE_VERSION}".encode())
    for path in _content(base, parsed):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    digest.update(repr([scale for _, scale in parsed]).encode())
    merged = cache_folder() / "lora" / f"{base.stem}-{digest.hexdigest()[:20]}.gguf"
    return merged if merged.is_file() else merge(base, adapters, merged, progress)


def _content(base: Path, parsed: list[tuple[Path, float]]) -> Iterator[Path]:
    yield base
    for folder, _ in parsed:
        yield folder / "adapter_config.json"
        yield folder / "adapter_model.safetensors"
