"""Emergence over a real tiny run: every snapshot and the last checkpoint are measured, once."""

import json
from pathlib import Path

import pytest

from cabinos.lab.evaluate.blimp import Blimp
from cabinos.lab.evaluate.emergence import Point, measure_run, plot
from cabinos.lab.evaluate.facts import Facts
from cabinos.lab.evaluate.suite import Suite
from cabinos.lab.evaluate.sums import Sums
from cabinos.lab.evaluate.text import Bytes
from cabinos.train.export import export_gguf
from cabinos.train.pretrain import Options, pretrain
from cabinos.train.saved import load_run
from tests.train.runs import tiny

GOOD, BAD = "Dorothy lived in Kansas.", "Kansas in lived Dorothy."
PAIRS = [("France", "Paris"), ("Peru", "Lima"), ("Norway", "Oslo")]


class Quiet:
    """Nobody watches."""

    def begin(self, suite: Suite, done: int, total: int) -> None: ...

    def judged(self, suite: Suite, count: int) -> None: ...


def options(**changes: bool | int) -> Options:
    return Options(device="cpu", dtype="float32", compiled=False, threads=1, **changes)  # type: ignore[arg-type]


def test_each_snapshot_is_measured_once(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    pretrain(tiny(), data, run, options())
    probes: list[Suite] = [
        Blimp([{"set": "x.jsonl", "sentence_good": GOOD, "sentence_bad": BAD}]),
        Facts(PAIRS),
        Sums(),
        Bytes({"oz": GOOD}),
    ]
    work = [(suite, suite.cases()[:6]) for suite in probes]
    measured = []

    def export(weights: Path, output: Path) -> None:
        measured.append(weights.name)
        export_gguf(*load_run(run, weights), output, "f32")

    def curves() -> list[Point]:
        return measure_run(run, work, export, tmp_path / "e.json", Quiet(), {"n": 6}, threads=1)

    points = curves()
    assert [point["step"] for point in points] == [1, 2, 4, 8, 16, 24]
    assert points[-1]["tokens"] == 24 * 256
    assert len(measured) == 6
    bits = [point["scores"]["bytes: bits per byte"][0] for point in points]
    assert bits[-1] < bits[0]
    found = {name.partition(":")[0] for name in points[0]["scores"]}
    assert found == {"blimp", "facts", "sums", "bytes"}
    assert curves() == points
    assert len(measured) == 6
    assert json.loads((tmp_path / "e.json").read_text())["points"] == points
    pytest.importorskip("matplotlib")
    plot(points, tmp_path / "e.png")
    assert (tmp_path / "e.png").read_bytes().startswith(b"\x89PNG")


def test_snapshots_can_be_left_out(data: Path, tmp_path: Path) -> None:
    pretrain(tiny(), data, tmp_path, options(snapshots=False, until=2))
    assert not (tmp_path / "snapshots").exists()
