"""Device: pictures of functions and of numbers, as PNG files.

They are written to `plots` in Cabin's own folder, or to a folder that was granted for writing. The
name comes from what is drawn, so drawing it twice is drawing it once.
"""

import asyncio
import hashlib
import io
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from cabinos.drivers.arithmetic import Node, parse
from cabinos.drivers.beneath import Place
from cabinos.drivers.calculate import evaluate
from cabinos.kernel.driver import Context, Driver, tool
from cabinos.kernel.errors import ToolError
from cabinos.store.home import cabin_home

if TYPE_CHECKING:
    import numpy as np

__all__ = ["driver"]

POINTS = 1_000  # of a curve
MAX_VALUES = 1_000
MAX_BARS = 40  # with names of their own below them
MISSING = "Plots need: pip install 'cabinos[train]'"
NUMBER = re.compile(r"[-+−]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?:\.\d+)?(?:e[-+]?\d+)?%?")

Drawing = Callable[[Any], None]  # onto axes of matplotlib
Bound = Annotated[str | int | float, Field(description="a number, like -10 or 2*pi")]


def driver(_config: Mapping[str, Any]) -> Driver:
    """The device. It needs no configuration, and matplotlib when it is used."""
    return Driver("plot", tools=[plot_function, plot_values])


@tool(
    effect="local",
    label="trusted",
    hints="plot draw graph function curve of x sine cosine parabola chart y = f(x) from to show "
    "sketch equation",
)
async def plot_function(
    expression: Annotated[
        str,
        Field(
            min_length=1,
            max_length=300,
            description="of x, like x^2 - 3x or sin(x)",
            json_schema_extra={"x-free": True},
        ),
    ],
    start: Bound = -10,
    end: Bound = 10,
    *,
    context: Context,
) -> str:
    """Draws a function of x as a picture."""
    tree = parse(re.sub(r"^\s*(?:y|f\s*\(\s*x\s*\))\s*=", "", expression), variable=True)
    first, last = _bound(start), _bound(end)
    if not first < last:
        raise ToolError(f"the start, {start}, must be below the end, {end}.")

    def draw(axes: Any) -> None:
        import numpy as np

        x = np.linspace(first, last, POINTS)
        y = _curve(tree, x)
        axes.plot(x, y)
        if (shown := _window(y)) is not None:
            axes.set_ylim(*shown)
        axes.axhline(0, linewidth=0.5, color="gray")
        axes.set_xlabel("x")
        axes.set_title(expression.strip().replace("$", r"\$"))

    name = _name(expression, start, end)
    return await asyncio.to_thread(_written, draw, name, context)


@tool(
    effect="local",
    label="trusted",
    hints="plot draw chart bar graph of these numbers values data picture visualize sales per "
    "month histogram compare",
)
async def plot_values(
    values: Annotated[
        str, Field(min_length=1, max_length=10_000, description="numbers, like 3, 5.5, 8")
    ],
    labels: Annotated[
        str, Field(max_length=10_000, description="a name for each, like Mon, Tue, Wed")
    ] = "",
    *,
    context: Context,
) -> str:
    """Draws numbers as a picture: bars with names, or a line."""
    numbers = _numbers(values)
    names = [name.strip() for name in re.split(r"[,;\n]| and ", labels) if name.strip()]
    if names and len(names) != len(numbers):
        raise ToolError(f"there are {len(numbers)} values and {len(names)} labels.")

    def draw(axes: Any) -> None:
        if names or len(numbers) <= MAX_BARS:
            shown = names or [str(n) for n in range(1, len(numbers) + 1)]
            axes.bar(range(len(numbers)), numbers)
            axes.set_xticks(range(len(numbers)), [name[:20].replace("$", r"\$") for name in shown])
            if len(numbers) > 8:
                axes.tick_params("x", rotation=90)
        else:
            axes.plot(range(1, len(numbers) + 1), numbers)

    return await asyncio.to_thread(_written, draw, _name("values", values, labels), context)


def _bound(value: str | float) -> float:
    try:
        return float(evaluate(parse(str(value))).number)
    except OverflowError:
        raise ToolError(f"{value} is too large to draw.") from None


