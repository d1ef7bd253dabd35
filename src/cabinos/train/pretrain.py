"""Stage 1: a base model, which dreams documents."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from cabinos.train import checkpoint
from cabinos.train.batches import Batch, Batches
from cabinos.train.checkpoint import Progress
from cabinos.train.config import ModelConfig, RunConfig
from cabinos.train.evaluate import bits_per_byte, token_lengths
from cabinos.train.hardware import Machine, Processes, matrix_peak
from cabinos.train.loop import Run
from cabinos.train.model import Llama
from cabinos.train.optimizer import make_optimizers
from cabinos.train.session import Options, check_same, conduct

__all__ = ["Options", "open_run", "pretrain"]


def pretrain(
    config: RunConfig,
    data: Path,
    out: Path,
    options: Options | None = None,
    shape: ModelConfig | None = None,
) -> Run:
    """Train a base model into the folder `out`, going on from its last checkpoint if it has one.

    `shape`: another than what the depth gives (scaling laws need sizes between).

    Raises TrainError, CorpusError or NotANumber, each with what to do.
    """
    return conduct(
        lambda machine, group: open_run(config, data, out, machine, group, shape),
        options or Options(),
        measure="bits per byte",
    )


class _Texts:
    """The batches of a run, whose rows get longer towards its end."""

    def __init__(self, batches: Batches, config: RunConfig) -> None:
        self._batches, self._config = batches, config
        self.taken = batches.taken

    def batch(self, step: int) -> Batch:
        """The batch of update `step`."""
        context = self._config.context_at(step)
        batch = self._batches.next(self._config.batch_tokens // context, context)
        return replace(batch, micro_tokens=self._config.micro_tokens)


def open_run(
    config: RunConfig,
    data: Path,
    out: Path,
    machine: Machine,
    group: Processes,
    shape: ModelConfig | None = None,
) -> Run:
    """A run that is ready to go on, from `out`'s last checkpoint or from fresh weights.

    Raises TrainError if `out` holds a run with another configuration.
    """
    lengths = token_lengths(data)
    shape = shape or ModelConfig.from_depth(
        config.depth,
        vocabulary=len(lengths),
        context=max(config.context, config.long_context),
    )
    facts = asdict(config)
    check_same(out, facts, parameters=shape.parameters)
    torch.manual_seed(config.seed)
    model = Llama(shape, machine.dtype)
    model.initialize(torch.Generator().manual_seed(config.seed))
    model.to(machine.device)
    optimizers = make_optimizers(model, config)
    progress = Progress(0, {}, 0.0, facts)
    batches = Batches(data, config.mix)
    if (path := checkpoint.latest(out)) is not None:
        progress = checkpoint.load(path, model, optimizers)
        batches.taken.update(progress.taken)
    if group.rank == 0:
        _describe(out, facts, shape, data)
    peak = matrix_peak(machine) * group.count
    run = Run(
        config, out, machine, group, model, optimizers, _Texts(batches, config),
        lambda: bits_per_byte(model, data, context=config.context, tokens=run.test_tokens),
        lengths, peak, progress,
    )  # fmt: skip
    return run


def _describe(out: Path, facts: dict[str, Any], shape: ModelConfig, data: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(data / "tokenizer.json", out / "tokenizer.json")
    index = json.loads((data / "shards" / "index.json").read_text(encoding="utf-8"))
    description = {"run": facts, "model": asdict(shape), "parameters": shape.parameters,
                   "data": index}  # fmt: skip
    (out / "run.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
