"""Runs: they learn, survive kill -9 bit for bit, and agree over processes; and how they fail."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from cabinos.train import checkpoint, loop
from cabinos.train.errors import NotANumber, TrainError
from cabinos.train.hardware import Machine, Processes, choose_machine
from cabinos.train.metrics import Metrics, MetricsLog, plot, read_log
from cabinos.train.pretrain import Options, open_run, pretrain
from tests.train.runs import losses, tiny

CPU = Machine(torch.device("cpu"), torch.float32)
QUICK = Options(device="cpu", dtype="float32", compiled=False, test_every=8)
ROOT = Path(__file__).parents[2]


def start(data: Path, out: Path) -> Any:
    """A tiny run in a process of its own, with a checkpoint after every update."""
    command = [sys.executable, "-m", "tests.train.runs", str(data), str(out), "0"]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def wait_for_update(out: Path, step: int, process: Any) -> None:
    """Until the run has written a checkpoint of at least `step`."""
    end = time.monotonic() + 300
    while time.monotonic() < end and process.poll() is None:
        path = checkpoint.latest(out)
        if path is not None and int(path.stem.removeprefix("step-")) >= step:
            return
        time.sleep(0.005)
    pytest.fail(f"the run never reached update {step}")


def weights(out: Path) -> dict[str, torch.Tensor]:
    path = checkpoint.latest(out)
    assert path is not None
    return checkpoint._read(path)[0]


def test_a_run_learns_and_tells(data: Path, tmp_path: Path) -> None:
    run = pretrain(tiny(), data, tmp_path, QUICK)
    values = losses(tmp_path)
    assert len(values) == run.progress.step == 24
    assert values[0] == pytest.approx(math.log(len(run.lengths)), abs=0.2)
    assert values[-1] < values[0] - 0.8
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    tests = [line["held_out"] for line in lines if "held_out" in line]
    assert len(tests) == 3
    assert set(tests[0]) == {"books", "maths", "all"}
    assert tests[-1]["all"] < tests[0]["all"]
    assert sorted(p.stem for p in (tmp_path / "snapshots").iterdir()) == [
        f"{n:08d}" for n in (1, 2, 4, 8, 16)
    ]


def test_a_killed_run_goes_on_bit_for_bit(data: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    process = start(data, cut)
    wait_for_update(cut, 5, process)
    process.kill()  # SIGKILL: nothing can be tidied up
    process.communicate()
    assert len(losses(cut)) < 24
    options = Options(device="cpu", dtype="float32", compiled=False, threads=1, test_every=1000)
    for out in (cut, whole):
        pretrain(tiny(), data, out, options)
    assert losses(cut) == losses(whole)
    expected = weights(whole)
    assert weights(cut).keys() == expected.keys()
    for name, tensor in weights(cut).items():
        assert torch.equal(tensor, expected[name]), name


def test_two_processes_have_the_loss_curve_of_one(data: Path, tmp_path: Path) -> None:
    pretrain(tiny(), data, tmp_path / "one", QUICK)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += ["--standalone", "-m", "tests.train.runs", str(data), str(tmp_path / "two")]
    command += ["1000"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=2e-4)


def test_the_size_of_the_parts_changes_nothing(data: Path, tmp_path: Path) -> None:
    for micro in (64, 256):
        options = Options(device="cpu", dtype="float32", compiled=False, until=6)
        pretrain(tiny(micro_tokens=micro), data, tmp_path / str(micro), options)
    small, large = (losses(tmp_path / str(micro)) for micro in (64, 256))
    assert small == pytest.approx(large, abs=1e-4)


def test_another_configuration_is_refused(data: Path, tmp_path: Path) -> None:
    options = Options(device="cpu", dtype="float32", compiled=False, until=1)
    pretrain(tiny(), data, tmp_path, options)
    with pytest.raises(TrainError, match="another matrix_rate"):
        pretrain(tiny(matrix_rate=0.5), data, tmp_path, options)


def test_a_loss_that_is_no_number_names_update_and_batch(data: Path, tmp_path: Path) -> None:
    run = open_run(tiny(), data, tmp_path, CPU, Processes(0, 1))
    with torch.no_grad():
        run.model.norm.weight[3] = math.inf
    before = run.model.embed_tokens.weight.clone()
    with pytest.raises(NotANumber, match=r"update 1: the loss .* books@0, ") as caught:
        loop.train(run, [])
    assert "last checkpoint is good" in str(caught.value)
    assert torch.equal(run.model.embed_tokens.weight, before)


def test_out_of_memory_says_what_to_lower(data: Path, tmp_path: Path) -> None:
    run = open_run(tiny(), data, tmp_path, CPU, Processes(0, 1))
    torch_says = "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"

    def forward(*_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(torch_says)

    with pytest.raises(TrainError, match="Lower --micro-tokens"):
        loop._update(run, forward, 0, run.stream.batch(0))


def test_a_full_disk_leaves_the_checkpoint_before(data: Path, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    run = open_run(tiny(), data, tmp_path, CPU, Processes(0, 1))
    good = checkpoint.save(tmp_path, run.model, run.optimizers, run.progress)
    run.progress.step = 1
    (tmp_path / "step-00000001.part").symlink_to("/dev/full")
    with pytest.raises(TrainError, match="the disk is full"):
        checkpoint.save(tmp_path, run.model, run.optimizers, run.progress)
    assert checkpoint.latest(tmp_path) == good
    assert checkpoint.load(good, run.model, run.optimizers).step == 0


def test_a_damaged_checkpoint_is_named(data: Path, tmp_path: Path) -> None:
    run = open_run(tiny(), data, tmp_path, CPU, Processes(0, 1))
    path = checkpoint.save(tmp_path, run.model, run.optimizers, run.progress)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TrainError, match=r"step-00000000\.safetensors: cannot be read"):
        pretrain(tiny(), data, tmp_path, QUICK)


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(TrainError, match="device 'nowhere' cannot be used"):
        choose_machine("nowhere")


def test_the_faster_number_format_is_chosen() -> None:
    chosen = choose_machine("cpu").dtype
    assert chosen in (torch.float32, torch.bfloat16)
    assert choose_machine("cpu", "bfloat16").dtype == torch.bfloat16


def test_the_log_drops_what_a_killed_run_wrote_after_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, 0)
    for step in range(1, 6):
        log.update(Metrics(step, step, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0))
    log.close()
    path.write_text(path.read_text() + '{"step": 6, "lo')  # cut off in the middle
    MetricsLog(path, 3).close()
    assert [line["step"] for line in read_log(path)] == [1, 2, 3]


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    log = MetricsLog(tmp_path / "metrics.jsonl", 0)
    for step in range(1, 6):
        log.update(Metrics(step, step * 100, 5 - step / 2, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0))
    log.evaluated(5, {"books": 2.0, "all": 2.1})
    log.close()
    plot(tmp_path / "metrics.jsonl", tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
