"""Emergence: grammar, facts, sums and bits per byte for every snapshot of a training run.

Snapshots are taken after updates 1, 2, 4, 8 …, and the run's last checkpoint is one too. The curves
are drawn against the logarithm of the tokens that were trained on, and against the bits per byte
that they had brought: what comes late with tokens may come steadily with the loss.
"""

import asyncio
import json
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from math import log
from pathlib import Path
from typing import Any

from cabinos.lab.evaluate.errors import EvalError
from cabinos.lab.evaluate.logprob import Scorer
from cabinos.lab.evaluate.results import Results, summary
from cabinos.lab.evaluate.run import Watcher, evaluate
from cabinos.lab.evaluate.suite import Brain, Case, Suite

__all__ = ["PROBES", "Point", "measure_run", "plot", "snapshots", "texts_of"]

Point = dict[str, Any]  # step, tokens, scores: "suite: measure (group)" → [score, low, high, n]
Export = Callable[[Path, Path], None]  # from the weights of a snapshot to a GGUF file


def snapshots(run: Path) -> list[tuple[int, int, Path]]:
    """(update, tokens trained on, weights) of a run's snapshots, in order.

    Raises EvalError if there are none.
    """
    by_update = {_update(path): path for path in run.glob("step-*.safetensors")}
    last = max(by_update, default=0)
    found = {_update(path): path for path in (run / "snapshots").glob("*.safetensors")}
    if last:
        found.setdefault(last, by_update[last])
    if not found:
        raise EvalError(f"{run}: no snapshots. Give the folder of a training run.")
    tokens: dict[int, int] = {}
    log = run / "metrics.jsonl"
    for line in log.read_text(encoding="utf-8").splitlines() if log.is_file() else ():
        try:
            facts = json.loads(line)
        except ValueError:
            break  # the last line of a run that was cut off
        if "tokens" in facts:
            tokens[facts["step"]] = facts["tokens"]
    missing = sorted(found.keys() - tokens.keys())
    if missing:
        raise EvalError(f"{log}: does not tell of update {missing[0]}.")
    return [(step, tokens[step], found[step]) for step in sorted(found)]


def _update(weights: Path) -> int:
    return int(weights.stem.removeprefix("step-"))


def measure_run(
    run: Path,
    suites: Sequence[tuple[Suite, Sequence[Case]]],
    export: Export,
    out: Path,
    watcher: Watcher,
    settings: dict[str, Any],
    *,
    threads: int | None = None,
) -> list[Point]:
    """A point for each snapshot, written to `out` as JSON as they come.

    Those that are in `out` already, with the same settings, are kept.
    """
    points = _before(out, settings)
    known = {point["step"] for point in points}
    for step, tokens, weights in snapshots(run):
        if step in known:
            continue
        with tempfile.TemporaryDirectory(prefix="cabin-eval-") as folder:
            model = Path(folder) / "snapshot.gguf"
            export(weights, model)
            with Scorer(model, threads=threads) as scorer:
                scores = _scores(scorer, suites, Path(folder), watcher)
        points.append({"step": step, "tokens": tokens, "scores": scores})
        points.sort(key=lambda point: int(point["step"]))
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(f".{out.name}")
        text = json.dumps({"settings": settings, "points": points}, indent=1)
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(out)
    return points


def _before(out: Path, settings: dict[str, Any]) -> list[Point]:
    try:
        facts = json.loads(out.read_text(encoding="utf-8"))
        return list(facts["points"]) if facts["settings"] == settings else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _scores(
    scorer: Scorer, suites: Sequence[tuple[Suite, Sequence[Case]]], folder: Path, watcher: Watcher
) -> dict[str, list[float]]:
    scores = {}
    with Results(folder / "results.jsonl", {}) as results:
        for suite, cases in suites:
            asyncio.run(evaluate(suite, Brain(scorer=scorer), cases, results, watcher))
            for row in summary(suite, results.of(suite.name, cases)):
                name = f"{row.suite}: {row.measure}" + (f" ({row.group})" if row.group else "")
                scores[name] = [row.score, row.low, row.high, row.n]
    return scores


Curves = dict[str, str]  # name of a score → how it is called in the picture

PROBES: tuple[tuple[str, str, Curves, float], ...] = (
    ("grammar (BLiMP)", "share of pairs", {"blimp: right": "all phenomena"}, 0.5),
    (
        "capitals, of ten candidates",
        "share first",
        {
            "facts: first of ten (forward)": "country → capital",
            "facts: first of ten (backward)": "capital → country",
        },
        0.1,
    ),
    (
        "calculations, of ten candidates",
        "share first",
        {
            "sums: first of ten (one digit)": "3+4",
            "sums: first of ten (two digits)": "12+34",
            "sums: first of ten (differences)": "34-12",
            "sums: first of ten (products)": "3 x 4",
        },
        0.1,
    ),
)
TEXTS: Curves = {
    "bytes: bits per byte (held-out books)": "books",
    "bytes: bits per byte (wikitext2)": "WikiText-2",
}
ALONE: Curves = {"bytes: bits per byte": "WikiText-2"}  # without books, there is one text


APART = 1.07  # what tokens are multiplied by from one curve to the next


def texts_of(points: Sequence[Point]) -> Curves:
    """The curves of bits per byte that there are; the first is the measure of the loss."""
    known = {
        name: label for name, label in TEXTS.items() if any(name in p["scores"] for p in points)
    }
    return known or ALONE


def plot(points: Sequence[Point], picture: Path) -> None:
    """Draw the curves with their 95 % intervals. Raises ImportError without matplotlib."""
    # Without pyplot, which would look for a display.
    figure = import_module("matplotlib.figure").Figure(figsize=(15, 7), layout="constrained")
    upper, lower = figure.subplots(2, len(PROBES) + 1)
    texts = texts_of(points)
    loss = next(iter(texts))
    for above, below, (title, label, curves, chance) in zip(upper, lower, PROBES, strict=False):
        _draw(above, points, curves, None)
        _draw(below, [p for p in points if loss in p["scores"]], curves, loss)
        for axes in (above, below):
            axes.axhline(chance, color="grey", linewidth=0.8, linestyle=":", label="chance")
            axes.set(ylabel=label, ylim=(-0.02, 1.02))
        above.set_title(title)
        above.legend(fontsize=7, loc="upper left")  # the row below has the same curves
        below.set_xlabel(f"bits per byte ({texts[loss]})")
        below.invert_xaxis()
    _draw(upper[-1], points, texts, None)
    upper[-1].set(title="texts that were held out", ylabel="bits per byte")
    lower[-1].set_axis_off()
    upper[-1].legend(fontsize=7)
    for axes in upper:
        axes.set(xscale="log", xlabel="tokens trained on")
    partial = picture.with_name(f".{picture.name}")
    figure.savefig(partial, format="png", dpi=110)
    partial.replace(picture)


def _draw(axes: Any, points: Sequence[Point], curves: Curves, against: str | None) -> None:
    """The curves against tokens, or against the score that is named; side by side, to be seen."""
    for place, (name, legend) in enumerate(curves.items()):
        known = [point for point in points if name in point["scores"]]
        if not known:
            continue
        aside = place - (len(curves) - 1) / 2
        if against is None:
            x = [p["tokens"] * APART**aside for p in known]  # the axis is logarithmic
        else:
            x = [p["scores"][against][0] - log(APART) / 4 * aside for p in known]
        score, low, high, _ = zip(*(point["scores"][name] for point in known), strict=True)
        (line,) = axes.plot(x, score, marker=".", label=legend)
        axes.vlines(x, low, high, color=line.get_color(), linewidth=1.5, alpha=0.35)
