"""What every run of stage 3 begins with: a model, how it speaks, and where the run stands."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist

from cabinos.train import checkpoint, lora
from cabinos.train.checkpoint import Progress
from cabinos.train.config import TuneConfig
from cabinos.train.export import keep_description
from cabinos.train.hardware import Machine, Processes
from cabinos.train.optimizer import NOTHING, make_optimizers
from cabinos.train.row_batches import padded
from cabinos.train.rows import Speech, open_speech
from cabinos.train.saved import load_base, weights_hash
from cabinos.train.session import check_same

if TYPE_CHECKING:
    from cabinos.train.model import Llama

__all__ = ["Account", "begin", "first", "open_policy"]

T = TypeVar("T")


def first(group: Processes, make: Callable[[], T]) -> T:
    """What `make` makes, by the first process, and then by the others, who find its files there."""
    made = [make()] if group.rank == 0 else []
    if group.count > 1:
        dist.barrier()
    return made[0] if made else make()


def open_policy(
    base: Path, context: int, out: Path, machine: Machine, group: Processes
) -> tuple["Llama", Speech]:
    """The model that a run begins with, and how it writes conversations.

    `base` is the folder of a run or a Hugging Face folder; what belongs to it is copied to
    `out`/hf, so that the result can be exported, and begin another run. Raises TrainError.
    """
    model, companion = load_base(base, padded(context))
    model.dtype = machine.dtype

    def speech() -> Speech:
        keep_description(model.config, companion, out / "hf")
        return open_speech(out / "hf")

    return model, first(group, speech)


@dataclass(frozen=True)
class Account:
    """What run.json says of a run, beside its configuration and its model."""

    stage: str
    base: Path
    data: Mapping[str, Any]  # only noted
    identity: Mapping[str, str]  # a run that goes on has to have the same


def begin(
    account: Account,
    model: "Llama",
    config: TuneConfig,
    out: Path,
    group: Processes,
    trained: Sequence[torch.nn.Parameter] = (),
    apart: Mapping[str, float] = NOTHING,
) -> tuple[list[torch.optim.Optimizer], Progress]:
    """The optimizers of a run and how far it is, with everything restored if it goes on.

    With adapters (`config.rank`), they learn, and of the model itself only `trained`. `apart` is as
    in `make_optimizers`. Raises TrainError if `out` holds another run.
    """
    facts = json.loads(json.dumps(asdict(config)))  # lists, as they are read again
    weights = weights_hash(account.base)
    same = {"stage": account.stage, "base_weights": weights, **account.identity}
    check_same(out, facts, **same)
    torch.manual_seed(config.seed)
    if config.rank:
        lora.adapt(model, config, torch.Generator().manual_seed(config.seed))
        model.to(next(iter(model.buffers())).device)
        for weight in trained:
            weight.requires_grad_(True)
    optimizers = make_optimizers(model, config, apart)
    progress = Progress(0, {}, 0.0, facts)
    if (path := checkpoint.latest(out)) is not None:
        progress = checkpoint.load(path, model, optimizers)
    if group.rank == 0:
        described = {"run": facts, "model": asdict(model.config)}
        described |= {"base": str(account.base.resolve()), **same, "data": account.data}
        (out / "run.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    return optimizers, progress
