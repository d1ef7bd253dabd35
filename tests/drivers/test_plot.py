"""Pictures: files that are there, whole, and where the tool says."""

import sys
from pathlib import Path

import pytest

from cabinos.drivers import plot
from cabinos.drivers.plot import driver
from cabinos.kernel.capability import Capabilities, files
from cabinos.kernel.errors import ToolError
from tests.drivers.support import call, context, named

FUNCTION, VALUES = (named(driver({}), name) for name in ("plot_function", "plot_values"))
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CABIN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def drawn(told: str) -> bytes:
    assert told.startswith("Drawn: ")
    return Path(told.removeprefix("Drawn: ")).read_bytes()


def test_declared() -> None:
    assert {(t.name, t.effect, t.egress) for t in driver({}).tools} == {
        ("plot_function", "local", False),
        ("plot_values", "local", False),
    }


@pytest.mark.parametrize(
    "expression",
    ["x^2 - 3x", "y = sin(x)", "f(x) = 1/x", "tan x", "2 times x plus 1", "sqrt x", "5", "x(x+1)"]
    + ["e^x", "abs(x)", "log x"],
)
def test_functions(expression: str, home: Path) -> None:
    pytest.importorskip("matplotlib")
    told = call(FUNCTION, context(), expression=expression, start="-5", end="2*pi")
    assert drawn(told).startswith(PNG)
    assert call(FUNCTION, context(), expression=expression, start="-5", end="2*pi") == told
    assert [path.name for path in (home / "plots").iterdir()] == [Path(told).name]


def test_values(home: Path) -> None:
    pytest.importorskip("matplotlib")
    assert drawn(call(VALUES, context(), values="3, 5.5 and 1,200")).startswith(PNG)
    told = call(VALUES, context(), values="1 2 3", labels="a, $b, c")
    assert drawn(told).startswith(PNG)
    many = ", ".join(map(str, range(100)))
    assert drawn(call(VALUES, context(), values=many)).startswith(PNG)


def test_a_granted_folder_that_may_be_written_gets_it(tmp_path: Path, home: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "mine").mkdir()
    granted = context(Capabilities(files=(files(tmp_path / "mine", "rw"),)))
    told = call(VALUES, granted, values="1, 2")
    assert told.startswith("Drawn: mine/plot-")
    assert (tmp_path / told.removeprefix("Drawn: ")).read_bytes().startswith(PNG)
    assert not home.exists()


def test_the_curve_is_the_function() -> None:
    numpy = pytest.importorskip("numpy")
    x = numpy.linspace(-2, 2, 101)
    curve = plot._curve(plot.parse("2x^2 - 3 sin(x) + 0.5", variable=True), x)
    assert numpy.allclose(curve, 2 * x**2 - 3 * numpy.sin(x) + 0.5)
    square = plot._curve(plot.parse("sin(x)^2 + sin 2x", variable=True), x)
    assert numpy.allclose(square, numpy.sin(x) ** 2 + numpy.sin(2 * x))
    pole = plot._curve(plot.parse("1/x", variable=True), x)
    assert numpy.isnan(pole[48:52]).any()  # not joined across zero
    root = plot._curve(plot.parse("sqrt(x)", variable=True), x)
    assert numpy.isnan(root[:50]).all()
    assert not numpy.isnan(root[50:]).any()


@pytest.mark.parametrize(
    ("given_", "problem"),
    [
        ({"expression": "x +"}, "something is missing"),
        ({"expression": "banana"}, "'banana' is not understood"),
        ({"expression": "x!"}, "cannot be drawn|cabinos"),
        ({"expression": "x", "start": 5, "end": 1}, "must be below"),
        ({"expression": "sqrt(-1 - x^2)"}, "no value anywhere|cabinos"),
        ({"expression": "x", "start": "10^400", "end": "10^401"}, "too large"),
    ],
)
def test_what_cannot_be_drawn(given_: dict[str, object], problem: str, home: Path) -> None:
    with pytest.raises(ToolError, match=problem):
        call(FUNCTION, context(), **given_)
    assert not home.exists()


@pytest.mark.parametrize(
    ("given_", "problem"),
    [
        ({"values": "1"}, "from 2 to 1,000 numbers"),
        ({"values": "1, two"}, "'two' is not a number"),
        ({"values": "1, 2", "labels": "a"}, "2 values and 1 labels"),
    ],
)
def test_what_are_no_values(given_: dict[str, object], problem: str) -> None:
    with pytest.raises(ToolError, match=problem):
        call(VALUES, context(), **given_)


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ToolError, match=r"pip install 'cabinos\[train\]'"):
        call(VALUES, context(), values="1, 2")
