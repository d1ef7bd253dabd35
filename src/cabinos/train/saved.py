"""Models on the disk: what a run has made, and what another run can begin from."""

import hashlib
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from cabinos.train import checkpoint, lora
from cabinos.train.config import ModelConfig, TuneConfig
from cabinos.train.errors import TrainError
from cabinos.train.hf import load_hf
from cabinos.train.model import Llama

__all__ = ["load_base", "load_run", "read_run", "weights_hash"]


def load_run(run: Path, weights: Path | None = None) -> tuple[Llama, Path]:
    """The model of a run, by default its newest checkpoint, and what belongs to it.

    That is its tokenizer.json or, of a run on conversations, the folder with all that is exported
    beside the weights. Adapters are merged. Raises TrainError if the folder holds no run, or a
    damaged one.
    """
    facts = read_run(run)
    if facts.get("stage") == "reward":
        raise TrainError(f"{run}: a reward model. It scores answers and cannot give any; see "
                         "`cabin prefer test`.")  # fmt: skip
    try:
        shape = ModelConfig(**facts["model"])
        tuned = _tuned(facts["run"]) if "base" in facts else None
    except (KeyError, TypeError) as error:
        raise TrainError(f"{run / 'run.json'}: damaged ({error}).") from None
    path = weights or checkpoint.latest(run)
    if path is None:
        raise TrainError(f"{run}: no checkpoint yet.")
    companion = run / ("hf" if tuned else "tokenizer.json")
    if not companion.exists():
        raise TrainError(f"{companion}: missing; copy the one that the run was trained with.")
    if tuned is not None and tuned.rank:
        base = Path(facts["base"])
        if weights_hash(base) != facts["base_weights"]:
            raise TrainError(f"{base}: not the weights that the adapters of {run} were made for.")
        model, _ = load_base(base, shape.context)
        lora.adapt(model, tuned, torch.Generator())
        checkpoint.load_weights(path, model)
        lora.merge(model)
    else:
        model = Llama(shape)
        checkpoint.load_weights(path, model)
    return model, companion


def _tuned(facts: dict[str, Any]) -> TuneConfig:
    """What a run of stage 2 or 3 was; what only stage 3 has in it says nothing of the weights."""
    known = {field.name for field in fields(TuneConfig)}
    return TuneConfig(**{key: value for key, value in facts.items() if key in known})


def read_run(run: Path) -> dict[str, Any]:
    """What run.json says. Raises TrainError if it is missing or damaged."""
    try:
        facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
        if not isinstance(facts["model"], dict):
            raise ValueError("no model")
    except FileNotFoundError:
        raise TrainError(f"{run}: no run.json; give the folder of a training run.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise TrainError(f"{run / 'run.json'}: damaged ({error}).") from None
    found: dict[str, Any] = facts
    return found


def load_base(base: Path, context: int) -> tuple[Llama, Path]:
    """The model in a run's folder, or a Hugging Face folder, for rows of `context` tokens.

    With what belongs to it, as in `load_run`. Raises TrainError.
    """
    if not (base / "run.json").is_file():
        return load_hf(base, context), base
    trained, companion = load_run(base)
    if context <= trained.config.context:
        return trained, companion
    model = Llama(replace(trained.config, context=context))
    model.load_state_dict(trained.state_dict())
    return model, companion


def weights_hash(base: Path) -> str:
    """SHA-256 of the weights that a base stands for. Raises TrainError if there are none."""
    newest = checkpoint.latest(base) if (base / "run.json").is_file() else None
    files = [newest] if newest is not None else sorted(base.glob("*.safetensors"))
    if not files:
        raise TrainError(f"{base}: no weights; give the folder of a training run, or a Hugging "
                         "Face folder with safetensors.")  # fmt: skip
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
