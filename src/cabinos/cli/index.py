"""`cabin index`: files that can be searched, kept up to date."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cabinos.cli.errors import Failure
from cabinos.cli.options import as_json
from cabinos.cli.terminal import note, print_json, show

if TYPE_CHECKING:
    from cabinos.index import Index
    from cabinos.index.update import Report

PAUSE = 2.0  # seconds between two looks with --watch
NAMED = 10  # problems that are shown
BUILT_IN = "built-in"


@click.command("index")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--watch", is_flag=True, help="Stay, and take changes in until Ctrl-C.")
@click.option("--status", is_flag=True, help="Say what is in the index.")
@click.option("--forget", is_flag=True, help="Take PATHS out of the index for good.")
@click.option(
    "--encoder",
    metavar="FOLDER",
    help="Make the vectors with all-MiniLM-L6-v2 in FOLDER (model.safetensors, tokenizer.json): "
    f"better and much slower. `{BUILT_IN}`: with Cabin's own again.",
)
@as_json
def index_command(
    paths: tuple[Path, ...],
    watch: bool,
    status: bool,
    forget: bool,
    encoder: str | None,
    as_json: bool,
) -> None:
    """Make the files in PATHS searchable; without PATHS, bring the index up to date.

    Text, Markdown, HTML, PDF, Word files and source code. Links, binary files and what begins with
    a dot are left out. Nothing leaves this machine.
    """
    from cabinos.index import open_index
    from cabinos.index.update import add_roots, roots

    if sum((watch, status, forget)) > 1:
        raise click.UsageError("--watch, --status and --forget go each alone.")
    if encoder is not None:
        _choose(encoder)
    with open_index() as index:
        if status:
            _show_status(index, as_json)
            return
        if forget:
            _forget(index, paths, as_json)
            return
        chosen = add_roots(index, paths) if paths else roots(index)
        if not chosen:
            raise Failure("nothing is indexed yet. Name files or folders: cabin index FOLDER")
        report = _update(index, chosen)
        if as_json:
            print_json(_as_data(report))
        else:
            _show(report)
        while watch:
            time.sleep(PAUSE)
            report = _update(index, chosen, bar=False)
            if report.read or report.removed:
                _show(report)


def _update(index: "Index", chosen: list[Path], *, bar: bool = True) -> "Report":
    from cabinos.drivers.contents import read_content
    from cabinos.index.update import update

    if not bar:
        return update(index, chosen, read_content)
    with _bar() as progress:
        return update(index, chosen, read_content, progress)


@contextmanager
def _bar() -> Iterator[Callable[[int, int], object]]:
    """A bar on stderr that follows the files; nothing when stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        "indexing", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal, transient=True,
    ) as progress:  # fmt: skip
        task = progress.add_task("files", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _show(report: "Report") -> None:
    parts = [f"{report.read:,} files read ({report.passages:,} passages)"]
    parts += [f"{report.unchanged:,} unchanged"] if report.unchanged else []
    parts += [f"{report.removed:,} gone"] if report.removed else []
    show([", ".join(parts)])
    for problem in report.problems[:NAMED]:
        note(problem)
    if len(report.problems) > NAMED:
        note(f"and {len(report.problems) - NAMED} more: cabin index --status --json")


def _as_data(report: "Report") -> dict[str, Any]:
    return {
        "read": report.read,
        "passages": report.passages,
        "unchanged": report.unchanged,
        "removed": report.removed,
        "problems": report.problems,
    }


def _choose(encoder: str) -> None:
    """Writes down which encoder is to be used. Raises SearchError if it is none."""
    from cabinos.index import Index
    from cabinos.index.database import default_path

    with Index(default_path(), None) as index:
        if encoder != BUILT_IN:
            from cabinos.index.minilm import MiniLM

            MiniLM(Path(encoder))
        with index.writing() as db:
            db.execute("DELETE FROM meta WHERE key = 'folder'")
            if encoder != BUILT_IN:
                row = ("folder", str(Path(encoder).resolve()))
                db.execute("INSERT INTO meta VALUES (?, ?)", row)


def _forget(index: "Index", paths: tuple[Path, ...], as_json: bool) -> None:
    from cabinos.index.update import forget

    if not paths:
        raise click.UsageError("--forget needs PATHS.")
    forgotten = sum(forget(index, path.resolve()) for path in paths)
    if as_json:
        print_json({"forgotten": forgotten})
    else:
        show([f"{forgotten:,} files forgotten"])


def _show_status(index: "Index", as_json: bool) -> None:
    from cabinos.index.update import roots

    ((files, passages, missing),) = index.rows(
        "SELECT (SELECT count(*) FROM source WHERE kind = 'file'), count(*), "
        "count(*) - count(vector) FROM passage"
    )
    problems = index.rows("SELECT name, problem FROM source WHERE problem != '' ORDER BY name")
    assert index.path is not None
    assert index.encoder is not None
    status: dict[str, Any] = {
        "path": str(index.path),
        "bytes": index.path.stat().st_size,
        "encoder": index.encoder.name,
        "roots": [str(root) for root in roots(index)],
        "files": files,
        "passages": passages,
        "without_vector": missing,
        "problems": [{"file": name, "problem": problem} for name, problem in problems],
    }
    if as_json:
        print_json(status)
        return
    show([f"{index.path}  {status['bytes'] / 1e6:,.1f} MB, vectors by {index.encoder.name}"])
    show([f"{files:,} files, {passages:,} passages"])
    if missing:
        show([f"{missing:,} passages have no vector yet: cabin index"])
    for root in roots(index):
        show([f"  {root}"])
    for name, problem in problems[:NAMED]:
        note(f"{name}: {problem}.")
