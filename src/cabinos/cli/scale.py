"""`cabin scale`: many small runs, the law in them, and what it says of a larger one."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cabinos.cli.data import Folder, data_option
from cabinos.cli.options import as_json
from cabinos.cli.scale_runs import POSITIVE, plan_command, run_command
from cabinos.cli.scale_view import show_fit, show_outcomes, show_prediction, show_roadmap
from cabinos.cli.terminal import note, print_json

if TYPE_CHECKING:
    from cabinos.train.scaling.fit import Fit
    from cabinos.train.scaling.ladder import Ladder
    from cabinos.train.scaling.law import Plan
    from cabinos.train.scaling.points import Points

STORED, STORED_SET = "chinchilla", "chinchilla_runs"
STORED_BUDGETS = (6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21)  # that were planned
CONTEXT = 1024  # of the models on a roadmap


bootstrap_option = click.option(
    "--bootstrap",
    type=click.IntRange(0),
    default=400,
    show_default=True,
    help="Times that the runs are drawn again, for intervals.",
)


@click.group("scale")
def scale_command() -> None:
    """Scaling laws: plan small runs, run them, fit a law, predict the next run, check it."""


for command in (plan_command, run_command):
    scale_command.add_command(command)


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
@bootstrap_option
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
    type=POSITIVE,
    metavar="C",
    help="What the run may cost; the best size for it is chosen.",
)
@click.option("--width", type=click.IntRange(1), help="Or: how wide its model is …")
@click.option("--tokens", type=POSITIVE, help="… and how many tokens it learns from.")
@bootstrap_option
@as_json
def predict_command(
    path: Path,
    flops: float | None,
    width: int | None,
    tokens: float | None,
    bootstrap: int,
    as_json: bool,
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
    fit = _fit(ladder, bootstrap)
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


def _fit(ladder: "Ladder", bootstrap: int) -> "Fit":
    from cabinos.train.errors import TrainError
    from cabinos.train.scaling.fit import fit_law

    missing = [rung.name for rung in ladder.rungs if ladder.result(rung) is None]
    if missing:
        raise TrainError(
            f"{ladder.folder}: {len(missing)} of {len(ladder.rungs)} runs are not done. Run them: "
            f"cabin scale run {ladder.folder}."
        )
    fit = fit_law(ladder.points(), bootstrap=bootstrap)
    if fit.undetermined:
        names = " and ".join(fit.undetermined)
        note(f"The runs do not say what {names} are: the law is no guide to a size.", dim=False)
    return fit


@scale_command.command("check")
@click.argument("path", type=Folder, metavar="LADDER")
@as_json
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
    waiting = [prediction for prediction in made if ladder.result(prediction.rung) is None]
    outcomes = [check(ladder, prediction) for prediction in made if prediction not in waiting]
    if as_json:
        print_json([asdict(outcome) for outcome in outcomes])
    elif outcomes:
        show_outcomes(outcomes)
    if waiting:
        names = ", ".join(prediction.name for prediction in waiting)
        note(f"{names}: not run yet. Run it: cabin scale run {path}.", dim=False)
        if not outcomes:
            raise SystemExit(1)


@scale_command.command("roadmap")
@click.argument("path", type=Folder, metavar="[LADDER]", required=False)
@click.option(
    "--flops",
    type=POSITIVE,
    metavar="C",
    help="The budget in floating-point operations …",
)
@click.option("--hours", type=POSITIVE, help="… or in hours of the hardware.")
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
@bootstrap_option
@as_json
def roadmap_command(
    path: Path | None,
    flops: float | None,
    hours: float | None,
    name: str | None,
    count: int,
    usd_per_hour: float | None,
    usd_per_kwh: float,
    bootstrap: int,
    as_json: bool,
) -> None:
    """The best size and tokens for a budget, and the loss, time, energy and cost of it.

    By the law of the ladder in LADDER, for Cabin's own models; without LADDER by Chinchilla's
    published law (nats a token of its own texts). With --on, the way there, a tenth at a time.
    """
    from cabinos.train.scaling.cost import device, devices
    from cabinos.train.scaling.roadmap import budgets_up_to, roadmap

    if (flops is None) == (hours is None):
        raise click.UsageError("give --flops or --hours.")
    on = [device(name)] if name else list(devices().values())
    if hours is not None:
        if not name:
            raise click.UsageError("--hours needs --on NAME.")
        flops = hours * 3600 * on[0].peak * on[0].utilisation * count
    assert flops is not None
    best, interval = _guide(path, bootstrap)
    budgets = budgets_up_to(flops) if name else [flops]
    stops = roadmap(
        best, interval, budgets, on, count, usd_per_hour=usd_per_hour, usd_per_kwh=usd_per_kwh
    )
    if as_json:
        print_json([stop.facts() for stop in stops])
    else:
        show_roadmap(stops, "bits per byte" if path else "nats a token")


def _guide(
    path: Path | None, bootstrap: int
) -> "tuple[Callable[[float], Plan], Callable[[float, float], tuple[float, float]]]":
    """The best size for a budget, and the interval of a loss, by a ladder's law or Chinchilla's."""
    from cabinos.train.scaling.ladder import Ladder
    from cabinos.train.scaling.law import CHINCHILLA, best_shape
    from cabinos.train.scaling.roadmap import optimum

    if path is None:

        def published(parameters: float, tokens: float) -> tuple[float, float]:
            loss = float(CHINCHILLA.loss(parameters, tokens))
            return loss, loss

        return lambda flops: optimum(CHINCHILLA, flops), published
    ladder = Ladder.open(path)
    fit = _fit(ladder, bootstrap)

    def best(flops: float) -> "Plan":
        return best_shape(fit.law, flops, vocabulary=ladder.vocabulary, context=CONTEXT)

    return best, fit.loss_interval
