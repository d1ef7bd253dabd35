"""Pictures of what was seen, as PNG. They need matplotlib."""

import warnings
from importlib import import_module
from io import BytesIO
from typing import Any

from torch import Tensor

from cabinos.train.errors import TrainError
from cabinos.train.inspect.direction import Direction
from cabinos.train.inspect.induction import Induction
from cabinos.train.inspect.refusal import Refusal
from cabinos.train.inspect.views import Reading

__all__ = ["attention", "head_effects", "induction", "lens", "loss", "refusal", "separation"]

MOST = 48  # tokens in a picture


def _figure(width: float, height: float) -> Any:
    """An empty figure, without pyplot, which would look for a display."""
    try:
        figure = import_module("matplotlib.figure").Figure
    except ImportError:
        raise TrainError("Pictures need matplotlib: pip install 'cabinos[train]'.") from None
    return figure(figsize=(width, height), layout="constrained")


def _png(figure: Any) -> bytes:
    target = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a box stands for it
        figure.savefig(target, format="png", dpi=110)
    return target.getvalue()


def _label(word: str) -> str:
    """A word as an axis can show it: no line breaks, and no mathematics between dollar signs."""
    shown = "".join(c if c.isprintable() else "·" for c in word.replace("\n", "⏎"))
    return shown.replace(" ", "␣").replace("$", r"\$")[:14]


def loss(reading: Reading) -> bytes:
    """Bits of each token."""
    steps = reading.steps[:MOST]
    figure = _figure(max(6, 0.3 * len(steps)), 3)
    axes = figure.subplots()
    axes.bar(range(len(steps)), [step.bits for step in steps], color="#d1495b")
    axes.set_xticks(range(len(steps)), [_label(step.word) for step in steps], rotation=90)
    axes.set(title="what each token cost", ylabel="bits")
    axes.margins(x=0.01)
    return _png(figure)


def lens(reading: Reading) -> bytes:
    """The likeliest next word after each layer, and how likely it is."""
    count = min(len(reading.words), MOST // 2)
    chances = reading.lens.chances[:, -count:]
    layers = len(chances)
    figure = _figure(1.5 + 0.75 * count, 1.2 + 0.4 * layers)
    axes = figure.subplots()
    image = axes.imshow(
        chances.numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto", origin="lower"
    )
    for layer in range(layers):
        for at, word in enumerate(reading.lens.words[layer][-count:]):
            colour = "white" if chances[layer, at] > 0.55 else "black"
            axes.text(at, layer, _label(word)[:9], ha="center", va="center", size=7, color=colour)
    names = ["embedding", *(f"layer {n}" for n in range(layers - 1))]
    axes.set_yticks(range(layers), names)
    axes.set_xticks(range(count), [_label(word) for word in reading.words[-count:]], rotation=90)
    axes.set(title="logit lens: what would come next, if this layer were the last")
    figure.colorbar(image, label="its probability", fraction=0.02, pad=0.01)
    return _png(figure)


def attention(reading: Reading) -> bytes:
    """Every head's map: rows look at columns."""
    maps = reading.attention[:, :, -MOST:, -MOST:]
    depth, heads, count, _ = maps.shape
    figure = _figure(2.1 * heads + 0.6, 2.1 * depth + 0.4)
    for layer, row in enumerate(figure.subplots(depth, heads, squeeze=False)):
        for head, axes in enumerate(row):
            axes.imshow(maps[layer, head].sqrt().numpy(), cmap="magma", vmin=0, vmax=1)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(f"{layer}.{head}", size=8, pad=2)
    figure.suptitle(
        f"attention, layer.head, last {count} tokens (brightness: square root)", size=10
    )
    return _png(figure)


def _by_head(grid: Tensor, title: str, label: str, *, signed: bool) -> bytes:
    depth, heads = grid.shape
    figure = _figure(2.2 + 0.75 * heads, 1.4 + 0.5 * depth)
    axes = figure.subplots()
    limit = max(float(grid.abs().max()), 1e-6)
    low, colours = (-limit, "RdBu_r") if signed else (0.0, "viridis")
    image = axes.imshow(
        grid.numpy(), cmap=colours, vmin=low, vmax=limit if signed else 1, aspect="auto"
    )
    for layer in range(depth):
        for head in range(heads):
            value = float(grid[layer, head])
            dark = abs(value) > 0.6 * limit if signed else value < 0.5
            colour = "white" if dark else "black"
            axes.text(head, layer, f"{value:.2f}", ha="center", va="center", size=8, color=colour)
    axes.set_xticks(range(heads))
    axes.set_yticks(range(depth))
    axes.set(title=title, xlabel="head", ylabel="layer")
    figure.colorbar(image, label=label)
    return _png(figure)


def head_effects(effects: Tensor) -> bytes:
    """What the text costs more without each head."""
    return _by_head(effects, "without this head", "bits a token more", signed=True)


def induction(found: Induction) -> bytes:
    """Induction scores."""
    return _by_head(found.scores, "induction heads", "share of attention", signed=False)


def separation(direction: Direction) -> bytes:
    """How well the direction of each layer tells held-out prompts apart."""
    figure = _figure(5, 3)
    axes = figure.subplots()
    axes.plot(range(len(direction.separation)), direction.separation, marker="o")
    axes.axhline(0.5, color="grey", linewidth=0.8, linestyle=":", label="chance")
    axes.set_xticks(range(len(direction.separation)))
    axes.set(title="held-out prompts told apart", xlabel="after layer", ylabel="area under ROC")
    axes.set_ylim(0, 1.05)
    axes.legend(loc="lower right")
    return _png(figure)


def refusal(found: Refusal) -> bytes:
    """How likely a call is, by what is done with the direction."""
    figure = _figure(6.5, 3.2)
    axes = figure.subplots()
    names = list(found.chances)
    for offset, kind, colour in ((-0.2, 0, "#2a7f9e"), (0.2, 1, "#d1495b")):
        shares = [found.chances[name][kind] for name in names]
        label = "requests for a tool" if kind == 0 else "requests for none of them"
        bars = axes.bar(
            [at + offset for at in range(len(names))], shares, 0.38, color=colour, label=label
        )
        axes.bar_label(bars, [f"{share:.0%}" for share in shares], size=8)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylim(0, 1.3)
    axes.set(title=f"it begins a call (direction of layer {found.direction.layer})",
             ylabel="probability")  # fmt: skip
    axes.legend(ncols=2, loc="upper center", fontsize=8)
    return _png(figure)
