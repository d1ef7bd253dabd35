"""`cabin eval`: what a model can do, measured, with intervals."""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cabinos.cli.data import data_option
from cabinos.cli.errors import INTERRUPTED, Failure
from cabinos.cli.options import as_json
from cabinos.cli.terminal import note, print_json

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from cabinos.kernel.driver import Model
    from cabinos.lab.evaluate.results import Results, Row
    from cabinos.lab.evaluate.suite import Case, Suite

NAMES = ("templates", "arithmetic", "clinc", "xquad", "bfcl", "facts", "bytes", "blimp", "sums")
AT_ONCE = 8  # thoughts
MANY = 24  # groups of a suite, more of which are not listed


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run is made, besides what is measured."""

    seed: int
    threads: int | None  # of the engine


@click.command("eval")
@click.argument("model", required=False)
@click.option(
    "--suite",
    "names",
    type=click.Choice(NAMES),
    multiple=True,
    help="Only these; may be repeated. Default: all that the model can do.",
)
@data_option
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="N cases of each suite.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of cases and choices.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Of the engine. Default: the CPUs there are; on a busy machine, fewer are faster.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where verdicts are kept, a line each; a second run goes on there. Default: "
    "eval-MODEL.jsonl.",
)
@click.option("--fresh", is_flag=True, help="Begin anew: what is in that file is thrown away.")
@as_json
def eval_command(
    model: str | None,
    names: tuple[str, ...],
    folder: Path,
    limit: int | None,
    seed: int,
    threads: int | None,
    out: Path | None,
    fresh: bool,
    as_json: bool,
) -> None:
    """Measure what MODEL (default: the brain) can do.

    templates: held-out conversations, by their end state · arithmetic: expressions · clinc:
    requests of people · xquad: questions about a file · bfcl: functions never seen · facts:
    capitals, both ways · bytes: bits per byte · blimp: grammar · sums: small calculations.
    See docs/evaluation.md.
    """
    from cabinos.lab.evaluate.results import Results
    from cabinos.lab.evaluate.suite import chosen
    from cabinos.lab.evaluate.suites import NEEDS, build

    brain, path = _open(model, threads)
    wanted = [name for name in names or NAMES if names or path or NEEDS[name] == "model"]
    if path is None and (deaf := [name for name in wanted if NEEDS[name] == "scorer"]):
        raise Failure(f"{brain.name}: {deaf[0]} needs log-probabilities, so a local GGUF file.")
    suites = [build(name, folder, seed) for name in wanted]
    work = [(suite, chosen(suite.cases(), limit, seed)) for suite in suites]
    file = out or Path(f"eval-{brain.name}.jsonl")
    identity = {"model": brain.name, "seed": seed, "sha256": _digest(path)}
    with Results(file, identity, fresh=fresh) as results:
        whole = _run(brain, path, work, results, Settings(seed, threads))
        rows = _rows(work, results)
    if as_json:
        facts = {**identity, "whole": whole, "file": str(file), "rows": [asdict(r) for r in rows]}
        print_json(facts)
    else:
        _show(rows)
    if not whole:
        note(f"Stopped. What is done is in {file}; the same command goes on.", dim=False)
        raise SystemExit(INTERRUPTED)


def _open(name: str | None, threads: int | None) -> "tuple[Model, Path | None]":
    """The model, and its file if it is a local one."""
    from cabinos.cli.session import NO_BRAIN
    from cabinos.drivers.model import open_models
    from cabinos.drivers.model.brain import choose_brain
    from cabinos.kernel.plugins import read_config
    from cabinos.store.home import cabin_home, config_path

    config, chosen = choose_brain(read_config(config_path()), name)
    models = config.get("model", {})
    chosen = chosen or next(iter(models), None)
    if chosen is None:
        raise Failure(NO_BRAIN.format(folder=cabin_home() / "models", config=config_path()))
    if chosen not in models:
        raise Failure(f"{chosen}: no such model. `cabin models` lists those there are.")
    table: dict[str, Any] = dict(models[chosen])
    local = table.get("provider") == "local"
    if local:
        table["slots"] = max(AT_ONCE, table.get("slots", 0))
        table["threads"] = threads or table.get("threads")
    (model,) = open_models({chosen: table})
    return model, Path(table["path"]).expanduser() if local else None


def _digest(path: Path | None) -> str:
    if path is None:
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _run(
    model: "Model",
    path: Path | None,
    work: "Sequence[tuple[Suite, list[Case]]]",
    results: "Results",
    settings: "Settings",
) -> bool:
    """Judges what is missing; False if Ctrl-C ended it early."""
    from cabinos.drivers.model.local import LocalModel
    from cabinos.lab.evaluate.converse import backstage
    from cabinos.lab.evaluate.logprob import Scorer
    from cabinos.lab.evaluate.run import evaluate
    from cabinos.lab.evaluate.suite import Brain

    async def conversations(watcher: "Bars") -> None:
        try:
            if isinstance(model, LocalModel) and any(s.needs == "model" for s, _ in work):
                await model.embed(["x"])  # opens the file, or says why not
            for suite, cases in work:
                if suite.needs == "model":
                    await evaluate(suite, Brain(model, seed=settings.seed), cases, results, watcher)
        finally:
            if close := getattr(model, "close", None):
                await close()

    try:
        with bars() as watcher, backstage():
            asyncio.run(conversations(watcher))
            scored = [item for item in work if item[0].needs == "scorer"]
            if scored and path is not None:
                with Scorer(path, threads=settings.threads) as scorer:
                    for suite, cases in scored:
                        brain = Brain(scorer=scorer, seed=settings.seed)
                        asyncio.run(evaluate(suite, brain, cases, results, watcher))
    except KeyboardInterrupt:
        return False
    return True


def _rows(work: "Sequence[tuple[Suite, list[Case]]]", results: "Results") -> "list[Row]":
    from cabinos.lab.evaluate.results import summary

    return [
        row for suite, cases in work for row in summary(suite, results.of(suite.name, cases))
    ]  # fmt: skip


# ---- What a person sees --------------------------------------------------------------------------


class Bars:
    """A bar for each suite, on stderr."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def begin(self, suite: "Suite", done: int, total: int) -> None:
        """See `Watcher`."""
        self._tasks[suite.name] = self._progress.add_task(suite.name, total=total, completed=done)

    def judged(self, suite: "Suite", count: int) -> None:
        """See `Watcher`."""
        self._progress.advance(self._tasks[suite.name], count)


@contextmanager
def bars() -> "Iterator[Bars]":
    """Bars on stderr; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, *times, console=console, disable=not console.is_terminal) as progress:
        yield Bars(progress)


def _show(rows: "Sequence[Row]") -> None:
    """The table: each measure over all cases, and by group where those are not too many."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("suite", "measure", ""):
        table.add_column(name, no_wrap=True)
    for name in ("score", "95 % interval", "n", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        groups = sum(r.suite == row.suite and r.measure == row.measure for r in rows) - 1
        if row.group and groups > MANY:
            continue
        score, low, high = (_figure(row, value) for value in (row.score, row.low, row.high))
        style = None if row.group else "bold"
        cells = (f"{row.n:,}", f"{row.seconds:.1f}")
        table.add_row(
            row.suite, row.measure, row.group, score, f"{low} – {high}", *cells, style=style
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    console.print(table)


def _figure(row: "Row", value: float) -> str:
    return f"{value:.3f}" if "bits" in row.measure else f"{100 * value:.1f} %"
