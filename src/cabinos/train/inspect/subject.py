"""What is looked into: a model in torch, and the words of its tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cabinos.engine.errors import EngineError
from cabinos.engine.gguf import GGUFFile, read_gguf
from cabinos.engine.pack.quantize import decode
from cabinos.engine.tokenizer import Tokenizer
from cabinos.train.config import ModelConfig
from cabinos.train.errors import TrainError
from cabinos.train.model import Llama
from cabinos.train.saved import load_base, load_run

__all__ = ["Subject", "open_subject"]

CONTEXT = 1024  # tokens that can be looked at, at most
NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # ours → GGUF's (llama.cpp, gguf-py/gguf/constants.py)


@dataclass(frozen=True)
class Subject:
    """A model and its words."""

    name: str
    model: Llama
    encode: Callable[[str], list[int]]  # a text that begins a document
    word: Callable[[int], str]
    gguf: GGUFFile | None = None

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text. Raises TrainError if they are too few or too many."""
        ids = self.encode(text)
        if not 2 <= len(ids) <= self.model.config.context:
            raise TrainError(f"the text has {len(ids)} tokens; from 2 to "
                             f"{self.model.config.context} can be looked at.")  # fmt: skip
        return ids

    def chat(self, request: str, tools: Sequence[dict[str, Any]]) -> list[int]:
        """The tokens of a conversation that begins with `request`, up to the answer.

        Raises TrainError for a model whose file has no chat template.
        """
        from cabinos.engine.chat_template import ChatTemplate

        if self.gguf is None or "tokenizer.chat_template" not in self.gguf.metadata:
            raise TrainError(f"{self.name}: no chat template; give the GGUF file of an assistant.")
        template = ChatTemplate.from_gguf(self.gguf)
        return template.encode_chat([{"role": "user", "content": request}], tools=tools)


def open_subject(path: Path) -> Subject:
    """The model of a training run's folder, a Hugging Face folder or a GGUF file, in float32.

    Raises TrainError if it is none of these, damaged, or not a plain Llama.
    """
    if path.is_file():
        try:
            return _from_gguf(path)
        except EngineError as error:
            raise TrainError(str(error)) from None
    if (path / "run.json").is_file():
        model, companion = load_run(path)
    elif path.is_dir():
        model, companion = load_base(path, _context(path))
    else:
        raise TrainError(f"{path}: no such run, folder or GGUF file.")
    words = companion / "tokenizer.json" if companion.is_dir() else companion
    return Subject(str(path), model.eval(), *_words(words))


def _context(folder: Path) -> int:
    from cabinos.engine.pack.source import read_json

    try:
        return min(int(read_json(folder / "config.json")["max_position_embeddings"]), CONTEXT)
    except (EngineError, KeyError, TypeError, ValueError) as error:
        raise TrainError(f"{folder}: no model folder ({error}).") from None


def _words(path: Path) -> tuple[Callable[[str], list[int]], Callable[[int], str]]:
    from cabinos.train.tokenizer import END_OF_TEXT, open_tokenizer

    tokenizer = open_tokenizer(path)
    begin = tokenizer.token_to_id(END_OF_TEXT)

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text).ids
        marked = ids != tokenizer.encode(text, add_special_tokens=False).ids
        return ids if marked or begin is None else [begin, *ids]

    def word(token: int) -> str:
        return str(tokenizer.decode([token], skip_special_tokens=False))

    return encode, word


# ---- GGUF ----------------------------------------------------------------------------------------


def _from_gguf(path: Path) -> Subject:
    file = read_gguf(path)
    kind = str(file.metadata.get("general.architecture", "llama"))
    if kind not in ("llama", "qwen2"):
        raise TrainError(f"{path}: a model of kind {kind!r}; a plain Llama or Qwen2 can be looked "
                         "into.")  # fmt: skip
    model = Llama(_config(file, kind))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            values = _tensor(file, _gguf_name(name))
            if kind == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
                values = _halves(values, len(values) // model.config.head)
            if values.shape != tuple(weight.shape):
                raise TrainError(f"{path}: tensor of {name} has shape {list(values.shape)}, not "
                                 f"{list(weight.shape)}.")  # fmt: skip
            weight.copy_(torch.tensor(values))
    tokenizer = Tokenizer.from_gguf(file)
    begin = tokenizer.bos_id if tokenizer.bos_id is not None else tokenizer.eos_id

    def encode(text: str) -> list[int]:
        ids = tokenizer.encode(text)
        return ids if begin is None or ids[:1] == [begin] else [begin, *ids]

    def word(token: int) -> str:
        return tokenizer.token_bytes(token).decode(errors="replace")

    return Subject(str(path), model.eval(), encode, word, file)


def _config(file: GGUFFile, kind: str) -> ModelConfig:
    def value(name: str, missing: float | None = None) -> float:
        found = file.metadata.get(f"{kind}.{name}", missing)
        if not isinstance(found, int | float):
            raise TrainError(f"{file.path}: {kind}.{name} is missing; pack the model again.")
        return found

    heads, width = int(value("attention.head_count")), int(value("embedding_length"))
    head = int(value("attention.key_length", width // heads))
    divisors: Sequence[float] = ()
    if "rope_freqs.weight" in file.tensors:
        divisors = _tensor(file, "rope_freqs.weight").tolist()
    elif file.metadata.get(f"{kind}.rope.scaling.type") == "linear":
        divisors = (value("rope.scaling.factor"),) * (head // 2)
    return ModelConfig(
        depth=int(value("block_count")),
        width=width,
        heads=heads,
        kv_heads=int(value("attention.head_count_kv", heads)),
        inner=int(value("feed_forward_length")),
        vocabulary=file.tensors["token_embd.weight"].shape[0],
        context=min(int(value("context_length")), CONTEXT),
        theta=value("rope.freq_base", 10_000.0),
        eps=value("attention.layer_norm_rms_epsilon"),
        head=head,
        tied="output.weight" not in file.tensors,
        biased="blk.0.attn_q.bias" in file.tensors,
        divisors=divisors,
    )


def _gguf_name(name: str) -> str:
    if name.startswith("layers."):
        _, layer, rest = name.split(".", 2)
        part, _, what = rest.rpartition(".")
        return f"blk.{layer}.{NAMES[part]}.{what}"
    whole = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}
    part, _, what = name.rpartition(".")
    return f"{whole[part]}.{what}"


def _tensor(file: GGUFFile, name: str) -> NDArray[np.float32]:
    if name not in file.tensors:
        raise TrainError(f"{file.path}: tensor {name!r} is missing; pack the model again.")
    found = file.tensors[name]
    return decode(file.data(name), found.type, found.shape)


def _halves(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Undo `permute_heads`: rotated pairs are neighbours in GGUF, halves apart here."""
    paired = weight.reshape(heads, weight.shape[0] // heads // 2, 2, *weight.shape[1:])
    return np.ascontiguousarray(paired.swapaxes(1, 2).reshape(weight.shape))
