"""`cabin prefer`: learning from comparisons, by a reward model or by DPO."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from cabinos.cli.data import Folder
from cabinos.cli.options import as_json
from cabinos.cli.terminal import print_json
from cabinos.cli.train import machine_options, taken

P = ParamSpec("P")
R = TypeVar("R")

PAIRS = (
    click.option(
        "--base",
        required=True,
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="A run's folder, or a Hugging Face folder of the Llama family.",
    ),
    click.option(
        "--pairs",
        "files",
        required=True,
        multiple=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help='Lines of {"prompt": [...], "chosen": [...], "rejected": [...]}.',
    ),
    click.option(
        "--held", default=0.1, show_default=True, help="Share of the prompts only measured."
    ),
    click.option("--epochs", default=1.0, show_default=True, help="How often each pair is seen."),
    click.option("--batch-tokens", default=8192, show_default=True, help="Tokens for one update."),
    click.option(
        "--micro-tokens", default=2048, show_default=True, help="Tokens at once, for memory."
    ),
    click.option("--context", default=1024, show_default=True, help="Longer pairs are left out."),
    click.option("--smoothing", default=0.0, show_default=True, help="Share of wrong choices."),
    click.option("--lora-rank", "rank", default=0, show_default=True, help="Adapters only."),
    click.option("--lora-alpha", "alpha", default=16.0, show_default=True, help="Times rank."),
    click.option("--seed", default=1, show_default=True, help="Of the split and the order."),
)


def pair_options(command: Callable[P, R]) -> Callable[P, R]:
    """What both ways of learning from pairs take."""
    for option in reversed(PAIRS):
        command = option(command)
    return command


@click.group("prefer")
def prefer_group() -> None:
    """Learn from comparisons: a reward model, or DPO."""


@prefer_group.command("reward")
@click.argument("out", type=Folder)
@pair_options
@click.option("--matrix-rate", default=0.002, show_default=True, help="Learning rate of Muon.")
@click.option("--other-rate", default=0.002, show_default=True, help="Learning rate of AdamW.")
@machine_options
@as_json
def reward_command(
    out: Path, base: Path, files: tuple[Path, ...], as_json: bool, **given: Any
) -> None:
    """Train a reward model into the folder OUT: which of two answers is better?

    It may be killed at any time: the same command goes on from the last checkpoint, bit for bit.
    """
    from cabinos.train.errors import require_torch

    require_torch()
    from cabinos.train.prefer.config import RewardConfig
    from cabinos.train.prefer.reward import reward
    from cabinos.train.session import Options

    options = taken(Options, given)
    run = reward(RewardConfig(**given), base, files, out, options)
    if run.processes.rank == 0:
        _show(out, run.progress.step, run.progress.seconds, as_json)


@prefer_group.command("dpo")
@click.argument("out", type=Folder)
@pair_options
@click.option("--matrix-rate", default=0.0006, show_default=True, help="Learning rate of Muon.")
@click.option("--other-rate", default=0.0002, show_default=True, help="Learning rate of AdamW.")
@click.option("--beta", default=0.1, show_default=True, help="Price of leaving the reference.")
@click.option("--normalised", is_flag=True, help="Divide by length; take a larger beta, such as 2.")
@click.option(
    "--likelihood", default=0.0, show_default=True, help="Weight of the chosen answers' own loss."
)
@machine_options
@as_json
def dpo_command(
    out: Path, base: Path, files: tuple[Path, ...], as_json: bool, **given: Any
) -> None:
    """Train a policy into the folder OUT: away from the rejected answers, to the chosen ones.

    It may be killed at any time: the same command goes on from the last checkpoint, bit for bit.
    """
    from cabinos.train.errors import require_torch

    require_torch()
    from cabinos.train.prefer.config import DpoConfig
    from cabinos.train.prefer.dpo import dpo
    from cabinos.train.session import Options

    options = taken(Options, given)
    run = dpo(DpoConfig(**given), base, files, out, options)
    if run.processes.rank == 0:
        _show(out, run.progress.step, run.progress.seconds, as_json)


@prefer_group.command("test")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--pairs",
    "files",
    required=True,
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Pairs as for `cabin prefer reward`.",
)
@as_json
def test_command(run: Path, files: tuple[Path, ...], as_json: bool) -> None:
    """Say how well the reward model RUN tells the pairs of other files apart."""
    from cabinos.train.errors import require_torch

    require_torch()
    import numpy as np

    from cabinos.train.prefer.pairs import encode_pairs
    from cabinos.train.prefer.reward import differences, load_reward, told_apart
    from cabinos.train.rows import open_speech

    model, companion = load_reward(run)
    pairs = encode_pairs(files, open_speech(companion), model.config.context, run / "pairs")
    z = differences(model, pairs, np.arange(len(pairs)))
    decided = int((~pairs.ties).sum())
    _print({**told_apart(z, pairs.ties), "pairs": decided}, as_json)


def _show(out: Path, steps: int, seconds: float, as_json: bool) -> None:
    """What the last evaluation of a run gave."""
    import json

    from cabinos.train.metrics import read_log

    tests = [line["held_out"] for line in read_log(out / "metrics.jsonl") if "held_out" in line]
    data = json.loads((out / "run.json").read_text(encoding="utf-8"))["data"]
    if not as_json:
        click.echo(f"{out}: {steps} updates, {seconds:,.0f} s of training")
    _print({**(tests[-1] if tests else {}), "pairs": data["held"] - data["held_ties"]}, as_json)


def _print(found: dict[str, float], as_json: bool) -> None:
    """Measures, with the interval of the accuracy."""
    from cabinos.lab.evaluate.scoring import wilson

    count = int(found["pairs"])
    if "accuracy" in found:
        low, high = wilson(found["accuracy"] * count, count)
        found = {**found, "accuracy_low": round(low, 5), "accuracy_high": round(high, 5)}
    if as_json:
        print_json(found)
        return
    parts = [f"{key} {value:.3f}" for key, value in found.items() if key != "pairs"]
    click.echo(f"{count} pairs held out: {', '.join(parts) or 'nothing to measure'}")
