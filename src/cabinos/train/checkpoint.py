"""Checkpoints from which a run goes on bit for bit, however it ended.

A checkpoint is one safetensors file: weights (of an adapted model, the adapters alone), the
optimizers' tensors, the random states; the rest (step, position in the data, the run's
configuration) is JSON in its header. It is written beside its final name, flushed to the disk and
renamed, so that a crash or a full disk leaves the one before it untouched.
"""

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cabinos.train.config import CRITIC
from cabinos.train.errors import TrainError
from cabinos.train.model import Llama

__all__ = ["Progress", "latest", "load", "load_weights", "save", "save_weights"]

KEPT = 2
PREFIX = "step-"


@dataclass
class Progress:
    """How far a run has come."""

    step: int  # updates done
    taken: dict[str, int]  # tokens from each domain
    seconds: float  # spent training, over all starts
    run: dict[str, Any]  # the configuration; a run must go on with the same


def latest(folder: Path) -> Path | None:
    """The newest checkpoint in `folder`, if there is one."""
    return max(folder.glob(f"{PREFIX}*.safetensors"), default=None)


def save(
    folder: Path, model: Llama, optimizers: list[torch.optim.Optimizer], progress: Progress
) -> Path:
    """Write a checkpoint and drop the ones before the last. Raises TrainError if it cannot."""
    tensors = _trained(model)
    numbers: dict[str, float] = {}
    for name, value in _optimizer_state(optimizers):
        if isinstance(value, Tensor):
            tensors[name] = value
        else:
            numbers[name] = value
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    path = folder / f"{PREFIX}{progress.step:08d}.safetensors"
    _write(path, tensors, {"progress": json.dumps(vars(progress)), "numbers": json.dumps(numbers)})
    for old in sorted(folder.glob(f"{PREFIX}*.safetensors"))[:-KEPT]:
        old.unlink()
    return path


def load(path: Path, model: Llama, optimizers: list[torch.optim.Optimizer]) -> Progress:
    """Restore everything from `path`. Raises TrainError if it is damaged or does not fit."""
    tensors, header = _read(path)
    try:
        progress = Progress(**json.loads(header["progress"]))
        numbers = json.loads(header["numbers"])
        _restore_weights(model, tensors)
        for index, optimizer in enumerate(optimizers):
            _restore(optimizer, _part(tensors | numbers, f"optimizer.{index}."))
        torch.set_rng_state(tensors["random.cpu"])
        if torch.cuda.is_available() and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"])
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise TrainError(
            f"{path}: does not fit this run ({error}). Give another --out, or remove the file to "
            "go on from the checkpoint before it."
        ) from None
    return progress


def save_weights(path: Path, model: Llama) -> None:
    """Write the weights alone. Raises TrainError if they cannot be written."""
    _write(path, _trained(model), {})


def load_weights(path: Path, model: Llama) -> None:
    """Read the weights from a checkpoint or from what `save_weights` wrote; a critic stays out."""
    tensors, _ = _read(path)
    tensors = {k: v for k, v in tensors.items() if not k.startswith(f"model.{CRITIC}")}
    try:
        _restore_weights(model, tensors)
    except RuntimeError as error:
        raise TrainError(f"{path}: the weights do not fit the model ({error}).") from None


def _trained(model: Llama) -> dict[str, Tensor]:
    """The weights that change: all of them, or the adapters of a frozen model."""
    return {f"model.{k}": p.detach() for k, p in model.named_parameters() if p.requires_grad}


def _restore_weights(model: Llama, tensors: dict[str, Tensor]) -> None:
    weights, trained = _part(tensors, "model."), _part(_trained(model), "model.")
    if different := sorted(weights.keys() ^ trained.keys()):
        raise RuntimeError(f"{different[0]!r} is only in one of both")
    model.load_state_dict(weights, strict=False)


def _part(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}


def _optimizer_state(
    optimizers: list[torch.optim.Optimizer],
) -> Iterator[tuple[str, Tensor | float]]:
    """`optimizer.<which>.<parameter>.<name>`, value; parameters by their place in the groups."""
    for index, optimizer in enumerate(optimizers):
        for place, parameter in enumerate(_parameters(optimizer)):
            for name, value in optimizer.state.get(parameter, {}).items():
                yield f"optimizer.{index}.{place}.{name}", value


def _restore(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    parameters = _parameters(optimizer)
    optimizer.state.clear()
    for key, value in state.items():
        place, name = key.split(".")
        weight = parameters[int(place)]
        moved = value.to(weight.device) if isinstance(value, Tensor) else value
        optimizer.state[weight][name] = moved


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _write(path: Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    import safetensors.torch

    partial = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        data = safetensors.torch.save({k: v.contiguous() for k, v in tensors.items()}, header)
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        partial.unlink(missing_ok=True)
        problem = error.strerror or str(error)
        if error.errno == errno.ENOSPC:
            problem = "the disk is full; free space and start the same command again"
        raise TrainError(
            f"{path}: the checkpoint cannot be written ({problem}). The one before it is whole."
        ) from None


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise TrainError(
            f"{path}: cannot be read ({error}). Remove it to go on from the checkpoint before it."
        ) from None
