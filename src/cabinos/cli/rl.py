"""`cabin rl`: learning from rewards, by GRPO or PPO."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cabinos.cli.data import Folder, data_option
from cabinos.cli.options import as_json
from cabinos.cli.terminal import print_json
from cabinos.cli.train import machine_options, taken

if TYPE_CHECKING:
    from cabinos.train.rl.task import Task

TASKS = ("countdown", "tools", "gsm8k")
CRITICS = {"passes", "gamma", "lam", "value_clip", "critic_rate"}  # options of PPO alone

task_option = click.option(
    "--task",
    "name",
    type=click.Choice(TASKS),
    required=True,
    help="countdown: puzzles · tools: conversations · gsm8k: with a calculator.",
)
size_option = click.option("--numbers", default=3, show_default=True, help="Of a Countdown puzzle.")
largest_option = click.option(
    "--largest", default=20, show_default=True, help="Number of a Countdown puzzle."
)


def _task(name: str, folder: Path, numbers: int, largest: int) -> "Task":
    if name == "countdown":
        from cabinos.train.rl.countdown import Countdown

        return Countdown(numbers, largest)
    if name == "tools":
        from cabinos.lab.practice import ToolUse

        return ToolUse(folder if (folder / "sources" / "names.jsonl").is_file() else None)
    from cabinos.lab.evaluate.sets import read_set
    from cabinos.lab.practice import WordProblems

    return WordProblems(read_set(folder, "gsm8k_train"))


@click.group("rl")
def rl_group() -> None:
    """Learn from rewards: GRPO or PPO on tasks that can be checked."""


@rl_group.command("train")
@click.argument("out", type=Folder)
@click.option(
    "--base",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A run's folder, or a Hugging Face folder of the Llama family.",
)
@task_option
@size_option
@largest_option
@data_option
@click.option(
    "--method",
    type=click.Choice(["grpo", "ppo"]),
    default="grpo",
    show_default=True,
    help="grpo: answers to a case are compared · ppo: with a critic.",
)
@click.option("--rounds", default=100, show_default=True, help="Of play and learning.")
@click.option("--cases", type=int, help="Of a round. Default: 8, with PPO 32.")
@click.option("--samples", type=int, help="Answers to each case. Default: 8, with PPO 1.")
@click.option("--updates", default=1, show_default=True, help="Of a round.")
@click.option("--temperature", default=1.0, show_default=True, help="Of the answers.")
@click.option("--answer-tokens", default=256, show_default=True, help="Of a thought, at most.")
@click.option("--clip", default=0.2, show_default=True, help="Change of a probability in a round.")
@click.option("--kl", default=0.0, show_default=True, help="Price of leaving the first model.")
@click.option(
    "--fair/--classic", default=True, show_default=True, help="Dr. GRPO, or GRPO as published."
)
@click.option("--passes", type=int, help="PPO: over a round's answers. Default: 4.")
@click.option("--gamma", type=float, help="PPO: discount of rewards a token later. Default: 1.")
@click.option("--lam", type=float, help="PPO: λ of the advantages. Default: 0.95.")
@click.option("--value-clip", type=float, help="PPO: change of a value in a round. Default: 0.2.")
@click.option("--critic-rate", type=float, help="PPO: learning rate of the critic. Default: 0.002.")
@click.option(
    "--played-as",
    type=click.Choice(["f32", "f16", "bf16", "q8_0"]),
    default="f32",
    show_default=True,
    help="Type of the weights in the engine.",
)
@click.option("--held", default=64, show_default=True, help="Held-out cases of an evaluation.")
@click.option("--micro-tokens", default=2048, show_default=True, help="Tokens at once, for memory.")
@click.option("--context", default=1024, show_default=True, help="Tokens of a conversation.")
@click.option("--matrix-rate", default=0.0006, show_default=True, help="Learning rate of Muon.")
@click.option("--other-rate", default=0.0002, show_default=True, help="Learning rate of AdamW.")
@click.option("--lora-rank", "rank", default=0, show_default=True, help="Train adapters only.")
@click.option("--lora-alpha", "alpha", default=16.0, show_default=True, help="Scale, times rank.")
@click.option("--seed", default=1, show_default=True, help="Of all draws.")
@machine_options
@as_json
def train_command(
    out: Path,
    base: Path,
    name: str,
    method: str,
    numbers: int,
    largest: int,
    folder: Path,
    held: int,
    as_json: bool,
    **given: Any,
) -> None:
    """Train a policy into the folder OUT by playing TASK.

    It may be killed at any time: the same command goes on from the last checkpoint, bit for bit.
    """
    from cabinos.train.errors import require_torch

    require_torch()
    from cabinos.train.rl.config import PpoConfig, RlConfig
    from cabinos.train.rl.rounds import figures
    from cabinos.train.rl.train import rl
    from cabinos.train.session import Options

    options = taken(Options, given)
    given = {key: value for key, value in given.items() if value is not None}
    if method == "grpo" and (alone := sorted(given.keys() & CRITICS)):
        raise click.UsageError(f"--{alone[0].replace('_', '-')} is PPO's: give --method ppo too.")
    config = PpoConfig(**given) if method == "ppo" else RlConfig(**given)
    run = rl(config, base, _task(name, folder, numbers, largest), out, options, held=held)
    if run.processes.rank != 0:
        return
    told = list(figures(out))
    if as_json:
        print_json({"updates": run.progress.step, "rounds": told})
        return
    click.echo(f"{out}: {run.progress.step} updates, {run.progress.seconds:,.0f} s of training")
    begin, end = told[0], told[-1]
    click.echo(f"reward {begin['reward']:.3f} in round 0, {end['reward']:.3f} in round "
               f"{end['round']}; engine and torch differ by at most "
               f"{max(t['drift_max'] for t in told):.1g} nats a token")  # fmt: skip


@rl_group.command("rows")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@size_option
@largest_option
@click.option("--count", default=10_000, show_default=True, help="Puzzles.")
def rows_command(out: Path, numbers: int, largest: int, count: int) -> None:
    """Write Countdown puzzles with solutions to OUT, to fine-tune a model on first.

    A model that solves none cannot learn from rewards: `cabin train finetune --rows OUT`.
    """
    from cabinos.train.rl.countdown import Countdown, write_rows

    write_rows(Countdown(numbers, largest), count, out)
    click.echo(f"{out}: {count:,} puzzles")
