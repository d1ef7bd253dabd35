"""`cabin scale`: many small runs, the law in them, and what it says of a larger one."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from cabinos.cli.data import Folder, data_option, workshop
from cabinos.cli.errors import BLOCKED
from cabinos.cli.options import as_json
from cabinos.cli.scale_view import (
    bars,
    show_costs,
    show_fit,
    show_outcomes,
    show_prediction,
    show_roadmap,
)
from cabinos.cli.terminal import note, print_json
from cabinos.cli.train import mix_of

if TYPE_CHECKING:
    from cabinos.train.scaling.fit import Fit
    from cabinos.train.scaling.ladder import Ladder
    from cabinos.train.scaling.points import Points

P = ParamSpec("P")
R = TypeVar("R")

STORED, STORED_SET = "chinchilla", "chinchilla_runs"
STORED_BUDGETS = (6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21)  # that were planned
CONTEXT = 1024  # of the models on a roadmap

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


@click.group("scale")
def scale_command() -> None:
    """Scaling laws: plan small runs, run them, fit a law, predict the next run, check it."""


@scale_command.command("plan")
@click.argument("path", type=Folder, metavar="LADDER")
@data_option
@click.option(
    "--flops",
    "total",
    type=click.FloatRange(0, min_open=True),
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
    type=click.FloatRange(0, min_open=True),
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
@workshop
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


@scale_command.command("run")
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
@workshop
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


@scale_command.command("fit")
@click.argument("source", type=click.Path(path_type=Path))
@data_option
@click.option(
    "--min-ratio",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Leave out runs with fewer tokens to a parameter.",
)
@click.option("--layers-only", is_flag=True, help="Count N without the embedding (a ladder only).")
@click.option(
    "--bootstrap",
    type=click.IntRange(0),
    default=400,
    show_default=True,
    help="Times that the runs are drawn again, for intervals.",
)
@click.option(
    "--isoflop",
    "at",
    metavar="C,…",
    help="Budgets whose runs belong together. [default: those that cost the same]",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the fit is written, and its picture. [default: in the ladder's folder, "
    "or fit.json]",
)
@as_json
@workshop
def fit_command(
    source: Path,
    folder: Path,
    min_ratio: float,
    layers_only: bool,
    bootstrap: int,
    at: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Fit L = E + A / N^alpha + B / D^beta to SOURCE, with 95 % intervals, and draw it.

    SOURCE: a ladder's folder; a CSV or JSONL file with parameters, tokens or flops, and loss; or
    `chinchilla`, 245 runs of Hoffmann et al. (`cabin data get --eval chinchilla_runs`).
    """
    from cabinos.train.errors import TrainError
    from cabinos.train.scaling.draw import draw
    from cabinos.train.scaling.fit import fit_law
    from cabinos.train.scaling.isoflop import fit_isoflop
    from cabinos.train.scaling.ladder import write_json

    points, ladder = _points(source, folder, layers_only)
    points = points.with_data(min_ratio)
    fit = fit_law(points, bootstrap=bootstrap)
    facts = {"source": str(source), **fit.facts()}
    try:
        isoflop = fit_isoflop(points, _budgets(at, source, ladder))
        facts["isoflop"] = isoflop.facts()
    except TrainError as error:
        isoflop = None
        if not as_json:
            note(f"No IsoFLOP fit: {error}", dim=False)
    file = out or (source / "fit.json" if ladder else Path("fit.json"))
    write_json(file, facts)
    unit = "bits per byte" if ladder else "nats a token"
    try:
        picture = file.with_suffix(".png")
        draw(picture, points, fit, unit=unit, isoflop=isoflop, predictions=_made(ladder))
        written = f"{file} and {picture} are written."
    except TrainError as error:
        written = f"{file} is written. {error}"
    if as_json:
        print_json(facts)
        return
    show_fit(points, fit, isoflop, unit)
    note(written, dim=False)


def _points(source: Path, data: Path, layers_only: bool) -> "tuple[Points, Ladder | None]":
    from cabinos.lab.evaluate.sets import read_set
    from cabinos.train.errors import TrainError
    from cabinos.train.scaling.ladder import Ladder
    from cabinos.train.scaling.points import points_of, read_points

    if source.is_dir():
        ladder = Ladder.open(source)
        return ladder.points(layers_only=layers_only), ladder
    if layers_only:
        raise TrainError("--layers-only needs a ladder: a table has one N only.")
    if str(source) == STORED and not source.exists():
        return points_of(enumerate(read_set(data, STORED_SET), 1), STORED_SET), None
    return read_points(source), None


def _budgets(at: str | None, source: Path, ladder: "Ladder | None") -> tuple[float, ...]:
    if at is not None:
        try:
            return tuple(float(part) for part in at.split(","))
        except ValueError:
            raise click.UsageError(f"--isoflop {at!r}: write it as 6e18,1e19.") from None
    if ladder is not None:
        return tuple(sorted({rung.budget for rung in ladder.rungs}))
    return STORED_BUDGETS if str(source) == STORED else ()


def _made(ladder: "Ladder | None") -> list[Any]:
    """The predictions of a ladder, each with what was measured."""
    from cabinos.train.scaling.journal import predictions

    if ladder is None:
        return []
    done = [(p, ladder.result(p.rung)) for p in predictions(ladder)]
    return [(p, result.loss if result else None) for p, result in done]


