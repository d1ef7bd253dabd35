"""`cabin models`: the GGUF files on this machine."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from cabinos.engine.catalog import ModelEntry


@click.command("models")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with a list of models.")
def models_command(paths: tuple[Path, ...], as_json: bool) -> None:
    """List local models: GGUF files in PATHS (files or folders).

    Without PATHS: in $CABIN_MODELS, or else cabin's data folder, in the current folder, and the one
    that is built in. Memory is the file plus the keys and values (bf16) of a full context; "per 1k"
    is that of 1,000 tokens.
    """
    from cabinos.drivers.model.brain import BUILT_IN
    from cabinos.engine.catalog import describe, list_models, model_folders

    entries = list_models(paths)
    if not paths and BUILT_IN.is_file():
        entries.append(describe(BUILT_IN))
    if as_json:
        click.echo(json.dumps({"models": [_as_json(entry) for entry in entries]}, indent=2))
    elif entries:
        _print_table(entries)
    else:
        places = ", ".join(str(p) for p in paths or model_folders())
        click.echo(f"No GGUF files in {places}. Make one with `cabin pack`.", err=True)


def _is_built_in(entry: "ModelEntry") -> bool:
    from cabinos.drivers.model.brain import BUILT_IN

    return entry.path == BUILT_IN


def _as_json(entry: "ModelEntry") -> dict[str, Any]:
    if entry.error is not None:
        return {"path": str(entry.path), "size": entry.size, "error": entry.error}
    return {
        **asdict(entry),
        "path": str(entry.path),
        "built_in": _is_built_in(entry),
        "memory_full_context": entry.memory(),
        "memory_per_1000_tokens": 1000 * entry.kv_bytes_per_token,
    }


def _print_table(entries: "list[ModelEntry]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("file", overflow="fold")
    table.add_column("model", no_wrap=True)
    for heading in ("params", "type", "size", "context", "memory", "per 1k"):
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in entries:
        if entry.error is None:
            table.add_row(
                Text(f"{entry.path.stem} (built in)" if _is_built_in(entry) else str(entry.path)),
                entry.architecture if entry.supported else f"{entry.architecture} (unsupported)",
                _count(entry.parameters),
                entry.quantisation,
                _bytes(entry.size),
                f"{entry.context_length:,}",
                _bytes(entry.memory()),
                _bytes(1000 * entry.kv_bytes_per_token),
            )
    console = Console()
    if not console.is_terminal:  # a pipe has no width: keep each model on one line
        console = Console(width=240)
    if table.row_count:
        console.print(table)
    for entry in entries:
        if entry.error is not None:
            console.print(Text(f"broken  {entry.error}", style="red"), soft_wrap=True)


def _count(number: int) -> str:
    """135M, 1.1B."""
    for unit, size in (("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)


def _bytes(number: int) -> str:
    """12.3 MB; powers of ten, as disks and `ls --si` count."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} B"
