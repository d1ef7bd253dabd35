"""What `cabin scale` shows: tables, pictures in characters, and a bar for runs side by side."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cabinos.cli.terminal import note

if TYPE_CHECKING:
    from rich.console import Console

    from cabinos.train.scaling.estimate import Costs
    from cabinos.train.scaling.fit import Fit
    from cabinos.train.scaling.isoflop import IsoFlop
    from cabinos.train.scaling.journal import Outcome, Prediction
    from cabinos.train.scaling.ladder import Ladder, Rung
    from cabinos.train.scaling.points import Points
    from cabinos.train.scaling.roadmap import Stop

__all__ = [
    "bars",
    "show_costs",
    "show_fit",
    "show_outcomes",
    "show_prediction",
    "show_roadmap",
]


def _console() -> "Console":
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=140)


def _table(columns: str, rows: Sequence[Sequence[str]]) -> None:
    """Columns are named in one string, apart by bars; the first is words, the others numbers."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, name in enumerate(columns.split("|")):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    _console().print(table)


def duration(seconds: float) -> str:
    """In the unit that a person would take."""
    for size, unit in ((31_557_600.0, "years"), (86_400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} s"


def energy(kwh: float) -> str:
    """In Wh, kWh or MWh."""
    for size, unit in ((1e3, "MWh"), (1.0, "kWh")):
        if kwh >= size:
            return f"{kwh / size:,.1f} {unit}"
    return f"{kwh * 1e3:.2g} Wh"


def count(number: float) -> str:
    """As 1.2 M."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"


def show_costs(costs: "Costs") -> None:
    """A line for each run, and all together."""
    rows = [
        (
            line.rung.name, f"{line.rung.width}", count(line.parameters), count(line.rung.tokens),
            f"{line.updates:,}", f"{line.flops:.2g}",
            duration(line.seconds) + ("" if line.measured else " ?"),
        )
        for line in costs.lines
    ]  # fmt: skip
    _table("run|width|parameters|tokens|updates|operations|time", rows)
    where = f"{costs.threads} threads" if costs.device == "cpu" else costs.device
    click.echo(
        f"{len(rows)} runs, {costs.flops:.2g} operations: {duration(costs.seconds)} one after the "
        f"other on {where}, {energy(costs.kwh)} at {costs.watts:.0f} W."
    )
    if any(not line.measured for line in costs.lines):
        click.echo("?: not measured, but computed at half of the machine's peak.")
    if costs.repeated:
        names = ", ".join(costs.repeated)
        note(f"The longest run reads {names} more than four times; the law has no term for that.")


def show_fit(points: "Points", fit: "Fit", isoflop: "IsoFlop | None", unit: str) -> None:
    """The five numbers with their intervals, and the frontier with the runs in characters."""
    import numpy as np

    from cabinos.train.scaling.text import scatter

    facts = fit.facts()
    names = {"E": "E", "A": "A", "B": "B", "alpha": "alpha", "beta": "beta",
             "exponent": "a, best N ∝ C^a"}  # fmt: skip
    rows = []
    for name, label in names.items():
        n = facts["law"][name]
        rows.append((label, f"{n['value']:.4g}", f"{n['low']:.4g} – {n['high']:.4g}"))
    if isoflop is not None:
        low, high = isoflop.interval
        rows.append(("a by IsoFLOP", f"{isoflop.exponent:.4g}", f"{low:.4g} – {high:.4g}"))
    _table("|value|95 % interval", rows)
    click.echo(
        f"{len(points)} runs, typical error {fit.rms:.2%}; loss in {unit}, "
        f"{len(fit.boot)} draws of the bootstrap"
    )
    if fit.undetermined:
        click.echo(
            f"These runs do not say what {' and '.join(fit.undetermined)} are: take the law for "
            "runs like these, with more operations, and not for other sizes or an optimum."
        )
    c = np.geomspace(points.flops.min(), points.flops.max(), 200)
    low, high = fit.interval(lambda law: law.loss(*law.optimum(c)))
    best = fit.law.loss(*fit.law.optimum(c))
    picture = scatter(
        [
            (".", [*zip(c, low, strict=True), *zip(c, high, strict=True)]),
            ("─", list(zip(c, best, strict=True))),
            ("o", list(zip(points.flops, points.loss, strict=True))),
        ],
        x="operations",
        y=f"loss ({unit}): o runs, ─ best size, . its interval",
    )
    click.echo(picture)


def show_prediction(ladder: Path, made: "Prediction") -> None:
    """What was written down."""
    click.echo(
        f"{made.name}: {count(made.parameters)} parameters, {count(made.rung.tokens)} tokens, "
        f"{made.flops:.3g} operations\n"
        f"predicted {made.loss:.4f} bits per byte, 95 % interval {made.low:.4f} – {made.high:.4f}\n"
        f"{made.date}, {made.hash}"
    )
    note(f"It is written down. Run it: cabin scale run {ladder}", dim=False)


def show_outcomes(outcomes: "Sequence[Outcome]") -> None:
    """A line for each."""
    rows = [
        (o.name, f"{o.predicted:.4f}", f"{o.measured:.4f}", f"{o.error:+.2%}",
         "yes" if o.inside else "no")
        for o in outcomes
    ]  # fmt: skip
    _table("run|predicted|measured|error|in the interval", rows)


def show_roadmap(stops: "Sequence[Stop]", unit: str) -> None:
    """A line for each budget on each device, and what was assumed."""
    rows = []
    for stop in stops:
        plan = stop.plan
        loss = f"{plan.loss:.3f}"
        if stop.high > stop.low:
            loss += f" ({stop.low:.3f} – {stop.high:.3f})"
        rows.append((
            f"{stop.count} × {stop.device.name}", f"{plan.flops:.2g}", count(plan.parameters),
            count(plan.tokens), loss, duration(stop.cost.seconds), energy(stop.cost.kwh),
            f"{stop.cost.usd:,.2f}",
        ))  # fmt: skip
    _table("on|operations|parameters|tokens|loss|time|energy|USD", rows)
    click.echo(f"Loss in {unit}. Assumed, the devices alone, without hosts and cooling:")
    for device in {stop.device.name: stop.device for stop in stops}.values():
        click.echo(
            f"  {device.name}: {device.utilisation:.0%} of {device.peak / 1e12:,.0f} TFLOP/s, "
            f"{device.watts:.0f} W ({device.source})"
        )


@contextmanager
def bars(ladder: "Ladder", rungs: "Sequence[Rung]") -> Iterator[Callable[[], None]]:
    """A bar on stderr over the operations of all runs; what it gives is to be called often."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    from cabinos.train.scaling.work import progress_of

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), Remaining())
    cost = {rung: ladder.flops(rung) for rung in rungs}
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("runs", total=sum(cost.values()))

        def watch() -> None:
            shares = {rung: progress_of(ladder, rung) for rung in rungs}
            done = sum(share == 1.0 for share in shares.values())
            spent = sum(cost[rung] * share for rung, share in shares.items())
            progress.update(task, completed=spent, description=f"{done} of {len(rungs)} runs")

        yield watch
