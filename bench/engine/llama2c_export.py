"""Write the weights of a Llama GGUF in the two file formats of karpathy/llama2.c.

Version 0 is float32 (`run`), version 2 is int8 in groups of 64 (`runq`); both are described by the
readers in that repository (`memory_map_weights`). Rows of Q and K keep GGUF's order: it changes no
speed.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

GROUP = 64


def matrix_names(layers: int) -> Iterator[list[str]]:
    """The matrices in file order, each a list over the layers."""
    for kind in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_down", "ffn_up"):
        yield [f"blk.{layer}.{kind}.weight" for layer in range(layers)]


class Gguf:
    """A GGUF opened for reading whole tensors as float32."""

    def __init__(self, path: Path) -> None:
        import gguf

        self._gguf = gguf
        self._reader = gguf.GGUFReader(str(path))
        self.tensors = {tensor.name: tensor for tensor in self._reader.tensors}

    def number(self, key: str, default: Any = None) -> Any:
        found = self._reader.fields.get(f"llama.{key}")
        return default if found is None else found.contents()

    def strings(self, key: str) -> list[Any]:
        return list(self._reader.fields[key].contents())

    def has(self, name: str) -> bool:
        return name in self.tensors

    def tensor(self, name: str) -> np.ndarray:
        found = self.tensors[name]
        return np.asarray(self._gguf.quants.dequantize(found.data, found.tensor_type), np.float32)


def write_int8(out: BinaryIO, values: np.ndarray) -> None:
    """One tensor of version 2: all int8 values, then a float32 scale for each group of 64."""
    groups = values.reshape(-1, GROUP)
    scale = np.abs(groups).max(axis=1, keepdims=True) / 127
    out.write(np.rint(groups / np.where(scale > 0, scale, 1)).astype(np.int8).tobytes())
    out.write(scale.astype(np.float32).tobytes())


def write_weights(model: Gguf, out: BinaryIO, *, int8: bool) -> None:
    """Header, norms and matrices in the order the version asks for."""
    dim, heads = model.number("embedding_length"), model.number("attention.head_count")
    layers = model.number("block_count")
    tokens = model.strings("tokenizer.ggml.tokens")
    tied = not model.has("output.weight")
    sizes = [dim, model.number("feed_forward_length"), layers, heads]
    sizes += [model.number("attention.head_count_kv", heads)]
    context = model.number("context_length")

    def norms(kind: str) -> bytes:
        names = (f"blk.{layer}.{kind}.weight" for layer in range(layers))
        return b"".join(model.tensor(name).tobytes() for name in names)

    final_norm = model.tensor("output_norm.weight").tobytes()
    if int8:
        header = struct.pack("<Ii7iBi", 0x616B3432, 2, *sizes, len(tokens), context, tied, GROUP)
        out.write(header.ljust(256, b"\0"))
        out.write(norms("attn_norm") + norms("ffn_norm") + final_norm)
        write_int8(out, model.tensor("token_embd.weight"))
        for names in matrix_names(layers):
            for name in names:
                write_int8(out, model.tensor(name))
        if not tied:
            write_int8(out, model.tensor("output.weight"))
        return
    # version 0 tells an untied head by a negative vocabulary size
    out.write(struct.pack("<7i", *sizes, len(tokens) if tied else -len(tokens), context))
    out.write(model.tensor("token_embd.weight").tobytes() + norms("attn_norm"))
    for index, names in enumerate(matrix_names(layers)):
        if index == 4:
            out.write(norms("ffn_norm"))
        for name in names:
            out.write(model.tensor(name).tobytes())
    out.write(final_norm + bytes(4 * context * (dim // heads)))  # a RoPE table that it skips
    if not tied:
        out.write(model.tensor("output.weight").tobytes())


def export(path: Path, *, int8: bool) -> tuple[Path, Path]:
    """Weights and tokenizer files for the GGUF at `path`, beside it; made once."""
    weights = path.with_suffix(".runq.bin" if int8 else ".run.bin")
    tokenizer = path.with_suffix(".tokenizer.bin")
    model = Gguf(path)
    if not tokenizer.exists():
        pieces = [
            str(token).replace("\u2581", " ").encode()
            for token in model.strings("tokenizer.ggml.tokens")
        ]
        scores = model.strings("tokenizer.ggml.scores")
        with tokenizer.open("wb") as out:
            out.write(struct.pack("<I", max(map(len, pieces))))
            for piece, score in zip(pieces, scores, strict=True):
                out.write(struct.pack("<fi", score, len(piece)) + piece)
    if not weights.exists():
        partial = weights.with_name(weights.name + ".partial")
        with partial.open("wb") as out:
            write_weights(model, out, int8=int8)
        partial.rename(weights)
    return weights, tokenizer
