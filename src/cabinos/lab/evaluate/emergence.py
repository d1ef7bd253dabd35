"""Emergence: grammar, facts and bits per byte for every snapshot of a training run.

Snapshots are taken after updates 1, 2, 4, 8 …, so the curves are drawn against the logarithm of the
tokens that were trained on.
"""

import asyncio
import json
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from cabinos.lab.evaluate.errors import EvalError
from cabinos.lab.evaluate.logprob import Scorer
from cabinos.lab.evaluate.results import Results, summary
from cabinos.lab.evaluate.run import Watcher, evaluate
from cabinos.lab.evaluate.suite import Brain, Case, Suite

__all__ = ["Point", "measure_run", "plot", "snapshots"]

Point = dict[str, Any]  # step, tokens, scores: "suite: measure (group)" → [score, low, high, n]
Export = Callable[[Path, Path], None]  # from the weights of a snapshot to a GGUF file


def snapshots(run: Path) -> list[tuple[int, int, Path]]:
    """(update, tokens trained on, weights) of a run's snapshots, in order.

    Raises EvalError if there are none.
    """
    found = sorted((run / "snapshots").glob("*.safetensors"))
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
    missing = [path for path in found if int(path.stem) not in tokens]
    if missing:
        raise EvalError(f"{log}: does not tell of update {int(missing[0].stem)}.")
    return [(int(path.stem), tokens[int(path.stem)], path) for path in found]


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


PANELS = (
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
        "held-out texts",
        "bits per byte",
        {
            "bytes: bits per byte (held-out books)": "books",
            "bytes: bits per byte (wikitext2)": "WikiText-2",
        },
        None,
    ),
)
ALONE = {"bytes: bits per byte": "WikiText-2"}  # where there are no books, there is one text


def plot(points: Sequence[Point], picture: Path) -> None:
    """Draw the curves with their 95 % intervals. Raises ImportError without matplotlib."""
    # Without pyplot, which would look for a display.
    figure = import_module("matplotlib.figure").Figure(figsize=(12, 4), layout="constrained")
    for axes, (title, label, curves, chance) in zip(figure.subplots(1, 3), PANELS, strict=True):
        if not any(name in point["scores"] for name in curves for point in points):
            curves = ALONE if "bits" in label else curves  # noqa: PLW2901
        for name, legend in curves.items():
            known = [point for point in points if name in point["scores"]]
            if not known:
                continue
            tokens = [point["tokens"] for point in known]
            score, low, high, _ = zip(*(point["scores"][name] for point in known), strict=True)
            axes.plot(tokens, score, marker=".", label=legend)
            axes.fill_between(tokens, low, high, alpha=0.2)
        if chance is not None:
            axes.axhline(chance, color="grey", linewidth=0.8, linestyle=":", label="chance")
        axes.set(title=title, xlabel="tokens trained on", ylabel=label, xscale="log")
        axes.legend(fontsize=7)
    partial = picture.with_name(f".{picture.name}")
    figure.savefig(partial, format="png", dpi=120)
    partial.replace(picture)
