"""Packing: a Hugging Face model folder becomes one GGUF file.

The steps, each in its own file: open the folder (`source`, `safetensors`), read the model's shape
(`architecture`) and its tokenizer (`vocabulary`), choose each tensor's type (`quantize`), and
stream the tensors into the output (`write`). What is written is what llama.cpp's converter writes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from cabinos.engine.errors import InvalidRequest, ModelFileError, UnsupportedModel
from cabinos.engine.pack.architecture import (
    Architecture,
    TensorPlan,
    llama3_rope_factors,
    permute_heads,
    read_architecture,
)
from cabinos.engine.pack.quantize import FILE_TYPES, choose_type, encode, parse_type
from cabinos.engine.pack.source import Adapter, Source, open_source, read_json
from cabinos.engine.pack.special import write_vocabulary
from cabinos.engine.pack.vocabulary import read_vocabulary
from cabinos.engine.pack.write import OutputTensor, Progress, replacing, require_gguf, write_gguf

if TYPE_CHECKING:
    import gguf
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["PackReport", "pack", "pack_vocabulary"]

IGNORED = (".rotary_emb.inv_freq",)  # buffers of old checkpoints, recomputed from the config


@dataclass(frozen=True)
class PackReport:
    """What `pack` wrote.

    `fallbacks` names the tensors that got another type than the one asked for, and why.
    """

    path: Path
    architecture: str
    type: str
    parameters: int
    size: int
    tensor_types: Mapping[str, str]
    fallbacks: Mapping[str, str]


def pack(
    source_dir: str | PathLike[str],
    output: str | PathLike[str],
    type: str = "q8_0",  # noqa: A002
    *,
    pure: bool = False,
    adapters: Sequence[Adapter] = (),
    name: str | None = None,
    metadata: Mapping[str, str | float | int | bool] | None = None,
    progress: Progress | None = None,
) -> PackReport:
    """Pack the Hugging Face model in `source_dir` into the GGUF file `output`.

    type: f32, f16, bf16, q8_0, q4_0, q4_k, q5_k or q6_k. The last five are llama.cpp's mixtures:
    q4_0, q4_k and q5_k keep the output matrix (the embedding, when tied) in Q6_K, and q4_k and q5_k
    give some value and down projections Q6_K; `pure` turns that off. Norms and biases stay F32.
    adapters: merged into the weights as they are read (see `cabinos.engine.lora.load_adapter`).
    name: `general.name`, by default the folder's name.
    metadata: what else to write, by key; a name of one's own begins them, as in `cabin.assistant`.

    Memory stays near the size of the largest tensor. The output appears complete or not at all.

    Raises ModelFileError (missing or damaged files, tensors that do not fit the config),
    UnsupportedModel (architecture, tokenizer or feature), InvalidRequest (unknown type, adapter
    that does not fit), EngineError (output cannot be written).
    """
    require_gguf()
    wanted = parse_type(type)
    output = Path(output)
    source = replace(open_source(Path(source_dir)), adapters=tuple(adapters))
    architecture = read_architecture(source.config, has_head="lm_head.weight" in source.tensors)
    plan = _check_tensors(source, architecture)
    vocabulary = read_vocabulary(source.folder, architecture.vocab_size)
    tensors, fallbacks = _output_tensors(source, architecture, plan, wanted, pure=pure)
    parameters = sum(prod(t.shape) for t in plan if t.source)

    import gguf

    writer = gguf.GGUFWriter(None, architecture.name)
    _write_metadata(writer, architecture, wanted, name or source.folder.resolve().name, parameters)
    _write_values(writer, metadata or {})
    write_vocabulary(writer, source.folder, vocabulary)
    with replacing(output) as temporary:
        size = write_gguf(temporary, writer, tensors, progress)
    return PackReport(
        output,
        architecture.name,
        wanted,
        parameters,
        size,
        {t.name: t.type for t in tensors},
        fallbacks,
    )


def pack_vocabulary(source_dir: str | PathLike[str], output: str | PathLike[str]) -> None:
    """Write the tokenizer and the chat template of a model folder as `pack` would, and no weights.

    Raises what `pack` raises.
    """
    require_gguf()
    folder = Path(source_dir)
    architecture = read_architecture(read_json(folder / "config.json"), has_head=False)
    vocabulary = read_vocabulary(folder, architecture.vocab_size)

    import gguf

    writer = gguf.GGUFWriter(None, architecture.name)
    write_vocabulary(writer, folder, vocabulary)
    with replacing(Path(output)) as temporary:
        write_gguf(temporary, writer, [])


def _check_tensors(source: Source, architecture: Architecture) -> list[TensorPlan]:
    """List the tensors to write; each must exist in the shape that the config implies.

    None may be left over: a weight that is silently dropped would change what the model computes.
    """
    plan = architecture.tensors()
    plan += [t for t in architecture.optional_tensors() if t.source in source.tensors]
    for tensor in plan:
        if not tensor.source:
            continue
        if tensor.source not in source.tensors:
            raise ModelFileError(f"{source.folder}: tensor {tensor.source!r} is missing.")
        shape = source.tensors[tensor.source].shape
        if shape != tensor.shape:
            raise ModelFileError(
                f"{source.folder}: tensor {tensor.source!r} has shape {list(shape)}; config.json "
                f"implies {list(tensor.shape)}."
            )
    used = {t.source for t in plan} | ({"lm_head.weight"} if architecture.tied else set())
    extra = [n for n in source.tensors if n not in used and not n.endswith(IGNORED)]
    if extra:
        raise UnsupportedModel(
            f"{source.folder}: tensor {extra[0]!r} ({len(extra)} in all) has no place in a plain "
            f"{architecture.hf_class}; the model has a feature that is not supported."
        )
    for adapter in source.adapters:
        strange = sorted(adapter.names() - {t.source for t in plan})
        if strange:
            raise InvalidRequest(
                f"{adapter.folder}: the adapter changes {strange[0]!r}, which {source.folder} does "
                "not have. It was trained for another model."
            )
    return plan


def _output_tensors(
    source: Source, architecture: Architecture, plan: list[TensorPlan], wanted: str, *, pure: bool
) -> tuple[list[OutputTensor], dict[str, str]]:
    tensors, fallbacks = [], {}
    for t in plan:
        choice = choose_type(
            t.name, t.shape, wanted, layers=architecture.layer_count, tied=architecture.tied,
            pure=pure,
        )  # fmt: skip
        if choice.reason:
            fallbacks[t.name] = f"{choice.type}: {choice.reason}"

        def stored(t: TensorPlan = t, kind: str = choice.type) -> "NDArray[np.uint8]":
            if not t.source:
                return encode(t.name, llama3_rope_factors(architecture), kind)
            weight = source.read(t.source)
            if t.permute_heads:
                weight = permute_heads(weight, t.permute_heads)
            return encode(t.name, weight, kind)

        tensors.append(OutputTensor(t.name, t.shape, choice.type, stored))
    return tensors, fallbacks


def _write_metadata(
    writer: "gguf.GGUFWriter", architecture: Architecture, wanted: str, name: str, parameters: int
) -> None:
    writer.add_type("model")
    writer.add_name(name)
    writer.add_size_label(_size_label(parameters))
    writer.add_quantization_version(2)
    writer.add_file_type(FILE_TYPES[wanted])
    _write_values(writer, architecture.metadata())


def _write_values(
    writer: "gguf.GGUFWriter", values: Mapping[str, str | float | int | bool]
) -> None:
    """Integers as u32, other numbers as f32."""
    for key, value in values.items():
        if isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        else:
            writer.add_uint32(key, value)


def _size_label(parameters: int) -> str:
    """1.1B, 135M, 7K: how people speak of a model's size."""
    for unit, size in (("B", 10**9), ("M", 10**6)):
        if parameters >= size:
            return f"{parameters / size:.3g}{unit}"
    return f"{max(parameters // 1000, 1)}K"
