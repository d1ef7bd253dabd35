"""What a run tells while it goes: a line of JSON an update, a bar in the terminal, a plot."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

__all__ = ["Metrics", "MetricsLog", "Watcher", "plot", "progress_bar"]


@dataclass(frozen=True)
class Metrics:
    """One update."""

    step: int  # counts from 1
    tokens: int  # trained on so far
    loss: float  # nats a token; of stage 3: of a pair, or of an answer
    bits_per_byte: float | None  # of the batch, if it is one of texts
    rate: float  # learning rate, as a share of its peak
    norm: float  # of the gradient
    tokens_per_second: float
    utilisation: float  # share of the machine's measured peak for matrix products
    seconds: float  # spent training so far


class Watcher(Protocol):
    """Something that is told of every update, and of every evaluation."""

    def update(self, metrics: Metrics) -> None:
        """After an update."""
        ...

    def evaluated(self, step: int, held_out: dict[str, float]) -> None:
        """After an evaluation, which gives nothing if nothing is held out."""
        ...


class MetricsLog:
    """`metrics.jsonl`. Lines after `step`, of a run that was cut off, are dropped."""

    def __init__(self, path: Path, step: int) -> None:
        kept = [line for line in read_log(path) if line["step"] <= step]
        partial = path.with_suffix(".part")
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept))
        partial.replace(path)
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def update(self, metrics: Metrics) -> None:
        """After an update."""
        facts = {k: float(f"{v:.6g}") if isinstance(v, float) else v
                 for k, v in asdict(metrics).items()}  # fmt: skip
        self._file.write(json.dumps(facts) + "\n")

    def evaluated(self, step: int, held_out: dict[str, float]) -> None:
        """After an evaluation on held-out texts."""
        if not held_out:
            return
        facts = {domain: round(value, 5) for domain, value in held_out.items()}
        self._file.write(json.dumps({"step": step, "held_out": facts}) + "\n")

    def close(self) -> None:
        """No more lines."""
        self._file.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; a last line that was cut off is left out."""
    lines = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                break
    return lines


class ProgressBar:
    """Loss, bits per byte, speed, utilisation and time left, in the terminal."""

    def __init__(self, bar: "Bar", task: Any, measure: str) -> None:
        self._bar, self._task, self._measure = bar, task, measure

    def update(self, metrics: Metrics) -> None:
        """After an update."""
        bits = metrics.bits_per_byte
        text = (
            f"loss {metrics.loss:.3f}  {'' if bits is None else f'{bits:.3f} bits/byte  '}"
            f"{metrics.tokens_per_second:,.0f} tokens/s  {metrics.utilisation:.0%} of peak"
        )
        self._bar.update(self._task, completed=metrics.step, description=text)

    def evaluated(self, step: int, held_out: dict[str, float]) -> None:
        """After an evaluation on held-out texts."""
        if not held_out:
            return
        parts = "  ".join(f"{domain} {value:.3f}" for domain, value in held_out.items())
        self._bar.console.print(
            f"update {step}, held out, {self._measure}: {parts}", highlight=False
        )


@contextmanager
def progress_bar(steps: int, done: int, measure: str) -> Iterator[ProgressBar]:
    """A bar on stderr. Where that is no terminal, only evaluations (of `measure`) are printed."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    console = Console(stderr=True)
    if not console.is_terminal:
        console = Console(stderr=True, width=160)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    disable = not console.is_terminal
    with Progress(*columns, console=console, disable=disable) as bar:
        yield ProgressBar(bar, bar.add_task("starting", total=steps, completed=done), measure)


def plot(log: Path, picture: Path, measure: str = "bits per byte") -> None:
    """Draw the loss, and what evaluations gave (`measure`), of the run in `log` as a PNG file.

    Raises ImportError if matplotlib is not installed.
    """
    lines = read_log(log)
    updates = [line for line in lines if "loss" in line]
    if not updates:
        return
    # Without pyplot, which would look for a display.
    figure = import_module("matplotlib.figure").Figure(figsize=(8, 4.5), layout="constrained")
    loss, held = figure.subplots(1, 2)
    tokens = [line["tokens"] / 1e6 for line in updates]
    values = [line["loss"] for line in updates]
    loss.plot(tokens, values, linewidth=0.5, alpha=0.4)
    loss.plot(tokens, _smooth(values), linewidth=1.5)
    loss.set(xlabel="million tokens", ylabel="training loss (nats a token)")
    at = {line["step"]: line["tokens"] / 1e6 for line in updates}
    tests = [line for line in lines if "held_out" in line and line["step"] in at]
    for domain in tests[-1]["held_out"] if tests else ():
        points = [(at[t["step"]], t["held_out"].get(domain, math.nan)) for t in tests]
        width = 2.0 if domain == "all" else 1.0
        held.plot(*zip(*points, strict=True), label=domain, linewidth=width)
    held.set(xlabel="million tokens", ylabel=f"held out, {measure}")
    if tests:
        held.legend(fontsize=7)
    partial = picture.with_name(f".{picture.name}")
    figure.savefig(partial, format="png", dpi=120)
    partial.replace(picture)


def _smooth(values: list[float], keep: float = 0.95) -> list[float]:
    """Exponential moving average, unbiased at its start."""
    result, mean, weight = [], 0.0, 0.0
    for value in values:
        mean = keep * mean + (1 - keep) * value
        weight = keep * weight + (1 - keep)
        result.append(mean / weight)
    return result
