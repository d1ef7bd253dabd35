"""`cabin scale plan` and `run`: which small runs, what they cost, and making them."""

from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from cabinos.cli.data import Folder, data_option
from cabinos.cli.errors import BLOCKED
from cabinos.cli.options import as_json
from cabinos.cli.scale_view import bars, show_costs
from cabinos.cli.terminal import note, print_json
from cabinos.cli.train import mix_of

P = ParamSpec("P")
R = TypeVar("R")


class Positive(click.FloatRange):
    """A number above zero that is one."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number; fails for what is none, infinite or not above zero."""
        number: float = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value} is no number to count with.", param, ctx)
        return number


POSITIVE = Positive(0, min_open=True)

RUNNING = (
    click.option("--device", help="cpu, cuda or mps. [default: the fastest there is]"),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "bfloat16"]),
        help="Of activations. [default: the fastest]",
    ),
    click.option("--threads", type=click.IntRange(min=1), help="CPU threads of each worker."),
)


def running_options(command: Callable[P, R]) -> Callable[P, R]:
    """What may change from one start to the next."""
    for option in reversed(RUNNING):
        command = option(command)
    return command


@click.command("plan")
@click.argument("path", type=Folder, metavar="LADDER")
@data_option
@click.option(
    "--flops",
    "total",
    type=POSITIVE,
    required=True,
    metavar="C",
    help="Floating-point operations for all runs together, as 5e12.",
)
@click.option(
    "--budgets",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Rows of runs that cost the same.",
)
@click.option(
    "--span",
    type=click.FloatRange(1),
    default=10.0,
    show_default=True,
    help="The largest budget, in smallest ones.",
)
@click.option(
    "--sizes", type=click.IntRange(1), default=4, show_default=True, help="Runs in a row."
)
@click.option(
    "--ratio",
    type=POSITIVE,
    default=20.0,
    show_default=True,
    help="Tokens to a parameter, around which the sizes lie.",
)
@click.option(
    "--batch-tokens",
    type=click.IntRange(1),
    default=4096,
    show_default=True,
    help="Tokens for one update, in every run.",
)
@click.option(
    "--held-out",
    type=click.IntRange(1),
    default=16_384,
    show_default=True,
    help="Tokens of each domain that a run is measured on.",
)
@click.option(
    "--context", type=click.IntRange(1), default=256, show_default=True, help="Row length."
)
@click.option("--matrix-rate", default=0.012, show_default=True, help="Learning rate of Muon.")
@click.option("--other-rate", default=0.008, show_default=True, help="Learning rate of AdamW.")
@click.option(
    "--mix",
    metavar="DOMAIN=SHARE,…",
    callback=mix_of,
    help="Shares of the domains. [default: the mixture of nano]",
)
@click.option("--seed", default=1, show_default=True, help="Of the first weights.")
@click.option(
    "--watts",
    type=click.FloatRange(0),
    metavar="W",
    help="What this machine takes. [default: 10 a thread, a guess]",
)
@running_options
@as_json
def plan_command(
    path: Path,
    folder: Path,
    total: float,
    budgets: int,
    span: float,
    sizes: int,
    ratio: float,
    batch_tokens: int,
    context: int,
    held_out: int,
    matrix_rate: float,
    other_rate: float,
    mix: dict[str, float],
    seed: int,
    watts: float | None,
    device: str | None,
    dtype: str | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Plan a ladder of runs into LADDER, and say what it will cost on this machine.

    A moment of each size of model is trained to see how fast it is. Nothing else is run.
    """
    from cabinos.train.config import RunConfig
    from cabinos.train.errors import require_torch

    require_torch()
    from cabinos.train.evaluate import token_lengths
    from cabinos.train.scaling.estimate import estimate
    from cabinos.train.scaling.ladder import Wish, plan
    from cabinos.train.scaling.work import Running

    base = RunConfig(
        batch_tokens=batch_tokens,
        micro_tokens=min(4096, batch_tokens),
        context=context,
        long_context=context,
        matrix_rate=matrix_rate,
        other_rate=other_rate,
        seed=seed,
        mix=mix,
    )
    wish = Wish(total, budgets, span, sizes, ratio, held_out)
    ladder = plan(path, wish, base, folder, len(token_lengths(folder)))
    running = Running(device=device, dtype=dtype, threads=threads)
    costs = estimate(ladder, folder, running, watts)
    ladder.save()
    if as_json:
        print_json(costs.facts())
    else:
        show_costs(costs)
        note(f"{path / 'ladder.json'} is written. Run it: cabin scale run {path}", dim=False)


@click.command("run")
@click.argument("path", type=Folder, metavar="LADDER")
@data_option
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Runs side by side, each in a process.",
)
@click.option("--compile/--no-compile", "compiled", default=None, help="Use torch.compile.")
@click.option("--tethered", is_flag=True, hidden=True)
@running_options
def run_command(
    path: Path,
    folder: Path,
    workers: int,
    compiled: bool | None,
    tethered: bool,
    device: str | None,
    dtype: str | None,
    threads: int | None,
) -> None:
    """Run what is missing of the ladder in LADDER, and predicted runs that are not done.

    It may be killed at any time: the same command goes on. Several may work on one folder, also
    from several machines. Data parallel: torchrun --nproc-per-node 2 -m cabinos scale run LADDER
    """
    from cabinos.train.errors import require_torch

    require_torch()
    from cabinos.train.scaling.journal import predictions
    from cabinos.train.scaling.ladder import Ladder
    from cabinos.train.scaling.work import Running, tether, together, work

    ladder = Ladder.open(path)
    rungs = [*ladder.rungs, *(prediction.rung for prediction in predictions(ladder))]
    running = Running(device=device, dtype=dtype, compiled=compiled, threads=threads)
    if tethered:
        tether()
    if workers == 1:
        missing = work(ladder, rungs, folder, running, lambda text: note(text, dim=False))
    else:
        ladder.check_data(folder)
        with bars(ladder, rungs) as watch:
            missing = together(ladder, rungs, folder, running, workers, watch)
    if missing:
        names = ", ".join(rung.name for rung in missing)
        note(f"Another worker has: {names}.", dim=False)
        raise SystemExit(0 if tethered else BLOCKED)
    if not tethered:
        note(f"{path}: {len(rungs)} runs are done. Fit them: cabin scale fit {path}", dim=False)
