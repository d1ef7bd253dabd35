"""From a Hugging Face folder of the Llama family to a model that can be trained on.

Llama, TinyLlama, SmolLM, Mistral and Qwen2: `config.json` is read by the code that packs such
folders for the engine, so both know the same models and refuse the same features.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import torch

from cabinos.train.config import ModelConfig
from cabinos.train.errors import TrainError
from cabinos.train.model import Llama

__all__ = ["copy_description", "hf_name", "load_hf"]

DESCRIPTION = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "vocab.json", "merges.txt",
)  # fmt: skip


def hf_name(name: str) -> str:
    """What Hugging Face calls one of our parameters."""
    return name if name.startswith("lm_head.") else f"model.{name}"


def load_hf(folder: Path, context: int, dtype: torch.dtype = torch.float32) -> Llama:
    """The model in `folder`, for rows of up to `context` tokens; weights in float32.

    `dtype`: of the activations. Raises TrainError for what is missing, damaged or not supported.
    """
    from cabinos.engine.errors import EngineError
    from cabinos.engine.pack.architecture import llama3_rope_factors, read_architecture
    from cabinos.engine.pack.source import open_source

    try:
        source = open_source(folder)
        found = read_architecture(source.config, has_head="lm_head.weight" in source.tensors)
        if found.qk_norm:
            raise TrainError(f"{folder}: a {found.hf_class} normalises its queries; such models "
                             "can be run, but not trained here.")  # fmt: skip
        longest = min(found.context_length, found.sliding_window or found.context_length)
        if context > longest:
            raise TrainError(f"{folder}: made for {longest} tokens, not {context}. "
                             f"Give --context {longest}.")  # fmt: skip
        config = ModelConfig(
            depth=found.layer_count,
            width=found.embedding_length,
            heads=found.head_count,
            kv_heads=found.kv_head_count,
            inner=found.feed_forward_length,
            vocabulary=found.vocab_size,
            context=context,
            theta=float(found.rope["rope_theta"]),
            eps=found.norm_epsilon,
            head=found.head_dim,
            tied=found.tied,
            biased="model.layers.0.self_attn.q_proj.bias" in source.tensors,
        )
        if found.rope["rope_type"] == "llama3":
            config = replace(config, divisors=tuple(map(float, llama3_rope_factors(found))))
        elif found.rope["rope_type"] == "linear":
            config = replace(config, divisors=(float(found.rope["factor"]),) * (config.head // 2))
        model = Llama(config, dtype)
        names = {hf_name(name): weight for name, weight in model.named_parameters()}
        with torch.no_grad():
            for name, weight in names.items():
                if name not in source.tensors:
                    raise TrainError(f"{folder}: tensor {name!r} is missing.")
                if (shape := tuple(source.tensors[name].shape)) != tuple(weight.shape):
                    raise TrainError(f"{folder}: tensor {name!r} has shape {list(shape)}; "
                                     f"config.json implies {list(weight.shape)}.")  # fmt: skip
                weight.copy_(torch.from_numpy(source.read(name)))
    except EngineError as error:
        raise TrainError(str(error)) from None
    ignored = ("rotary_emb.inv_freq", *(("lm_head.weight",) if config.tied else ()))
    if extra := [n for n in source.tensors if n not in names and not n.endswith(ignored)]:
        raise TrainError(f"{folder}: tensor {extra[0]!r} has no place in a plain Llama; the model "
                         "has a feature that is not supported.")  # fmt: skip
    return model


def copy_description(folder: Path, target: Path) -> None:
    """Copy what a folder has beside its weights. Raises TrainError if there is no config.json."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in DESCRIPTION:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, target / name)
        facts = json.loads((target / "config.json").read_text(encoding="utf-8"))
        facts.pop("torch_dtype", None)
        facts["dtype"] = "float32"  # in which trained weights are written
        (target / "config.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    except (OSError, ValueError, AttributeError) as error:
        raise TrainError(f"{folder}: no model folder ({error}).") from None
