"""`cabin pack`: a Hugging Face model folder becomes one GGUF file."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cabinos.engine.pack import PackReport
    from cabinos.engine.pack.write import Progress as Advance

TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_k", "q5_k", "q6_k", "q4_k_m", "q5_k_m")


@click.command("pack")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Default: FOLDER-TYPE.gguf.")
@click.option(
    "-t",
    "--type",
    "weight_type",
    type=click.Choice(TYPES, case_sensitive=False),
    default="q8_0",
    show_default=True,
    help="How weights are stored.",
)
@click.option("--pure", is_flag=True, help="Give every matrix that type, the output too.")
@click.option(
    "--lora",
    "loras",
    multiple=True,
    metavar="DIR[:SCALE]",
    help="Merge a PEFT LoRA adapter; may be given several times.",
)
@click.option("--name", help="The model's name in the file. Default: the folder's name.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.option("--json", "as_json", is_flag=True, help="Report as one JSON object on stdout.")
def pack_command(
    folder: Path,
    output: Path | None,
    weight_type: str,
    pure: bool,
    loras: tuple[str, ...],
    name: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Pack the Hugging Face model in FOLDER into one GGUF file.

    FOLDER holds safetensors: Llama 2 and 3, TinyLlama, SmolLM, Mistral, Qwen2 and Qwen3. The result
    runs here and in llama.cpp. q4_0, q4_k and q5_k keep the output matrix in q6_k unless --pure is
    given.
    """
    from cabinos.engine.lora import load_adapter, parse_lora
    from cabinos.engine.pack import pack

    target = output or Path(f"{folder.resolve().name}-{weight_type}.gguf")
    if target.exists() and not force:
        raise click.UsageError(
            f"{target} exists. Choose another --output, or overwrite it: --force."
        )
    adapters = [load_adapter(*parse_lora(text)) for text in loras]
    with _progress_bar() as advance:
        report = pack(
            folder,
            target,
            weight_type,
            pure=pure,
            adapters=adapters,
            name=name,
            progress=advance,
        )
    _print_report(report, as_json=as_json)


@contextmanager
def _progress_bar() -> "Iterator[Advance]":
    """A bar on stderr that follows the bytes written; nothing when stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:32}"), BarColumn(), DownloadColumn())
    console = Console(stderr=True)
    disable = not console.is_terminal
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=disable
    ) as bar:
        task = bar.add_task("reading", total=None)

        def advance(name: str, written: int, total: int) -> None:
            bar.update(task, description=name, completed=written, total=total)

        yield advance


def _print_report(report: "PackReport", *, as_json: bool) -> None:
    if as_json:
        facts = {
            "path": str(report.path),
            "architecture": report.architecture,
            "type": report.type,
            "parameters": report.parameters,
            "size": report.size,
            "tensor_types": dict(report.tensor_types),
            "fallbacks": dict(report.fallbacks),
        }
        click.echo(json.dumps(facts, indent=2))
        return
    by_reason: dict[str, list[str]] = {}
    for tensor, reason in report.fallbacks.items():
        by_reason.setdefault(reason, []).append(tensor)
    for reason, tensors in by_reason.items():
        others = f" and {len(tensors) - 1} more" if len(tensors) > 1 else ""
        click.echo(f"{tensors[0]}{others}: stored as {reason}", err=True)
    click.echo(
        f"{report.path}: {report.architecture}, {report.parameters / 1e6:,.1f}M parameters, "
        f"{report.type}, {report.size / 1e6:,.1f} MB"
    )