@scale_command.command("predict")
@click.argument("path", type=Folder, metavar="LADDER")
@click.option(
    "--flops",
    type=click.FloatRange(0, min_open=True),
    metavar="C",
    help="What the run may cost; the best size for it is chosen.",
)
@click.option("--width", type=click.IntRange(1), help="Or: how wide its model is …")
@click.option("--tokens", type=click.FloatRange(1), help="… and how many tokens it learns from.")
@as_json
@workshop
def predict_command(
    path: Path, flops: float | None, width: int | None, tokens: float | None, as_json: bool
) -> None:
    """Say what loss a larger run will reach, and write that down before it begins.

    The journal is LADDER/predictions.jsonl. `cabin scale run LADDER` then makes the run, and
    `cabin scale check LADDER` compares.
    """
    from dataclasses import asdict

    from cabinos.train.scaling.journal import predict
    from cabinos.train.scaling.ladder import Ladder
    from cabinos.train.scaling.law import best_shape

    if (flops is None) == (width is None or tokens is None) or (flops and (width or tokens)):
        raise click.UsageError("give --flops, or --width and --tokens.")
    ladder = Ladder.open(path)
    fit = _fit(ladder)
    if flops is not None:
        context = ladder.base.context
        best = best_shape(fit.law, flops, vocabulary=ladder.vocabulary, context=context)
        width, tokens = best.width, best.tokens
    assert width is not None
    assert tokens is not None
    made = predict(ladder, fit, width, tokens)
    if as_json:
        print_json(asdict(made))
    else:
        show_prediction(path, made)


def _fit(ladder: "Ladder") -> "Fit":
    from cabinos.train.errors import TrainError
    from cabinos.train.scaling.fit import fit_law

    missing = [rung.name for rung in ladder.rungs if ladder.result(rung) is None]
    if missing:
        raise TrainError(
            f"{ladder.folder}: {len(missing)} of {len(ladder.rungs)} runs are not done. Run them: "
            f"cabin scale run {ladder.folder}."
        )
    return fit_law(ladder.points(), bootstrap=400)


@scale_command.command("check")
@click.argument("path", type=Folder, metavar="LADDER")
@as_json
@workshop
def check_command(path: Path, as_json: bool) -> None:
    """Compare the predictions of LADDER with the runs that were made since."""
    from dataclasses import asdict

    from cabinos.train.errors import TrainError
    from cabinos.train.scaling.journal import check, predictions
    from cabinos.train.scaling.ladder import Ladder

    ladder = Ladder.open(path)
    made = predictions(ladder)
    if not made:
        raise TrainError(f"{path}: nothing was predicted. Do it: cabin scale predict {path}.")
    outcomes = [check(ladder, prediction) for prediction in made]
    if as_json:
        print_json([asdict(outcome) for outcome in outcomes])
    else:
        show_outcomes(outcomes)


@scale_command.command("roadmap")
@click.argument("path", type=Folder, metavar="[LADDER]", required=False)
@click.option(
    "--flops",
    type=click.FloatRange(0, min_open=True),
    metavar="C",
    help="The budget in floating-point operations …",
)
@click.option(
    "--hours", type=click.FloatRange(0, min_open=True), help="… or in hours of the hardware."
)
@click.option("--on", "name", metavar="NAME", help="The hardware. [default: each there is]")
@click.option("--count", type=click.IntRange(1), default=1, show_default=True, help="How many.")
@click.option(
    "--usd-per-hour",
    type=click.FloatRange(0),
    help="Rent of one; without it, power is what it costs.",
)
@click.option(
    "--usd-per-kwh",
    type=click.FloatRange(0),
    default=0.30,
    show_default=True,
    help="Price of power.",
)
@as_json
@workshop
def roadmap_command(
    path: Path | None,
    flops: float | None,
    hours: float | None,
    name: str | None,
    count: int,
    usd_per_hour: float | None,
    usd_per_kwh: float,
    as_json: bool,
) -> None:
    """The best size and tokens for a budget, and the loss, time, energy and cost of it.

    By the law of the ladder in LADDER, for Cabin's own models; without LADDER by Chinchilla's
    published law (nats a token of its own texts). With --on, the way there, a tenth at a time.
    """
    from cabinos.train.errors import TrainError
    from cabinos.train.scaling.cost import device, devices
    from cabinos.train.scaling.ladder import Ladder
    from cabinos.train.scaling.law import CHINCHILLA, best_shape
    from cabinos.train.scaling.roadmap import budgets_up_to, optimum, roadmap

    if (flops is None) == (hours is None):
        raise click.UsageError("give --flops or --hours.")
    on = [device(name)] if name else list(devices().values())
    if hours is not None:
        if not name:
            raise click.UsageError("--hours needs --on NAME.")
        flops = hours * 3600 * on[0].peak * on[0].utilisation * count
    assert flops is not None
    if path is None:
        law, interval = CHINCHILLA, lambda n, d: (CHINCHILLA.loss(n, d),) * 2
        best = lambda c: optimum(law, c)  # noqa: E731
    else:
        ladder = Ladder.open(path)
        fit = _fit(ladder)
        law, interval = fit.law, fit.loss_interval
        best = lambda c: best_shape(  # noqa: E731
            law, c, vocabulary=ladder.vocabulary, context=CONTEXT
        )
    budgets = budgets_up_to(flops) if name else [flops]
    try:
        stops = roadmap(best, interval, budgets, on, count, usd_per_hour=usd_per_hour,
                        usd_per_kwh=usd_per_kwh)  # fmt: skip
    except OverflowError:
        raise TrainError(f"{flops:.3g} operations are beyond any law.") from None
    if as_json:
        print_json([stop.facts() for stop in stops])
    else:
        show_roadmap(stops, "bits per byte" if path else "nats a token")
