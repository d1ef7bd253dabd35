"""`cabin data`: the texts that models are trained on: get them, see what they are."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from rich.table import Table

    from cabinos.train.sources import Progress

P = ParamSpec("P")
R = TypeVar("R")

Folder = click.Path(file_okay=False, path_type=Path)


def data_folder() -> Path:
    """$CABIN_DATA, or else where the platform keeps data for cabin."""
    if given := os.environ.get("CABIN_DATA"):
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "cabin" / "data"
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "cabin" / "data"


data_option = click.option(
    "--data",
    "folder",
    type=Folder,
    default=data_folder,
    show_default="$CABIN_DATA or cabin's data folder",
    help="Where the texts are kept.",
)


@click.group("data")
def data_command() -> None:
    """The texts that models are trained on."""


@data_command.command("get")
@click.argument("names", nargs=-1)
@data_option
@click.option(
    "--from",
    "origin",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Take the sources from this folder (NAME.jsonl or .jsonl.xz) instead of the network.",
)
@click.option("--mirror", metavar="URL", help="Fetch from this server instead of GitHub.")
@click.option("--sources-only", is_flag=True, help="Do not clean, tokenize and pack them.")
@click.option(
    "--eval", "measured", is_flag=True, help="The sets that `cabin eval` measures on, instead."
)
def get_command(
    names: tuple[str, ...],
    folder: Path,
    origin: Path | None,
    mirror: str | None,
    sources_only: bool,
    measured: bool,
) -> None:
    """Fetch the pinned sources (NAMES, default all), clean, tokenize and pack them.

    Every source is verified against the hash in the manifest. What is there already is kept, and
    an interrupted download goes on where it was.
    """
    from cabinos.train import sources
    from cabinos.train.prepare import get_sources, prepare
    from cabinos.train.upstream import GitHub

    hub = GitHub.at(mirror) if mirror else GitHub()
    known = sources.measured() if measured else sources.manifest()
    with _bar() as progress:
        fetched = get_sources(folder, names, origin=origin, hub=hub, progress=progress, known=known)
    for source in fetched:
        click.echo(f"{source.name}: {source.rows:,} rows, {source.bytes / 1e6:,.1f} MB, verified")
    if sources_only or names or measured:
        return
    shards = prepare(folder, lambda text: click.echo(text, err=True))
    tokens = sum(shard.tokens for shard in shards if shard.split == "train")
    click.echo(f"{folder}: {tokens / 1e6:,.1f} M tokens to train on. See: cabin data report")


@contextmanager
def _bar() -> "Iterator[Progress]":
    """A bar on stderr that follows the bytes; nothing when stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:20}"), BarColumn(), DownloadColumn())
    disable = not console.is_terminal
    with Bars(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=disable
    ) as bar:
        task = bar.add_task("sources", total=None)

        def progress(name: str, so_far: int, total: int) -> None:
            bar.update(task, description=name, completed=so_far, total=total or None)

        yield progress


@data_command.command("dialogues")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@data_option
@click.option("--rows", type=click.IntRange(1), default=60_000, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--held-out", is_flag=True, help="Only wordings and words that no training sees.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True)
@click.option("--tokenizer", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def dialogues_command(
    out: Path,
    folder: Path,
    rows: int,
    seed: int,
    held_out: bool,
    workers: int,
    tokenizer: Path | None,
    as_json: bool,
) -> None:
    """Write conversations to OUT, every call of which was made by the real devices.

    The same seed gives the same rows. With a TOKENIZER, their tokens are counted.
    """
    from cabinos.train.dialogues.generate import generate
    from cabinos.train.dialogues.report import report

    data = folder if (folder / "sources").is_dir() else None
    with _rows_bar(rows) as progress:
        generate(seed, rows, out, held_out=held_out, data=data, workers=workers, progress=progress)
    facts = report(out, tokenizer)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    from rich.console import Console

    columns = ("rows", "templates", "turns", "calls", "tokens")
    Console().print(_table("family", columns, facts["families"]))


@contextmanager
def _rows_bar(rows: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr that follows the rows; nothing when stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("rows", total=rows)
        yield lambda done: bar.update(task, completed=done)


@data_command.command("report")
@data_option
@click.option(
    "--against",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Also compare with the texts in this folder, which are only measured: 13-gram overlap.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def report_command(folder: Path, against: Path | None, as_json: bool) -> None:
    """Bytes, tokens, licences, and what was left out, of the texts in the data folder."""
    from cabinos.train.report import report

    facts = report(folder, against)
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    for table in _tables(facts):
        console.print(table)


def _tables(facts: dict[str, Any]) -> "Iterator[Table]":
    columns = ("documents", "copies", "removed_paragraphs", "train_bytes", "held_bytes")
    yield _table("source domain licence", columns, facts["sources"])
    columns = ("train_tokens", "held_tokens", "train_bytes", "bytes_per_token", "share")
    yield _table("domain", columns, facts["domains"])
    if "overlap" in facts:
        yield _table("domain", ("windows", "matches", "measured_sets"), facts["overlap"])


def _table(texts: str, numbers: tuple[str, ...], rows: list[dict[str, Any]]) -> "Table":
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in texts.split():
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name.replace("_", " "), justify="right", no_wrap=True)
    for row in rows:
        cells = [str(row[name]) for name in texts.split()]
        table.add_row(*cells, *(_number(row[name]) for name in numbers))
    return table


def _number(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
