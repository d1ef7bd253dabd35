"""How the rounds of a run went, as a picture."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["plot_rounds"]

WINDOW = 10  # rounds of the thick line


def plot_rounds(told: Sequence[Mapping[str, Any]], picture: Path) -> None:
    """Draw reward and tokens of each round, and their means over ten, as a PNG file.

    Raises ImportError if matplotlib is not installed.
    """
    # Without pyplot, which would look for a display.
    figure = import_module("matplotlib.figure").Figure(figsize=(8, 3.6), layout="constrained")
    reward, tokens = figure.subplots(1, 2)
    rounds = [one["round"] for one in told]
    for axes, key, label in (
        (reward, "reward", "reward"), (tokens, "tokens", "tokens an answer"),
    ):  # fmt: skip
        values = [one[key] for one in told]
        axes.plot(rounds, values, color="C0", linewidth=0.7, alpha=0.4)
        axes.plot(rounds, _means(values), color="C0", linewidth=1.8, label="all answers")
        axes.set(xlabel="round", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
    best = [one["solvable"] for one in told]
    reward.plot(rounds, _means(best), color="C1", linewidth=1.2, label="cases solved at least once")
    reward.set_ylim(-0.02, 1.02)
    reward.legend(fontsize=8, loc="lower right")
    tokens.set_ylim(bottom=0)
    partial = picture.with_name(f".{picture.name}")
    figure.savefig(partial, format="png", dpi=120)
    partial.replace(picture)


def _means(values: Sequence[float]) -> list[float]:
    """Of each value and up to nine before it."""
    parts = [values[max(0, n + 1 - WINDOW) : n + 1] for n in range(len(values))]
    return [sum(part) / len(part) for part in parts]
