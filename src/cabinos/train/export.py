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

from cabinos.train.config import HEAD, ModelConfig
from cabinos.train.errors import TrainError
from cabinos.train.tokenizer import CHAT_TEMPLATE, END_OF_TEXT

if TYPE_CHECKING:
    from cabinos.engine.pack import PackReport
    from cabinos.train.model import Llama

__all__ = ["export_gguf", "export_hf", "hf_config", "load_run"]


def load_run(run: Path, weights: Path | None = None) -> "tuple[Llama, Path]":
    """The model of a run, by default its newest checkpoint, and its tokenizer.json.

    Raises TrainError if the folder holds no run, or a damaged one.
    """
    from cabinos.train import checkpoint
    from cabinos.train.model import Llama

    tokenizer = run / "tokenizer.json"
    try:
        shape = json.loads((run / "run.json").read_text(encoding="utf-8"))["model"]
        model = Llama(ModelConfig(**shape))
    except FileNotFoundError:
        raise TrainError(f"{run}: no run.json; give the folder of a training run.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise TrainError(f"{run / 'run.json'}: damaged ({error}).") from None
    path = weights or checkpoint.latest(run)
    if path is None:
        raise TrainError(f"{run}: no checkpoint yet.")
    if not tokenizer.is_file():
        raise TrainError(f"{tokenizer}: missing; copy the one that the run was trained with.")
    checkpoint.load_weights(path, model)
    return model, tokenizer


def export_hf(model: "Llama", tokenizer: Path, folder: Path) -> Path:
    """Write `model` as a Hugging Face folder in float32. Raises TrainError if it cannot."""
    import safetensors.torch

    tensors = {f"model.{k}": v.contiguous().cpu().float() for k, v in model.state_dict().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        shutil.copyfile(tokenizer, folder / "tokenizer.json")
        _write_json(folder / "config.json", hf_config(model.config, _end_id(tokenizer)))
        _write_json(folder / "tokenizer_config.json", _tokenizer_config(model.config))
        (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise TrainError(f"{folder}: cannot be written ({reason}).") from None
    return folder


def export_gguf(
    model: "Llama", tokenizer: Path, output: Path, kind: str = "q8_0", *, name: str | None = None
) -> "PackReport":
    """Write `model` as one GGUF file of the type `kind` (f32, f16, q8_0, q4_0 and others).

    Raises TrainError, or EngineError if it cannot be packed.
    """
    from cabinos.engine.pack import pack

    with TemporaryDirectory(prefix="cabin-export-") as folder:
        export_hf(model, tokenizer, Path(folder))
        return pack(folder, output, kind, name=name or output.stem)


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
        "head_dim": HEAD,
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
