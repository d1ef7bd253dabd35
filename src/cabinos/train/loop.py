"""The training loop: forward, backward, update, and what makes it safe to kill at any time."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from cabinos.train import checkpoint
from cabinos.train.batches import Batch, Batches
from cabinos.train.checkpoint import Progress
from cabinos.train.config import RunConfig, schedule
from cabinos.train.errors import NotANumber, TrainError
from cabinos.train.evaluate import bits_per_byte
from cabinos.train.hardware import Machine, Processes
from cabinos.train.metrics import Metrics, Watcher
from cabinos.train.model import Llama
from cabinos.train.optimizer import set_rates

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Run", "train"]


@dataclass
class Run:
    """All that one run consists of."""

    config: RunConfig
    out: Path
    data: Path
    machine: Machine
    processes: Processes
    model: Llama
    optimizers: list[torch.optim.Optimizer]
    batches: Batches
    lengths: "NDArray[np.int64]"  # bytes of each token
    peak: float  # floating-point operations a second, all processes together
    progress: Progress
    save_every: float = 300.0  # seconds
    test_every: int = 250  # updates


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
        loss, norm, size = _update(run, forward, step)
        seconds = time.perf_counter() - begin
        run.progress.step = step + 1
        run.progress.seconds += seconds
        metrics = _describe(run, step, loss, norm, size, seconds)
        if not first:
            continue
        for watcher in watchers:
            watcher.update(metrics)
        _keep_snapshot(run)
        over = run.progress.step == last
        if run.progress.step % run.test_every == 0 or over:
            held_out = bits_per_byte(run.model, run.data, context=run.config.context)
            for watcher in watchers:
                watcher.evaluated(run.progress.step, held_out)
        if over or time.monotonic() - saved > run.save_every:
            checkpoint.save(run.out, run.model, run.optimizers, run.progress)
            saved = time.monotonic()


Forward = Callable[[Tensor, Tensor], Tensor]


def _parallel(run: Run) -> "Forward | torch.nn.parallel.DistributedDataParallel":
    """The model, wrapped so that gradients are averaged if several processes train it."""
    if run.processes.count == 1:
        return run.model
    devices = [run.machine.device] if run.machine.device.type == "cuda" else None
    return torch.nn.parallel.DistributedDataParallel(run.model, device_ids=devices)


def _update(run: Run, forward: "Forward", step: int) -> tuple[float, float, float]:
    """One update. Returns the loss (nats a token), the gradient's norm, and the batch's bytes."""
    context = run.config.context_at(step)
    batch = run.batches.next(run.config.batch_tokens // context, context)
    run.progress.taken = run.batches.taken
    rows = torch.from_numpy(batch.tokens)[run.processes.rank :: run.processes.count]
    micro = rows.split(max(1, run.config.micro_tokens // context))
    count = run.config.batch_tokens  # targets in the whole batch, over all processes
    set_rates(run.optimizers, schedule(step, run.config))
    total = torch.zeros((), device=run.machine.device)
    try:
        for index, part in enumerate(micro):
            x = part.to(run.machine.device)
            # Averaging over processes divides by their number: multiply it in again.
            share = run.processes.count / count
            with _without_sync(forward, index < len(micro) - 1):
                loss = forward(x[:, :-1], x[:, 1:])
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
    return value, norm, float(run.lengths[batch.tokens[:, 1:]].sum())


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
        f"Lower --micro-tokens (the result stays the same), --context, or --depth."
    )


def _describe(
    run: Run, step: int, loss: float, norm: float, size: float, seconds: float
) -> Metrics:
    config = run.config
    flops = run.model.config.flops_per_token(config.context_at(step)) * config.batch_tokens
    return Metrics(
        step=step + 1,
        tokens=sum(run.progress.taken.values()),
        loss=loss,
        bits_per_byte=loss * config.batch_tokens / math.log(2) / max(size, 1),
        rate=schedule(step, config),
        norm=norm,
        tokens_per_second=config.batch_tokens / seconds,
        utilisation=flops / seconds / run.peak,
        seconds=run.progress.seconds,
    )


def _keep_snapshot(run: Run) -> None:
    """Weights at updates 1, 2, 4, 8, …, to see later when what was learned."""
    step = run.progress.step
    if step & (step - 1) == 0:
        checkpoint.save_weights(run.out / "snapshots" / f"{step:08d}.safetensors", run.model)
