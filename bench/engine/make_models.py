"""Random-weight GGUF models: no download, the same bits on every machine.

    python bench/engine/make_models.py --out models --shapes 30M 135M --types F16 Q8_0 Q4_0
    python bench/engine/make_models.py --shapes 1.1B --types Q4_K_M --llama-quantize PATH

A speed depends on shapes and formats, not on what the weights say. F32, F16, BF16, Q8_0 and Q4_0
are written here, every matrix in the one type ("pure", so two engines read identical bits). The
K-quants need llama.cpp's `llama-quantize`, whose path the user gives: Q4_K, Q5_K and Q6_K are pure,
Q4_K_M and Q5_K_M are its usual mixtures. A file that exists is left alone; an interrupted run
leaves only a ".partial" behind.
"""

import argparse
import itertools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

WRITTEN_HERE = ("F32", "F16", "BF16", "Q8_0", "Q4_0")
BY_LLAMA_QUANTIZE = {  # our name -> (llama-quantize's name, pure)
    "Q4_K": ("Q4_K_M", True),
    "Q5_K": ("Q5_K_M", True),
    "Q6_K": ("Q6_K", True),
    "Q4_K_M": ("Q4_K_M", False),
    "Q5_K_M": ("Q5_K_M", False),
}


@dataclass(frozen=True)
class Shape:
    """A Llama model's sizes; head size is `dim / heads`."""

    dim: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    vocab: int
    tied: bool
    rope_base: float
    context: int = 2048


SHAPES = {
    "30M": Shape(512, 8, 8, 4, 1536, 8192, True, 1e4),
    "135M": Shape(576, 30, 9, 3, 1536, 49152, True, 1e5),  # SmolLM2-135M's
    "1.1B": Shape(2048, 22, 32, 4, 5632, 32000, False, 1e4),  # TinyLlama's
}


def spm_vocabulary(size: int) -> tuple[list[str], list[float], list[int]]:
    """Tokens, scores and types of a SentencePiece vocabulary of `size` pieces.

    The words over a..z, with or without a leading space mark, come in order of length, so that both
    halves of every merge are tokens themselves and real merging happens.
    """
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    types = [2, 3, 3] + [6] * 256  # unknown, control, control, byte
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = (
        "".join(word)
        for length in itertools.count(1)
        for word in itertools.product("\u2581" + letters, *[letters] * (length - 1))
    )
    tokens += itertools.islice(words, size - len(tokens))
    scores = [0.0] * 259 + [-float(i) for i in range(size - 259)]
    return tokens, scores, types + [1] * (size - 259)


def matrices(shape: Shape, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """All tensors in file order: float16 matrices [out, in], and float32 norm weights of ones.

    Matrices are normal with variance 1/in; the two that write to the residual stream are divided by
    sqrt(2 * layers), as in GPT-2, so that activations keep their size at any depth.
    """
    rng = np.random.default_rng(seed)

    def normal(rows: int, columns: int, scale: float) -> np.ndarray:
        return (rng.standard_normal((rows, columns), dtype=np.float32) * scale).astype(np.float16)

    dim, ffn, residual = shape.dim, shape.ffn, (2 * shape.layers) ** -0.5
    kv_dim = dim // shape.heads * shape.kv_heads
    ones = np.ones(dim, np.float32)
    yield "token_embd", normal(shape.vocab, dim, 0.1)
    yield "output_norm", ones
    if not shape.tied:
        yield "output", normal(shape.vocab, dim, dim**-0.5)
    for layer in range(shape.layers):
        block = f"blk.{layer}."
        yield block + "attn_norm", ones
        yield block + "ffn_norm", ones
        yield block + "attn_q", normal(dim, dim, dim**-0.5)
        yield block + "attn_k", normal(kv_dim, dim, dim**-0.5)
        yield block + "attn_v", normal(kv_dim, dim, dim**-0.5)
        yield block + "attn_output", normal(dim, dim, dim**-0.5 * residual)
        yield block + "ffn_gate", normal(ffn, dim, dim**-0.5)
        yield block + "ffn_up", normal(ffn, dim, dim**-0.5)
        yield block + "ffn_down", normal(dim, ffn, ffn**-0.5 * residual)


def describe(writer: Any, name: str, shape: Shape) -> None:
    """Write the metadata a Llama GGUF needs, tokenizer included."""
    writer.add_name(name)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.dim)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_rope_dimension_count(shape.dim // shape.heads)
    writer.add_vocab_size(shape.vocab)
    tokens, scores, types = spm_vocabulary(shape.vocab)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)


def write_gguf(path: Path, name: str, type_name: str, seed: int) -> None:
    """Write shape `name` as `path`, its matrices all of `type_name` (one of WRITTEN_HERE)."""
    import gguf

    kind = gguf.GGMLQuantizationType[type_name]
    file_type = "ALL_F32" if type_name == "F32" else f"MOSTLY_{type_name}"
    partial = path.with_name(path.name + ".partial")
    writer = gguf.GGUFWriter(str(partial), "llama")
    describe(writer, name, SHAPES[name])
    writer.add_file_type(gguf.LlamaFileType[file_type])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for tensor, values in matrices(SHAPES[name], seed):
        if values.ndim == 2:
            blocks = gguf.quants.quantize(values.astype(np.float32), kind)
            writer.add_tensor(f"{tensor}.weight", blocks, raw_dtype=kind)
        else:
            writer.add_tensor(f"{tensor}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.rename(path)


def make(
    out: Path, name: str, type_name: str, llama_quantize: str | None = None, seed: int = 1
) -> Path:
    """Make `out/NAME-TYPE.gguf` unless it exists, and return its path.

    Raises ValueError for a K-quant without `llama_quantize`, and CalledProcessError if that fails.
    """
    path = out / f"{name}-{type_name}.gguf"
    if path.exists():
        return path
    out.mkdir(parents=True, exist_ok=True)
    if type_name in WRITTEN_HERE:
        write_gguf(path, name, type_name, seed)
        return path
    if llama_quantize is None:
        raise ValueError(f"{type_name} needs llama.cpp's quantizer: give --llama-quantize PATH")
    source = make(out, name, "F16", seed=seed)
    their_name, pure = BY_LLAMA_QUANTIZE[type_name]
    partial = path.with_name(path.name + ".partial")
    command = [llama_quantize, *(["--pure"] if pure else []), str(source), str(partial), their_name]
    subprocess.run(command, check=True, capture_output=True, text=True)
    partial.rename(path)
    return path


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("models"), help="folder for the files")
    parser.add_argument("--shapes", nargs="+", default=["30M"], choices=SHAPES)
    types = [*WRITTEN_HERE, *BY_LLAMA_QUANTIZE]
    parser.add_argument("--types", nargs="+", default=["F16", "Q8_0", "Q4_0"], choices=types)
    parser.add_argument(
        "--llama-quantize", metavar="PATH", help="llama.cpp's quantizer, for K-quants"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for name, type_name in itertools.product(options.shapes, options.types):
        try:
            path = make(options.out, name, type_name, options.llama_quantize, options.seed)
        except (ValueError, OSError) as error:
            print(f"make_models: {error}", file=sys.stderr)
            return 1
        except subprocess.CalledProcessError as error:
            print(
                f"make_models: {' '.join(error.cmd)} failed:\n{error.stderr[-2000:]}",
                file=sys.stderr,
            )
            return 1
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
