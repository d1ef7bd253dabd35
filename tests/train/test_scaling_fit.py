"""The law and its fit: known laws are found again; tables are read; what is wrong is named."""

import json
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.train.config import ModelConfig
from cabinos.train.errors import TrainError
from cabinos.train.scaling.fit import fit_law, objective
from cabinos.train.scaling.isoflop import fit_isoflop
from cabinos.train.scaling.law import CHINCHILLA, Law, best_shape
from cabinos.train.scaling.points import Points, read_points
from cabinos.train.scaling.shapes import shape_of, width_for, widths
from cabinos.train.scaling.text import scatter

pytest.importorskip("scipy")


def made(law: Law, noise: float = 0.0, *, budgets: int = 5, sizes: int = 6) -> Points:
    """Runs that obey a law: at each budget, sizes around Chinchilla's best one."""
    generator = np.random.default_rng(1)
    rows = []
    for flops in np.geomspace(1e18, 1e21, budgets):
        for off in np.geomspace(1 / 8, 8, sizes):
            n = CHINCHILLA.optimum(flops)[0] * off
            d = flops / 6 / n
            rows.append((n, d, flops, law.loss(n, d) * np.exp(noise * generator.normal())))
    return Points.of(rows)


def test_a_law_without_noise_is_found_again() -> None:
    fit = fit_law(made(CHINCHILLA), bootstrap=0, starts=20)
    assert fit.law.loss(1e9, 2e10) == pytest.approx(CHINCHILLA.loss(1e9, 2e10), rel=1e-4)
    assert astuple(fit.law) == pytest.approx(astuple(CHINCHILLA), rel=0.02)
    assert fit.undetermined == []


def test_what_the_runs_do_not_say_is_named() -> None:
    fit = fit_law(made(Law(0.0, 0.0, 30.0, 0.3, 0.1), budgets=4), bootstrap=0, starts=20)
    assert "E" in fit.undetermined
    assert fit.law.loss(1e9, 1e12) == pytest.approx(30 / 1e12**0.1, rel=1e-3)


def test_intervals_hold_the_truth_and_grow_with_noise() -> None:
    truth = CHINCHILLA.loss(7e10, 1.4e12)
    spans = []
    for noise in (0.002, 0.02):
        fit = fit_law(made(CHINCHILLA, noise), bootstrap=40, starts=5)
        low, high = fit.loss_interval(7e10, 1.4e12)
        assert low < truth < high
        assert 0.5 * noise < fit.rms < 1.5 * noise
        spans.append(high - low)
    assert spans[1] > 2 * spans[0]


def test_an_outlier_moves_little() -> None:
    clean = made(CHINCHILLA, 0.002)
    loss = clean.loss.copy()
    loss[3] *= 1.5
    spoilt = Points(clean.parameters, clean.tokens, clean.flops, loss)
    one, other = (fit_law(points, bootstrap=0, starts=10).law for points in (clean, spoilt))
    assert other.loss(7e10, 1.4e12) == pytest.approx(one.loss(7e10, 1.4e12), rel=0.01)


@given(
    st.lists(st.floats(-3, 3), min_size=5, max_size=5),
    st.integers(0, 4),
)
@settings(max_examples=30, deadline=None)
def test_the_gradient_is_that_of_the_objective(x: list[float], index: int) -> None:
    points = made(CHINCHILLA, 0.01, budgets=2, sizes=3)
    n, d, y = (np.log(v) for v in (points.parameters, points.tokens, points.loss))
    at = np.array([6 + x[0], 7 + x[1], 0.6, 0.3 + x[3] / 20, 0.3 + x[4] / 20])
    step = np.zeros(5)
    step[index] = 1e-6
    up, down = objective(at + step, n, d, y)[0], objective(at - step, n, d, y)[0]
    assert objective(at, n, d, y)[1][index] == pytest.approx((up - down) / 2e-6, rel=1e-3, abs=1e-3)


def test_the_optimum_is_one() -> None:
    for flops in (1e18, 1e24):
        n, d = CHINCHILLA.optimum(flops)
        assert 6 * n * d == pytest.approx(flops)
        best = CHINCHILLA.loss(n, d)
        assert all(CHINCHILLA.loss(n * f, d / f) > best for f in (0.9, 1.1))


def test_too_few_runs_are_refused() -> None:
    points = made(CHINCHILLA)
    with pytest.raises(TrainError, match="5 runs are too few"):
        fit_law(points.where(np.arange(5)))
    alike = Points(np.full(8, 1e6), np.geomspace(1e6, 1e9, 8), np.ones(8), np.ones(8))
    with pytest.raises(TrainError, match="fewer than three sizes"):
        fit_law(alike)


