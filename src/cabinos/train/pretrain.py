"""Stage 1: a base model, which dreams documents.

A run is a folder: `run.json` says what is trained and on what, `metrics.jsonl` has a line for each
update and `loss.png` draws them, `step-*.safetensors` are the last two checkpoints, and
`snapshots/` holds the weights after updates 1, 2, 4, 8, …
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from cabinos.train import checkpoint
from cabinos.train.batches import Batches
from cabinos.train.checkpoint import Progress
from cabinos.train.config import ModelConfig, RunConfig
from cabinos.train.errors import TrainError
from cabinos.train.evaluate import token_lengths
from cabinos.train.hardware import Machine, Processes, choose_machine, matrix_peak, processes
from cabinos.train.loop import Run, train
from cabinos.train.metrics import MetricsLog, plot, progress_bar
from cabinos.train.model import Llama
from cabinos.train.optimizer import make_optimizers

__all__ = ["Options", "open_run", "pretrain"]


@dataclass(frozen=True)
class Options:
    """What may change from one start of a run to the next, as it does not change the result."""

    device: str | None = None  # default: the fastest there is
    dtype: str | None = None  # of the activations; default: the fastest
    compiled: bool | None = None  # use torch.compile; default: where it can
    threads: int | None = None  # default: torch's own choice
    save_every: float = 300.0  # seconds
    test_every: int = 250  # updates
    until: int | None = None  # stop after this update


def pretrain(config: RunConfig, data: Path, out: Path, options: Options | None = None) -> Run:
    """Train a base model into the folder `out`, going on from its last checkpoint if it has one.

    Raises TrainError, CorpusError or NotANumber, each with what to do.
    """
    options = options or Options()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    with _process_group(processes(), options.device) as group:
        machine = choose_machine(options.device, options.dtype)
        run = open_run(config, data, out, machine, group)
        run.save_every, run.test_every = options.save_every, options.test_every
        if _can_compile() if options.compiled is None else options.compiled:
            run.model.compile_trunk()
        if group.rank > 0:
            train(run, [], until=options.until)
            return run
        log = MetricsLog(out / "metrics.jsonl", run.progress.step)
        try:
            with progress_bar(config.steps, run.progress.step) as bar:
                train(run, [bar, log, _Plotter(out)], until=options.until)
        finally:
            log.close()
    return run


def open_run(config: RunConfig, data: Path, out: Path, machine: Machine, group: Processes) -> Run:
    """A run that is ready to go on, from `out`'s last checkpoint or from fresh weights.

    Raises TrainError if `out` holds a run with another configuration.
    """
    lengths = token_lengths(data)
    shape = ModelConfig.from_depth(
        config.depth,
        vocabulary=len(lengths),
        context=max(config.context, config.long_context),
    )
    facts = asdict(config)
    _check_same(out, facts)
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
    return Run(
        config, out, data, machine, group, model, optimizers, batches, lengths, peak, progress
    )


def _check_same(out: Path, facts: dict[str, Any]) -> None:
    path = out / "run.json"
    if not path.is_file():
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))["run"]
    except (ValueError, KeyError, TypeError):
        raise TrainError(f"{path}: damaged. Remove the folder, or give another --out.") from None
    different = sorted(k for k in facts if before.get(k) != facts[k])
    if different:
        raise TrainError(
            f"{out}: holds a run with another {different[0]} ({before.get(different[0])}, not "
            f"{facts[different[0]]}). Give the same options to go on with it, or another --out."
        )


def _describe(out: Path, facts: dict[str, Any], shape: ModelConfig, data: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(data / "tokenizer.json", out / "tokenizer.json")
    index = json.loads((data / "shards" / "index.json").read_text(encoding="utf-8"))
    description = {"run": facts, "model": asdict(shape), "parameters": shape.parameters,
                   "data": index}  # fmt: skip
    (out / "run.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


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

    def __init__(self, out: Path) -> None:
        self._out = out
        self._able = find_spec("matplotlib") is not None

    def update(self, metrics: object) -> None:
        """Nothing to draw yet."""

    def evaluated(self, step: int, bits_per_byte: dict[str, float]) -> None:
        """Draw."""
        if self._able:
            plot(self._out / "metrics.jsonl", self._out / "loss.png")


@contextmanager
def _process_group(group: Processes, device: str | None) -> Iterator[Processes]:
    """Join the processes that torchrun started, if it did."""
    if group.count == 1:
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
