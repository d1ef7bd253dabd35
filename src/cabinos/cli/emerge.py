"""`cabin emerge`: when a training run learnt what."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cabinos.cli.data import data_option
from cabinos.cli.eval import bars
from cabinos.cli.options import as_json
from cabinos.cli.terminal import note

if TYPE_CHECKING:
    from cabinos.lab.evaluate.emergence import Point

SUITES = ("blimp", "facts", "sums", "bytes")
FEWER = {"blimp": 6_700, "bytes": 64}  # cases for each snapshot, at most


def _limits(
    _context: click.Context, _option: click.Parameter, given: tuple[str, ...]
) -> dict[str, int]:
    """Cases of each suite: `100` is of all that are not named, `blimp=100` of that one."""
    some, named = dict(FEWER), dict[str, int]()
    for text in given:
        name, _, number = text.rpartition("=")
        if not number.isdecimal() or not int(number) or name not in ("", *SUITES):
            raise click.BadParameter(f"{text!r}; write it as 100, or as {SUITES[0]}=100.")
        if name:
            named[name] = int(number)
        else:
            some |= {suite: min(int(number), FEWER.get(suite, int(number))) for suite in SUITES}
    return some | named


@click.command("emerge")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@data_option
@click.option(
    "--limit",
    "limits",
    multiple=True,
    callback=_limits,
    metavar="[SUITE=]N",
    help="N cases of each suite, or of the one that is named. May be repeated.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of cases and choices.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Of the engine.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the curves are kept; a second call goes on there. Default: RUN/emergence.json.",
)
@as_json
def emerge_command(
    run: Path,
    folder: Path,
    limits: dict[str, int],
    seed: int,
    threads: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """See when a training run learnt what: grammar, facts, calculations.

    Its snapshots (after updates 1, 2, 4, 8 …) and its last checkpoint are measured, and drawn
    against the tokens trained on and against the bits per byte they had brought.
    """
    from cabinos.lab.evaluate.emergence import measure_run, plot
    from cabinos.lab.evaluate.suite import chosen
    from cabinos.lab.evaluate.suites import build
    from cabinos.train.errors import require_torch

    require_torch()
    from cabinos.train.export import export_gguf
    from cabinos.train.saved import load_run

    def export(weights: Path, output: Path) -> None:
        model, companion = load_run(run, weights)
        export_gguf(model, companion, output, "f32")

    work = []
    for name in SUITES:
        suite = build(name, folder, seed)
        work.append((suite, chosen(suite.cases(), limits.get(name), seed)))
    settings = {"limits": limits, "seed": seed, "suites": list(SUITES)}
    file = out or run / "emergence.json"
    with bars() as watcher:
        points = measure_run(run, work, export, file, watcher, settings, threads=threads)
    if as_json:
        click.echo(json.dumps({"settings": settings, "points": points}))
    else:
        _show(points)
    picture = file.with_suffix(".png")
    try:
        plot(points, picture)
        note(f"{file} and {picture} are written.", dim=False)
    except ImportError:
        note(f"{file} is written. To plot it: pip install 'cabinos[train]'.", dim=False)


def _show(points: "Sequence[Point]") -> None:
    """A line for each snapshot."""
    from rich.console import Console
    from rich.table import Table

    from cabinos.lab.evaluate.emergence import PROBES, texts_of

    texts = texts_of(points)
    names = [name for _, _, curves, _ in PROBES for name in curves]
    labels = [label for _, _, curves, _ in PROBES for label in curves.values()]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for label in ("update", "tokens", *texts.values(), *labels):
        table.add_column(label.replace("all phenomena", "grammar"), justify="right")
    for point in points:
        scores = point["scores"]
        bits = [f"{scores[name][0]:.3f}" if name in scores else "" for name in texts]
        shares = [f"{100 * scores[name][0]:.0f} %" if name in scores else "" for name in names]
        table.add_row(f"{point['step']:,}", f"{point['tokens']:,}", *bits, *shares)
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(table)