def test_parabolas_find_the_exponent() -> None:
    points = made(CHINCHILLA, 0.0005, sizes=9)
    found = fit_isoflop(points)
    assert len(found.budgets) == 5
    assert found.exponent == pytest.approx(CHINCHILLA.exponent, abs=0.03)
    assert found.interval[0] < found.exponent < found.interval[1]
    named = fit_isoflop(points, [1e18, 1e21])
    assert len(named.budgets) == 2


def test_a_budget_whose_best_size_was_not_seen_is_left_out() -> None:
    points = made(CHINCHILLA)
    largest = points.flops > 5e20
    small = points.parameters < CHINCHILLA.optimum(1e21)[0]
    found = fit_isoflop(points.where(~largest | small))
    assert [budget.inside for budget in found.budgets] == [True] * 4 + [False]
    with pytest.raises(TrainError, match="on either side"):
        fit_isoflop(points.where(largest))


def test_tables_are_read(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("\ufeffParams,Training FLOP,loss,x\n1e6,6e12,3.5,a\n2e6,12e12,3.1,b\n")
    points = read_points(path)
    assert points.tokens.tolist() == pytest.approx([1e6, 1e6])
    path.write_text("\n".join(json.dumps({"N": 10, "D": 20, "loss": 2}) for _ in range(2)) + "\n")
    assert read_points(path).flops.tolist() == [1200, 1200]
    path.write_text("d,c,loss\n1e6,6e12,3.5\n")
    assert read_points(path).parameters.tolist() == pytest.approx([1e6])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "no runs"),
        (b"n,d\n1,2\n", "line 2: needs loss"),
        (b"n,loss\n1,2\n", "needs loss, and two of"),
        (b"n,d,loss\n1,2,x\n", "loss is no number: 'x'"),
        (b"n,d,loss\n1,2,nan\n", "loss must be positive"),
        (b"n,d,loss\n1,0,3\n", "tokens must be positive"),
        (b'{"n": 1, "d": 2, "loss": 3}\n{', "line 2: not JSON"),
        (b'{"n": 1, "d": [], "loss": 1}', "tokens is no number"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_what_is_no_table_is_named(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "runs"
    path.write_bytes(text)
    with pytest.raises(TrainError, match=message):
        read_points(path)


@given(st.text(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_text_is_a_table_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("t") / "x"
    path.write_text("n,d,loss\n" + text, encoding="utf-8", errors="surrogatepass")
    try:
        found = len(read_points(path))
    except TrainError as error:
        found = str(path) in str(error)
    assert found


def test_shapes_are_those_of_the_depth_where_both_know_them() -> None:
    for depth in (4, 6, 8, 10):
        known = ModelConfig.from_depth(depth, vocabulary=8192, context=512)
        assert shape_of(known.width, vocabulary=8192, context=512) == known


def test_every_width_is_a_model_and_sizes_rise() -> None:
    shapes = [shape_of(width, vocabulary=8192, context=512) for width in widths(4096)]
    assert all(s.head * s.heads == s.width and s.head % 2 == 0 for s in shapes)
    sizes = [s.parameters for s in shapes]
    assert sizes == sorted(set(sizes))
    for shape in shapes:
        near = width_for(shape.parameters * 1.05, vocabulary=8192, context=512)
        assert near == shape.width
    with pytest.raises(TrainError, match="no model is 100 wide; there are 64, 96, 128"):
        shape_of(100, vocabulary=8192, context=512)


def test_the_best_shape_beats_its_neighbours() -> None:
    best = best_shape(CHINCHILLA, 1e15, vocabulary=8192, context=256)
    place = widths(2048).index(best.width)
    for width in (widths(2048)[place - 1], widths(2048)[place + 1]):
        shape = shape_of(width, vocabulary=8192, context=256)
        assert CHINCHILLA.loss(shape.parameters, 1e15 / shape.flops_per_token(256)) > best.loss
    with pytest.raises(TrainError, match="do not train the smallest model"):
        best_shape(CHINCHILLA, 1e6, vocabulary=8192, context=256)


def test_a_picture_in_characters() -> None:
    text = scatter([("o", [(1, 1.0), (1000, 2.0)]), ("x", [(31.6, 1.5)])], x="n", y="loss")
    lines = text.splitlines()
    assert lines[1].endswith("o")
    assert lines[-3].split("│")[1].startswith("o")
    assert sum("x" in line.split("│")[1] for line in lines if "│" in line) == 1
    assert scatter([("o", [])], x="n", y="loss") == ""
    assert "o" in scatter([("o", [(5, 5.0)])], x="n", y="loss")
