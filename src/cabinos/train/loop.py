"""The training loop: forward, backward, update, and what makes it safe to kill at any time."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from cabinos.train import checkpoint
from cabinos.train.checkpoint import Progress
from cabinos.train.config import RunConfig, TuneConfig, schedule
from cabinos.train.errors import NotANumber, TrainError
from cabinos.train.hardware import Machine, Processes
from cabinos.train.metrics import Metrics, Watcher
from cabinos.train.model import Llama
from cabinos.train.optimizer import set_rates

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Batch", "Run", "Stream", "train"]


class Batch(Protocol):
    """What one update learns from; `str` of it says where to find its texts."""

    @property
    def count(self) -> int:
        """What the loss is a mean over: tokens, pairs or answers, over all processes."""
        ...

    @property
    def targets(self) -> "NDArray[np.int64]":
        """The tokens that are learnt, over all processes: [targets]."""
        ...

    @property
    def seen(self) -> int:
        """Tokens that go through the model."""
        ...

    @property
    def context(self) -> float:
        """The length of a row, on average."""
        ...

    def parts(self, rank: int = 0, count: int = 1) -> Sequence[Any]:
        """What process `rank` of `count` takes of it.

        Each is a dataclass of arrays: the arguments of the module that is trained, in order.
        """
        ...


class Stream(Protocol):
    """Batches, one after the other."""

    taken: dict[str, int]
    """Tokens taken so far, by domain: what is to be known to go on from here."""

    def batch(self, step: int) -> Batch:
        """The batch of update `step`, which counts from 0; to be asked for in order."""
        ...


@dataclass
class Run:
    """All that one run consists of."""

    config: RunConfig | TuneConfig
    out: Path
    machine: Machine
    processes: Processes
    model: Llama
    optimizers: list[torch.optim.Optimizer]
    stream: Stream
    evaluate: Callable[[], dict[str, float]]  # on what is held out
    lengths: "NDArray[np.int64] | None"  # bytes of each token; None: the loss is none of texts
    peak: float  # floating-point operations a second, all processes together
    progress: Progress
    save_every: float = 300.0  # seconds
    test_every: int = 250  # updates
    test_tokens: int = 16_384  # of each domain, at an evaluation on texts
    snapshots: bool = True  # keep the weights after updates 1, 2, 4, 8, …
    objective: torch.nn.Module | None = None  # has the model in it, and gives the loss for it


def train(run: Run, watchers: Sequence[Watcher], *, until: int | None = None) -> None:
    """Go on with `run` to its end, or to update `until`.

    Raises NotANumber if the loss is none, TrainError if memory or disk run out.
    """
    last = run.config.steps if until is None else min(until, run.config.steps)
    first = run.processes.rank == 0
    forward = _parallel(run)
    saved = time.monotonic()
    while run.progress.step < last:
        step = run.progress.step
        begin = time.perf_counter()
        batch = run.stream.batch(step)
        loss, norm = _update(run, forward, step, batch)
        seconds = time.perf_counter() - begin
        run.progress.step = step + 1
        run.progress.seconds += seconds
        run.progress.taken = dict(run.stream.taken)
        metrics = _describe(run, step, batch, loss, norm, seconds)
        if not first:
            continue
        for watcher in watchers:
            watcher.update(metrics)
        if run.snapshots:
            _keep_snapshot(run)
        over = run.progress.step == last
        if run.progress.step % run.test_every == 0 or over:
            held_out = run.evaluate()
            for watcher in watchers:
                watcher.evaluated(run.progress.step, held_out)
        if over or time.monotonic() - saved > run.save_every:
            checkpoint.save(run.out, run.model, run.optimizers, run.progress)
            saved = time.monotonic()


Forward = Callable[..., Tensor]


def _parallel(run: Run) -> "Forward | torch.nn.parallel.DistributedDataParallel":
    """What gives the loss, wrapped so that gradients are averaged if several processes train it."""
    module = run.objective or run.model
    if run.processes.count == 1:
        return module
    devices = [run.machine.device] if run.machine.device.type == "cuda" else None
    return torch.nn.parallel.DistributedDataParallel(module, device_ids=devices)


def _update(run: Run, forward: "Forward", step: int, batch: Batch) -> tuple[float, float]:
    """One update. Returns the loss (on average, see `Batch.count`) and the gradient's norm."""
    parts = batch.parts(run.processes.rank, run.processes.count)
    count = max(1, batch.count)  # over all processes
    set_rates(run.optimizers, schedule(step, run.config))
    total = torch.zeros((), device=run.machine.device)
    try:
        for index, part in enumerate(parts):
            # Averaging over processes divides by their number: multiply it in again.
            share = run.processes.count / count
            with _without_sync(forward, index < len(parts) - 1):
                loss = forward(*_on(run.machine.device, part))
                (loss * share).backward()
            total += loss.detach() / count
        if run.processes.count > 1:
            dist.all_reduce(total)
        value, norm = total.item(), _norm(run.model)
        _check_number(value, norm, step, batch)
        for optimizer in run.optimizers:
            optimizer.step()
    except (torch.OutOfMemoryError, MemoryError):
        raise _out_of_memory(run) from None
    except RuntimeError as error:
        if "can't allocate memory" in str(error) or "not enough memory" in str(error):
            raise _out_of_memory(run) from None
        raise
    run.model.zero_grad()
    return value, norm


