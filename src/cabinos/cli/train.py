"""`cabin train`: make a model from the texts of `cabin data`, and export it."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from cabinos.cli.data import Folder, data_option

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_k", "q5_k", "q6_k")


def mix_of(_context: click.Context, _option: click.Parameter, text: str | None) -> Any:
    """`books=3,maths=1` as a dictionary; the default mixture if not given."""
    from cabinos.train.config import MIX

    if text is None:
        return dict(MIX)
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {domain.strip(): float(share) for domain, share in pairs}
    except ValueError:
        raise click.BadParameter(f"{text!r}; write it as books=3,maths=1") from None


MACHINE = (
    click.option("--device", help="cpu, cuda or mps. [default: the fastest there is]"),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "bfloat16"]),
        help="Of activations. [default: the fastest]",
    ),
    click.option("--compile/--no-compile", "compiled", default=None, help="Use torch.compile."),
    click.option("--threads", type=click.IntRange(min=1), help="CPU threads. [default: all cores]"),
    click.option("--save-every", default=300.0, show_default=True, help="Seconds to a checkpoint."),
    click.option("--test-every", default=100, show_default=True, help="Updates to an evaluation."),
    click.option(
        "--test-tokens", default=16_384, show_default=True, help="Of each domain, to evaluate on."
    ),
    click.option(
        "--snapshots/--no-snapshots",
        default=True,
        show_default=True,
        help="Keep the weights after updates 1, 2, 4, 8, …; `cabin emerge` measures them.",
    ),
    click.option(
        "--until", type=click.IntRange(min=1), help="Stop after this update; go on later."
    ),
)


def machine_options(command: Callable[P, R]) -> Callable[P, R]:
    """What may change from one start of a run to the next."""
    for option in reversed(MACHINE):
        command = option(command)
    return command


def taken(kind: type[T], given: dict[str, Any]) -> T:
    """A `kind` out of what is meant for it in `given`, from where that is taken away."""
    return kind(**{field.name: given.pop(field.name) for field in fields(kind)})  # type: ignore[arg-type]


@click.group("train")
def train_command() -> None:
    """Make a model: pre-train it, make it an assistant, export it."""


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
    callback=mix_of,
    help="Shares of the domains. [default: the mixture of nano]",
)
@click.option("--seed", default=1, show_default=True, help="Of the first weights.")
@machine_options
def pretrain_command(
    out: Path,
    folder: Path,
    *,
    mix: dict[str, float],
    **given: Any,
) -> None:
    """Train a base model into the folder OUT.

    It may be killed at any time: the same command goes on from the last checkpoint, bit for bit.
    Several processes or machines: torchrun --nproc-per-node 2 -m cabinos train pretrain OUT …
    """
    from cabinos.train.config import RunConfig
    from cabinos.train.errors import require_torch

    require_torch()
    from cabinos.train.pretrain import Options, pretrain

    options = taken(Options, given)
    run = pretrain(RunConfig(mix=mix, **given), folder, out, options)
    if run.processes.rank == 0:
        click.echo(f"{out}: {run.progress.step} updates, {run.progress.seconds:,.0f} s of training")


@train_command.command("finetune")
@click.argument("out", type=Folder)
@click.option(
    "--base",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A run's folder, or a Hugging Face folder of the Llama family.",
)
@click.option(
    "--rows",
    required=True,
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='Lines of {"messages": [...], "tools": [...]}. More than once for several files.',
)
@click.option(
    "--held",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Such lines that are only measured.",
)
@click.option("--epochs", default=2.0, show_default=True, help="How often each row is seen.")
@click.option("--tokens", type=click.IntRange(min=1), help="Tokens in all, instead of --epochs.")
@click.option("--batch-tokens", default=8192, show_default=True, help="Tokens for one update.")
@click.option("--micro-tokens", default=2048, show_default=True, help="Tokens at once, for memory.")
@click.option("--context", default=1024, show_default=True, help="Longer rows are left out.")
@click.option("--matrix-rate", default=0.006, show_default=True, help="Learning rate of Muon.")
@click.option("--other-rate", default=0.002, show_default=True, help="Learning rate of AdamW.")
@click.option(
    "--replay", default=0.0, show_default=True, help="Texts of stage 1 to a token of rows."
)
@data_option
@click.option("--lora-rank", "rank", default=0, show_default=True, help="Train adapters only.")
@click.option("--lora-alpha", "alpha", default=16.0, show_default=True, help="Scale, times rank.")
@click.option("--lora-targets", "adapted", metavar="NAME,…", help="Matrices. [default: all seven]")
@click.option("--seed", default=1, show_default=True, help="Of the order and the adapters.")
@machine_options
def finetune_command(
    out: Path,
    base: Path,
    rows: tuple[Path, ...],
    held: Path | None,
    folder: Path,
    *,
    tokens: int | None,
    adapted: str | None,
    **given: Any,
) -> None:
    """Train an assistant into the folder OUT, from a base model and conversations.

    It may be killed at any time: the same command goes on from the last checkpoint, bit for bit.
    """
    from cabinos.train.config import ADAPTED, TuneConfig
    from cabinos.train.errors import require_torch

    require_torch()
    from cabinos.train.finetune import Material, finetune
    from cabinos.train.session import Options

    options = taken(Options, given)
    names = ADAPTED if adapted is None else tuple(n.strip() for n in adapted.split(","))
    config = TuneConfig(tokens=tokens or 0, adapted=names, **given)
    texts = folder if config.replay else None
    run = finetune(config, Material(base, rows, held, texts), out, options)
    if run.processes.rank == 0:
        click.echo(f"{out}: {run.progress.step} updates, {run.progress.seconds:,.0f} s of training")


JUDGED, JUDGED_CASES = ("templates", "arithmetic"), 400  # what needs no data but the texts


@train_command.command("nano")
@click.argument("out", type=Folder)
@data_option
@click.option(
    "--from",
    "origin",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Take the sources from this folder instead of the network, as `cabin data get` does.",
)
@machine_options
@click.pass_context
def nano_command(
    context: click.Context, /, out: Path, folder: Path, origin: Path | None, **given: Any
) -> None:
    """Make the brain in the box again: texts, base, conversations, assistant, into the folder OUT.

    OUT/nano-base.gguf dreams documents, OUT/nano.gguf is the assistant, OUT/eval.jsonl how it did
    in conversations of withheld wordings. It may be killed at any time: the same command goes on
    from where it was.
    """
    from cabinos.cli.eval import eval_command
    from cabinos.train.errors import require_torch

    require_torch()
    from cabinos.train.recipe import NANO, make
    from cabinos.train.session import Options

    made = make(
        NANO,
        folder,
        out,
        origin=origin,
        options=taken(Options, given),
        tell=lambda text: click.echo(text, err=True),
    )
    for path in (made.base, made.assistant):
        click.echo(f"{path}: {path.stat().st_size / 1e6:,.1f} MB")
    spent = ", ".join(f"{stage} {seconds / 60:,.0f}" for stage, seconds in made.seconds.items())
    click.echo(f"minutes of training: {spent}")
    click.echo("6/6 evaluation", err=True)
    judged: dict[str, Any] = {"model": str(made.assistant), "names": JUDGED, "limit": JUDGED_CASES}
    judged |= {"folder": folder, "threads": given.get("threads"), "out": out / "eval.jsonl"}
    context.invoke(eval_command, **judged)


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
def export_command(
    run: Path,
    output: Path | None,
    kind: str,
    weights: Path | None,
    name: str | None,
    as_json: bool,
) -> None:
    """Export the model of RUN to a GGUF file, or to a Hugging Face folder.

    OUTPUT ending in .gguf gives the one, any other name the other. Default: RUN/base-TYPE.gguf, or
    RUN/assistant-TYPE.gguf where conversations were learnt.
    """
    from cabinos.train.errors import require_torch

    require_torch()
    from cabinos.train.export import export_gguf, export_hf
    from cabinos.train.saved import load_run

    model, companion = load_run(run, weights)
    tuned = companion.is_dir()
    target = output or run / f"{'assistant' if tuned else 'base'}-{kind}.gguf"
    if target.suffix == ".gguf":
        size = export_gguf(model, companion, target, kind, name=name, assistant=tuned).size
    else:
        size = sum(p.stat().st_size for p in export_hf(model, companion, target).iterdir())
    parameters = model.config.parameters
    if as_json:
        click.echo(json.dumps({"path": str(target), "parameters": parameters, "size": size}))
    else:
        click.echo(f"{target}: {parameters / 1e6:,.1f} M parameters, {size / 1e6:,.1f} MB")
