"""From a run to files that others read: a Hugging Face folder, and GGUF for the engine.

The Hugging Face folder is a plain Llama, its weights in safetensors, with the tokenizer and the
chat template; transformers loads it as it is. The GGUF file is packed from that folder, so there
is one way into the engine, whoever trained the model.
"""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from cabinos.train.config import CRITIC, ModelConfig
from cabinos.train.errors import TrainError
from cabinos.train.hf import copy_description, hf_name
from cabinos.train.tokenizer import CHAT_TEMPLATE, END_OF_TEXT, TOOLS_SHOWN

if TYPE_CHECKING:
    from cabinos.engine.pack import PackReport
    from cabinos.train.model import Llama

__all__ = ["describe_hf", "export_gguf", "export_hf", "hf_config", "keep_description"]

CALL_MARGIN = 2.0  # nats: what nano declines better for, at no cost to what it does (docs/log.md)


def export_hf(model: "Llama", companion: Path, folder: Path) -> Path:
    """Write `model` as a Hugging Face folder in float32. Raises TrainError if it cannot.

    `companion`: its tokenizer.json, or a folder with all that goes beside the weights.
    """
    import safetensors.torch

    weights = {k: v for k, v in model.state_dict().items() if not k.startswith(CRITIC)}
    tensors = {hf_name(k): v.contiguous().cpu().float() for k, v in weights.items()}
    try:
        describe_hf(model.config, companion, folder)
        safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    except OSError as error:
        reason = error.strerror or error
        raise TrainError(f"{folder}: cannot be written ({reason}).") from None
    return folder


def describe_hf(config: ModelConfig, companion: Path, folder: Path) -> None:
    """Write what a Hugging Face folder has beside the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    if companion.is_dir():
        shutil.copytree(companion, folder, dirs_exist_ok=True)
        return
    shutil.copyfile(companion, folder / "tokenizer.json")
    _write_json(folder / "config.json", hf_config(config, _end_id(companion)))
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(config))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")


def keep_description(config: ModelConfig, companion: Path, folder: Path) -> None:
    """Make `folder` all that belongs to a model beside its weights, if it is not there yet.

    So a run keeps the template that it began with. `companion` is as in `export_hf`.
    """
    if folder.is_dir():
        return
    partial = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    if companion.is_dir():
        copy_description(companion, partial)
    else:
        describe_hf(config, companion, partial)
    partial.replace(folder)


def export_gguf(
    model: "Llama",
    companion: Path,
    output: Path,
    kind: str = "q8_0",
    *,
    name: str | None = None,
    assistant: bool = False,
) -> "PackReport":
    """Write `model` as one GGUF file of the type `kind` (f32, f16, q8_0, q4_0 and others).

    `companion` is as in `export_hf`. `assistant`: note in the file that the model was trained on
    conversations without a system prompt, and with how many tools, so that it is run alike.
    Raises TrainError, or EngineError if it cannot be packed.
    """
    from cabinos.engine.pack import pack

    facts: dict[str, Any] = {"cabin.tells_results": True} if assistant else {}
    if assistant:
        facts |= {"cabin.assistant": True, "cabin.tools_shown": TOOLS_SHOWN}
        facts |= {"cabin.call_margin": CALL_MARGIN}
    with TemporaryDirectory(prefix="cabin-export-") as folder:
        export_hf(model, companion, Path(folder))
        return pack(folder, output, kind, name=name or output.stem, metadata=facts)


def hf_config(config: ModelConfig, end: int) -> dict[str, Any]:
    """config.json for transformers' LlamaForCausalLM. `end`: the id of the end-of-text token."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "intermediate_size": config.inner,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head,
        "hidden_act": "silu",
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.eps,
        "rope_theta": config.theta,
        "rope_scaling": None,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": end,
        "eos_token_id": end,
        "torch_dtype": "float32",
    }


def _tokenizer_config(config: ModelConfig) -> dict[str, Any]:
    """A text begins behind an end-of-text token, as every document of the shards does."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": False,
        "model_max_length": config.context,
        "chat_template": CHAT_TEMPLATE,
    }


def _end_id(tokenizer: Path) -> int:
    from cabinos.train.tokenizer import open_tokenizer

    found = open_tokenizer(tokenizer).token_to_id(END_OF_TEXT)
    if found is None:
        raise TrainError(f"{tokenizer}: has no token {END_OF_TEXT}.")
    return int(found)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