def _on(device: torch.device, part: Any) -> tuple[Tensor | None, ...]:
    arrays = (getattr(part, field.name) for field in fields(part))
    return tuple(None if a is None else torch.from_numpy(a).to(device) for a in arrays)


def _without_sync(forward: "Forward", wanted: bool) -> "nullcontext[None]":
    """Gradients are exchanged once an update, with the last part of the batch."""
    if wanted and isinstance(forward, torch.nn.parallel.DistributedDataParallel):
        skipped: nullcontext[None] = forward.no_sync()
        return skipped
    return nullcontext()


def _norm(model: Llama) -> float:
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


def _check_number(loss: float, norm: float, step: int, batch: Batch) -> None:
    if math.isfinite(loss) and math.isfinite(norm):
        return
    what = "loss" if not math.isfinite(loss) else "gradient"
    raise NotANumber(
        f"update {step + 1}: the {what} is not a number. Nothing was changed by this update; the "
        f"last checkpoint is good. The batch (domain@token): {batch}. Start again from the "
        "checkpoint with lower learning rates, or look at these texts."
    )


def _out_of_memory(run: Run) -> TrainError:
    return TrainError(
        f"out of memory on {run.machine.device} with {run.config.micro_tokens} tokens at once. "
        "Lower --micro-tokens or --context, or take a smaller model."
    )


def _describe(
    run: Run, step: int, batch: Batch, loss: float, norm: float, seconds: float
) -> Metrics:
    count = len(batch.targets)
    flops = batch.seen * run.model.config.flops_per_token(batch.context, count / batch.seen)
    # A third of all work is for the gradients of weights, which frozen ones have none of.
    weights = [(p.numel(), p.requires_grad) for p in run.model.parameters()]
    flops *= (2 + sum(n for n, trained in weights if trained) / sum(n for n, _ in weights)) / 3
    bits = None
    if run.lengths is not None:
        size = int(run.lengths[batch.targets].sum())
        bits = loss * count / math.log(2) / max(size, 1)
    return Metrics(
        step=step + 1,
        tokens=sum(run.progress.taken.values()),
        loss=loss,
        bits_per_byte=bits,
        rate=schedule(step, run.config),
        norm=norm,
        tokens_per_second=batch.seen / seconds,
        utilisation=flops / seconds / run.peak,
        seconds=run.progress.seconds,
    )


def _keep_snapshot(run: Run) -> None:
    """Weights at updates 1, 2, 4, 8, …, to see later when what was learned."""
    step = run.progress.step
    if step & (step - 1) == 0:
        checkpoint.save_weights(run.out / "snapshots" / f"{step:08d}.safetensors", run.model)
