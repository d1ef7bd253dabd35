"""`cabin train`: make a model from the texts of `cabin data`, and export it."""

import json
from pathlib import Path
from typing import Any

import click

from cabinos.cli.data import Folder, data_option, workshop

TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_k", "q5_k", "q6_k")


def _mix(_context: click.Context, _option: click.Parameter, text: str | None) -> Any:
    """`books=3,maths=1` as a dictionary; the default mixture if not given."""
    from cabinos.train.config import MIX

    if text is None:
        return dict(MIX)
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {domain.strip(): float(share) for domain, share in pairs}
    except ValueError:
        raise click.BadParameter(f"{text!r}; write it as books=3,maths=1") from None


@click.group("train")
def train_command() -> None:
    """Make a model: pre-train it, export it."""


@train_command.command("pretrain")
@click.argument("out", type=Folder)
@data_option
@click.option("--depth", default=6, show_default=True, help="Layers; all else derives from it.")
@click.option("--tokens", default=8_000_000, show_default=True, help="Tokens to train on.")
@click.option("--batch-tokens", default=8192, show_default=True, help="Tokens for one update.")
@click.option("--micro-tokens", default=4096, show_default=True, help="Tokens at once, for memory.")
@click.option("--context", default=512, show_default=True, help="Row length.")
@click.option(
    "--long-context", default=1024, show_default=True, help="Row length in the last tenth."
)
@click.option("--matrix-rate", default=0.012, show_default=True, help="Learning rate of Muon.")
@click.option("--other-rate", default=0.004, show_default=True, help="Learning rate of AdamW.")
@click.option(
    "--mix",
    metavar="DOMAIN=SHARE,…",
    callback=_mix,
    help="Shares of the domains. [default: the mixture of nano]",
)
@click.option("--seed", default=1, show_default=True, help="Of the first weights.")
@click.option("--device", help="cpu, cuda or mps. [default: the fastest there is]")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    help="Of activations. [default: the fastest]",
)
@click.option("--compile/--no-compile", "compiled", default=None, help="Use torch.compile.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. [default: all cores]")
@click.option("--save-every", default=300.0, show_default=True, help="Seconds to a checkpoint.")
@click.option("--test-every", default=100, show_default=True, help="Updates to an evaluation.")
@click.option("--until", type=click.IntRange(min=1), help="Stop after this update; go on later.")
@workshop
def pretrain_command(
    out: Path,
    folder: Path,
    *,
    device: str | None,
    dtype: str | None,
    compiled: bool | None,
    threads: int | None,
    save_every: float,
    test_every: int,
    until: int | None,
    **shape: Any,
) -> None:
    """Train a base model into the folder OUT.

    It may be killed at any time: the same command goes on from the last checkpoint, bit for bit.
    Several processes or machines: torchrun --nproc-per-node 2 -m cabinos train pretrain OUT …
    """
    from cabinos.train.config import RunConfig
    from cabinos.train.errors import require_torch

    require_torch()
    from cabinos.train.pretrain import Options, pretrain

    options = Options(
        device=device,
        dtype=dtype,
        compiled=compiled,
        threads=threads,
        save_every=save_every,
        test_every=test_every,
        until=until,
    )
    run = pretrain(RunConfig(**shape), folder, out, options)
    if run.processes.rank == 0:
        click.echo(f"{out}: {run.progress.step} updates, {run.progress.seconds:,.0f} s of training")


@train_command.command("export")
@click.argument("run", type=Folder)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A .gguf file or a folder.")
@click.option(
    "-t",
    "--type",
    "kind",
    type=click.Choice(TYPES),
    default="q8_0",
    show_default=True,
    help="How a GGUF file stores the weights.",
)
@click.option(
    "--weights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="These weights, such as a snapshot. [default: the last checkpoint]",
)
@click.option("--name", help="The model's name in the file.")
@click.option("--json", "as_json", is_flag=True, help="Report as one JSON object on stdout.")
@workshop
def export_command(
    run: Path,
    output: Path | None,
    kind: str,
    weights: Path | None,
    name: str | None,
    as_json: bool,
) -> None:
    """Export the model of RUN to a GGUF file, or to a Hugging Face folder.

    OUTPUT ending in .gguf gives the one, any other name the other. Default: RUN/base-TYPE.gguf.
    """
    from cabinos.train.errors import require_torch

    require_torch()
    from cabinos.train.export import export_gguf, export_hf, load_run

    model, tokenizer = load_run(run, weights)
    target = output or run / f"base-{kind}.gguf"
    if target.suffix == ".gguf":
        size = export_gguf(model, tokenizer, target, kind, name=name).size
    else:
        size = sum(p.stat().st_size for p in export_hf(model, tokenizer, target).iterdir())
    parameters = model.config.parameters
    if as_json:
        click.echo(json.dumps({"path": str(target), "parameters": parameters, "size": size}))
    else:
        click.echo(f"{target}: {parameters / 1e6:,.1f} M parameters, {size / 1e6:,.1f} MB")
