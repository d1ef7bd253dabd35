"""Ladders with real tiny runs: planned, run, killed, run on, predicted, checked."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cabinos.cli.main import main
from cabinos.train import checkpoint
from cabinos.train.errors import TrainError
from cabinos.train.scaling import journal
from cabinos.train.scaling.fit import STARTS, fit_law
from cabinos.train.scaling.ladder import Ladder
from cabinos.train.scaling.work import Running, progress_of, work

CPU = ("--device", "cpu", "--dtype", "float32", "--threads", "1")
SMALL = ("--flops", "7.5e9", "--budgets", "2", "--sizes", "3", "--span", "2", "--context", "16",
         "--batch-tokens", "16", "--mix", "books=1", "--held-out", "256")  # fmt: skip
FAST = ("--bootstrap", 2)
ROOT = Path(__file__).parents[2]


def cabin(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def facts(*words: object) -> Any:
    result = cabin(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def start(*words: object, launcher: tuple[str, ...] = ("-m",)) -> "subprocess.Popen[str]":
    command = [sys.executable, *launcher, "cabinos", *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def few_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The optimizer of a fit starts from three points: which law comes out is not asked here."""
    assert fit_law.__kwdefaults__["starts"] == STARTS
    monkeypatch.setitem(fit_law.__kwdefaults__, "starts", 3)