def _numbers(values: str) -> list[float]:
    tokens = [t for t in re.split(r"(?:,(?!\d{3}(?!\d))|[;\s]|\band\b)+", values) if t]
    numbers = []
    for token in tokens:
        if not NUMBER.fullmatch(token) or not re.search(r"\d", token):
            raise ToolError(f"{token[:40]!r} is not a number; write them like 3, 5.5, 8.")
        numbers.append(float(token.replace(",", "").replace("−", "-").rstrip("%")))
    if not 2 <= len(numbers) <= MAX_VALUES:
        raise ToolError(f"a picture needs from 2 to {MAX_VALUES:,} numbers, not {len(numbers)}.")
    return numbers


def _curve(tree: Node, x: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """The values of a tree at every x; where there is none, a gap."""
    import numpy as np

    with np.errstate(all="ignore"):
        y = np.broadcast_to(_values(tree, x), x.shape).astype(float)
    y[~np.isfinite(y)] = np.nan
    if np.isnan(y).all():
        raise ToolError("the function has no value anywhere from the start to the end.")
    return _without_poles(y)


def _without_poles(y: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Where a curve leaps from one end to the other, as 1/x does, it is not joined."""
    import numpy as np

    low, high = np.nanpercentile(y, [5, 95])
    reach = 5 * max(high - low, 1e-12)
    leaps = (np.abs(np.diff(y)) > reach) & (np.sign(y[1:]) != np.sign(y[:-1]))
    y[:-1][leaps] = np.nan
    return y


def _window(y: "np.ndarray[Any, Any]") -> tuple[float, float] | None:
    """What of the y axis is shown where a pole would make everything else flat."""
    import numpy as np

    low, high = np.nanpercentile(y, [5, 95])
    reach = 2 * max(high - low, 1e-12)
    if np.nanmax(y) < high + 5 * reach and np.nanmin(y) > low - 5 * reach:
        return None
    return float(low - reach), float(high + reach)


def _values(node: Node, x: "np.ndarray[Any, Any]") -> Any:
    from fractions import Fraction

    import numpy as np

    if isinstance(node, Fraction):
        return float(node)
    if node.operation == "x":
        return x
    constants = {"pi": np.pi, "e": np.e}
    if node.operation in constants:
        return constants[node.operation]
    functions: dict[str, Callable[..., Any]] = {
        "+": np.add,
        "-": np.subtract,
        "*": np.multiply,
        "/": np.true_divide,
        "^": np.power,
        "mod": np.mod,
        "negative": np.negative,
        "sqrt": np.sqrt,
        "cbrt": np.cbrt,
        "abs": np.abs,
        "sin": np.sin,
        "cos": np.cos,
        "tan": np.tan,
        "exp": np.exp,
        "log": np.log,
        "percent": lambda a: np.true_divide(a, 100),
    }
    function = functions.get(node.operation)
    if function is None:
        raise ToolError(f"{node.operation!r} cannot be drawn.")
    return function(*(np.asarray(_values(operand, x), float) for operand in node.operands))


def _name(*parts: object) -> str:
    """A short file name: the same for the same picture, and most likely another for any other."""
    return f"plot-{int(hashlib.sha256(repr(parts).encode()).hexdigest(), 16) % 10**6:06}.png"


def _written(draw: Drawing, name: str, context: Context) -> str:
    data = _png(draw)
    for grant in context.capabilities.files:
        if grant.writable:
            place = Place(grant, (name,))
            place.write(data, hashlib.sha256(context.key.encode()).hexdigest()[:16])
            return f"Drawn: {place.path}"
    folder = cabin_home() / "plots"
    path, beside = folder / name, folder / f".{name}.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise ToolError(f"{path}: cannot be written: {error.strerror}.") from None
    return f"Drawn: {_short(path)}"


def _short(path: Path) -> str:
    """The path, as people write one below their home."""
    with suppress(RuntimeError, ValueError):
        return f"~/{path.relative_to(Path.home())}"
    return str(path)


def _png(draw: Drawing) -> bytes:
    """The picture. Raises ToolError if matplotlib is not there."""
    try:
        figure_type = import_module("matplotlib.figure").Figure
    except ImportError:
        raise ToolError(MISSING) from None
    figure = figure_type(figsize=(6.4, 4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    draw(axes)
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()
