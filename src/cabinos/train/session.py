"""What every run has around its loop: the machine, the processes, and who watches.

A run is a folder: `run.json` says what is trained and on what, `metrics.jsonl` has a line for each
update and `loss.png` draws them, `step-*.safetensors` are the last two checkpoints, and
`snapshots/` holds the weights after updates 1, 2, 4, 8, …
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from cabinos.train.errors import TrainError
from cabinos.train.hardware import Machine, Processes, choose_machine, processes
from cabinos.train.loop import Run, train
from cabinos.train.metrics import MetricsLog, plot, progress_bar

__all__ = ["Options", "check_same", "conduct", "process_group"]


@dataclass(frozen=True)
class Options:
    """What may change from one start of a run to the next, as it does not change the result."""

    device: str | None = None  # default: the fastest there is
    dtype: str | None = None  # of the activations; default: the fastest
    compiled: bool | None = None  # use torch.compile; default: where it can
    threads: int | None = None  # default: torch's own choice
    save_every: float = 300.0  # seconds
    test_every: int = 250  # updates
    test_tokens: int = 16_384  # of each domain, at an evaluation on texts
    snapshots: bool = True  # keep the weights after updates 1, 2, 4, 8, …
    until: int | None = None  # stop after this update


def conduct(
    open_run: Callable[[Machine, Processes], Run],
    options: Options,
    *,
    measure: str,
    dynamic: bool = False,
) -> Run:
    """Open a run, and train it to its end with everything that watches.

    `measure`: what evaluations give; `dynamic`: rows differ in length. Raises TrainError.
    """
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    with process_group(processes(), options.device) as group:
        run = open_run(choose_machine(options.device, options.dtype), group)
        run.save_every, run.test_every = options.save_every, options.test_every
        run.test_tokens, run.snapshots = options.test_tokens, options.snapshots
        if _can_compile() if options.compiled is None else options.compiled:
            run.model.compile_trunk(dynamic=dynamic)
        if group.rank > 0:
            train(run, [], until=options.until)
            return run
        log = MetricsLog(run.out / "metrics.jsonl", run.progress.step)
        try:
            with progress_bar(run.config.steps, run.progress.step, measure) as bar:
                train(run, [bar, log, _Plotter(run.out, measure)], until=options.until)
        finally:
            log.close()
    return run


def check_same(out: Path, facts: dict[str, Any], **others: str | int) -> None:
    """Raise TrainError if `out` holds a run with another configuration, or with other `others`."""
    path = out / "run.json"
    if not path.is_file():
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        before = {**found["run"], **{k: found[k] for k in others}}
    except (ValueError, KeyError, TypeError):
        raise TrainError(f"{path}: damaged. Remove the folder, or give another --out.") from None
    facts = facts | others
    different = sorted(k for k in facts if before.get(k) != facts[k])
    if different:
        raise TrainError(
            f"{out}: holds a run with another {different[0]} ({before.get(different[0])}, not "
            f"{facts[different[0]]}). Give the same options to go on with it, or another --out."
        )


def _can_compile() -> bool:
    """Inductor writes C++ for a CPU and Triton for a GPU."""
    if torch.cuda.is_available():
        return find_spec("triton") is not None
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        return bool(get_cpp_compiler())
    except Exception:  # noqa: BLE001 (inductor's own class, and its private parts may move)
        return False


class _Plotter:
    """Draws the plot again after every evaluation, if matplotlib is installed."""

    def __init__(self, out: Path, measure: str) -> None:
        self._out, self._measure = out, measure
        self._able = find_spec("matplotlib") is not None

    def update(self, metrics: object) -> None:
        """Nothing to draw yet."""

    def evaluated(self, step: int, held_out: dict[str, float]) -> None:
        """Draw."""
        if self._able:
            plot(self._out / "metrics.jsonl", self._out / "loss.png", self._measure)


@contextmanager
def process_group(group: Processes, device: str | None) -> Iterator[Processes]:
    """Join the processes that torchrun started, if it did and they have not met already.

    They can meet once only: who makes several runs holds this around all of them.
    """
    if group.count == 1 or dist.is_initialized():
        yield group
        return
    gpu = torch.cuda.is_available() and device in (None, "cuda")
    if gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if gpu else "gloo")
    try:
        yield group
    finally:
        dist.destroy_process_group()