@pytest.fixture(scope="module")
def planned(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ladder") / "l"
    costs = facts("scale", "plan", path, "--data", data, *SMALL, *CPU)
    assert costs["flops"] == pytest.approx(7.5e9, rel=0.1)
    assert costs["kwh"] == pytest.approx(costs["seconds"] * 10 / 3.6e6)
    assert all(rung["seconds"] > 0 and rung["measured"] for rung in costs["rungs"])
    return path


def copied(ladder: Path, folder: Path) -> Path:
    """The same plan in a folder of its own, nothing of it run."""
    path = folder / "l"
    path.mkdir()
    shutil.copy(ladder / "ladder.json", path)
    return path


@pytest.fixture(scope="module")
def done(planned: Path, data: Path) -> Path:
    result = cabin("scale", "run", planned, "--data", data, *CPU)
    assert result.exit_code == 0, result.output
    return planned


def test_a_ladder_runs_and_a_second_time_does_nothing(done: Path, data: Path) -> None:
    ladder = Ladder.open(done)
    results = list(ladder.results())
    assert len(results) == len(ladder.rungs) == 6
    for rung, result in zip(ladder.rungs, results, strict=True):
        assert result.tokens == rung.tokens
        assert result.flops == pytest.approx(rung.budget, rel=0.05)
        assert result.layers < result.parameters
        assert result.held_out.keys() == {"books"}  # what is not learnt does not count
        assert result.loss == pytest.approx(result.held_out["books"])
        assert progress_of(ladder, rung) == 1.0
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*.safetensors")}
    assert before
    assert cabin("scale", "run", done, "--data", data, *CPU).exit_code == 0
    assert before == {path: path.stat().st_mtime_ns for path in done.rglob("*.safetensors")}


def test_fit_predict_run_check(done: Path, data: Path) -> None:
    pytest.importorskip("scipy")
    fit = facts("scale", "fit", done, *FAST)
    assert fit["points"] == 6
    assert json.loads((done / "fit.json").read_text()) == fit
    early = cabin("scale", "check", done)
    assert early.exit_code == 1
    assert "nothing was predicted" in early.output
    made = facts("scale", "predict", done, "--flops", "3e9", *FAST)
    assert made["low"] <= made["loss"] <= made["high"]
    assert made["flops"] == pytest.approx(3e9, rel=0.3)  # whole updates
    again = cabin("scale", "predict", done, "--flops", "3e9", *FAST)
    assert again.exit_code == 1
    assert "predicted before" in again.output
    assert "not run yet" in cabin("scale", "check", done).output
    assert cabin("scale", "run", done, "--data", data, *CPU).exit_code == 0
    (outcome,) = facts("scale", "check", done)
    ladder = Ladder.open(done)
    (prediction,) = journal.predictions(ladder)
    result = ladder.result(prediction.rung)
    assert result is not None
    assert outcome["measured"] == result.loss
    assert outcome["error"] == pytest.approx(result.loss / made["loss"] - 1)
    assert facts("scale", "check", done) == [outcome]  # written down once
    assert len((done / "predictions.jsonl").read_text().splitlines()) == 2
    assert len(ladder.points()) == 6  # a prediction is not fitted to
    shown = cabin("scale", "fit", done, *FAST)
    assert "best size" in shown.output
    assert (done / "fit.png").read_bytes().startswith(b"\x89PNG")
    stops = facts("scale", "roadmap", done, "--flops", "1e14", "--on", "h100", "--count", 2, *FAST)
    assert [stop["flops"] for stop in stops] == pytest.approx([1e10, 1e11, 1e12, 1e13, 1e14])


def test_a_prediction_after_the_fact_is_refused(done: Path, tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    ladder = Ladder.open(done)
    fit = fit_law(ladder.points(), bootstrap=2, starts=2)
    rung = ladder.rungs[-1]
    with pytest.raises(TrainError, match="a rung of this ladder already"):
        journal.predict(ladder, fit, rung.width, rung.tokens)
    moved = replace(ladder, folder=tmp_path)
    (tmp_path / "predicted").mkdir()
    first = journal.predict(moved, fit, 64, 48_000)
    (tmp_path / "predictions.jsonl").unlink()
    moved.place(first.rung).mkdir()
    with pytest.raises(TrainError, match="this run has begun"):
        journal.predict(moved, fit, 64, 48_000)


def test_a_changed_journal_is_found_out(planned: Path, tmp_path: Path) -> None:
    ladder = Ladder.open(planned)
    moved = replace(ladder, folder=tmp_path)
    for number in range(3):
        journal._append(moved, "outcome", {"name": str(number), "hash": ""})
    path = tmp_path / "predictions.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    assert len(list(journal._lines(moved))) == 3
    for spoilt in (
        [lines[0].replace('"0"', '"7"'), *lines[1:]],
        [lines[0], lines[2]],
        [lines[1], lines[0], lines[2]],
        [*lines[:2], lines[2][:20]],
    ):
        path.write_text("".join(spoilt))
        with pytest.raises(TrainError, match="changed after it was written"):
            journal.predictions(moved)


def test_other_texts_and_another_plan_are_refused(
    planned: Path, data: Path, tmp_path: Path
) -> None:
    ladder = Ladder.open(planned)
    strange = replace(ladder, folder=tmp_path, data="0")
    with pytest.raises(TrainError, match="not the texts"):
        work(strange, strange.rungs, data, Running())
    result = cabin("scale", "plan", planned, "--data", data, *SMALL, "--seed", 2, *CPU)
    assert result.exit_code == 1
    assert "holds another ladder" in result.output
    result = cabin("scale", "plan", tmp_path / "x", "--data", data, "--flops", 10, *CPU)
    assert result.exit_code == 1
    assert "too few" in result.output
    assert "no ladder here" in cabin("scale", "run", tmp_path, "--data", data).output
    (tmp_path / "ladder.json").write_text("{")
    assert "damaged" in cabin("scale", "fit", tmp_path).output


def test_numbers_that_are_none_are_refused(planned: Path) -> None:
    for words in (
        ("plan", planned, "--flops", "inf"),
        ("predict", planned, "--flops", "nan"),
        ("predict", planned, "--flops", "1e9", "--width", "64"),
        ("predict", planned, "--width", "64"),
        ("roadmap", "--flops", "-1"),
        ("roadmap",),
        ("roadmap", "--hours", "1"),
    ):
        result = cabin("scale", *words)
        assert result.exit_code == 2, (words, result.output)
    assert (
        "no such hardware; there are h200"
        in cabin("scale", "roadmap", "--flops", "1e18", "--on", "abacus").output
    )


def test_a_roadmap_by_the_published_law() -> None:
    stops = facts("scale", "roadmap", "--flops", "5.76e23")
    assert {stop["device"] for stop in stops} >= {"h100", "a100", "4090", "m2-ultra"}
    (h100,) = (stop for stop in stops if stop["device"] == "h100")
    assert h100["parameters"] == pytest.approx(70e9, rel=0.15)  # Chinchilla itself
    assert h100["tokens"] == pytest.approx(1.4e12, rel=0.15)
    assert h100["seconds"] == pytest.approx(5.76e23 / (9.89e14 * 0.4))
    assert h100["kwh"] == pytest.approx(h100["seconds"] * 700 / 3.6e6)
    (rented,) = facts("scale", "roadmap", "--hours", 2, "--on", "h100", "--usd-per-hour", 3)[-1:]
    assert rented["usd"] == pytest.approx(6)
    assert "Assumed" in cabin("scale", "roadmap", "--flops", "1e20", "--on", "a100").output


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.01)


def test_killed_workers_leave_nothing_undone(planned: Path, data: Path, tmp_path: Path) -> None:
    """kill -9 of the one who started two workers: they end, and the next call goes on."""
    path = copied(planned, tmp_path)
    ladder = Ladder.open(path)
    words = ("scale", "run", path, "--data", data, *CPU)
    process = start(*words, "--workers", 2)
    wait_for(ladder.place(ladder.rungs[1]) / "metrics.jsonl", process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert sum(1 for _ in ladder.results()) < len(ladder.rungs)
    for _ in range(50):  # a worker may not yet have seen that its parent is gone
        if (result := cabin(*words)).exit_code != 3:
            break
    assert result.exit_code == 0, result.output
    assert len(list(ladder.results())) == len(ladder.rungs)
    whole = Ladder.open(planned)
    if list(whole.results()):
        losses = [[r.loss for r in one.results()] for one in (whole, ladder)]
        assert losses[0] == losses[1]


def test_two_processes_train_each_rung_together(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "l"
    few = (*SMALL, "--flops", "2e9", "--budgets", "1", "--sizes", "2", "--batch-tokens", "32")
    assert cabin("scale", "plan", path, "--data", data, *few, *CPU).exit_code == 0
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m")
    process = start("scale", "run", path, "--data", data, *CPU, launcher=launcher)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    ladder = Ladder.open(path)
    assert len(list(ladder.results())) == len(ladder.rungs) == 2
    assert checkpoint.latest(ladder.place(ladder.rungs[0])) is not None


def test_a_worker_that_fails_says_why(planned: Path, data: Path, tmp_path: Path) -> None:
    path = copied(planned, tmp_path)
    result = cabin("scale", "run", path, "--data", data, "--workers", 2, "--device", "nowhere")
    assert result.exit_code == 1
    assert "a worker ended with code 1" in result.output
    assert "device 'nowhere' cannot be used" in result.output
