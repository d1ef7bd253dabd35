"""`cabin top`: the processes as they run, also beside a running kernel."""

import sys
import time
from typing import TYPE_CHECKING

import click

from cabinos.cli.options import as_json
from cabinos.cli.processes import as_data, process_table
from cabinos.cli.terminal import print_json
from cabinos.cli.view import View, holder, look

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cabinos.kernel.table import Summary

ORDER = {"ready": 0, "in_doubt": 1, "blocked": 2, "stopped": 3}
Readings = list[tuple[float, int]]  # (seconds, tokens of all processes)
WINDOW = 10.0  # seconds over which speed is measured


@click.command("top")
@click.option(
    "-n",
    "--interval",
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(min=0.1),
    help="Between two looks.",
)
@click.option("--once", is_flag=True, help="Look once and end.")
@as_json
def top_command(interval: float, once: bool, as_json: bool) -> None:
    """Watch the processes: who runs, who waits, and how fast tokens come. Ctrl-C ends it."""
    from rich.console import Console
    from rich.live import Live

    readings: Readings = []
    with look() as view:
        if as_json:
            _, data = _read(view, readings)
            print_json(data)
            return
        console = Console()
        if once or not sys.stdout.isatty():
            console.print(_screen(view, readings))
            return
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(_screen(view, readings, rows=console.height - 3), refresh=True)
                time.sleep(interval)


def _read(view: View, readings: Readings) -> "tuple[list[Summary], dict[str, object]]":
    found = view.table.summaries()
    found.sort(key=lambda p: (ORDER.get(p.state, 9), p.pid))
    spent = view.store.rows(
        "SELECT coalesce(sum(json_extract(account, '$.tokens')), 0) FROM process "
        "WHERE parent IS NULL"
    )[0][0]
    readings.append((time.monotonic(), int(spent)))
    while len(readings) > 2 and readings[-1][0] - readings[0][0] > WINDOW:
        del readings[0]
    passed = readings[-1][0] - readings[0][0]
    speed = (readings[-1][1] - readings[0][1]) / passed if passed else 0.0
    counts = {state: sum(p.state == state for p in found) for state in ORDER}
    return found, {
        "kernel": holder(view.store.path),
        "states": counts,
        "asks": len(view.asks().open()),
        "tokens": int(spent),
        "tokens_per_second": round(speed, 1),
        "processes": [as_data(process) for process in found],
    }


def _screen(view: View, readings: Readings, rows: int | None = None) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    found, data = _read(view, readings)
    kernel = f"kernel: process {data['kernel']}" if data["kernel"] else "no kernel runs"
    counts = data["states"]
    assert isinstance(counts, dict)
    states = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in counts.items() if n)
    head = (
        f"{kernel} · {states or 'no processes'} · {data['asks']} questions · "
        f"{data['tokens']:,} tokens · {data['tokens_per_second']}/s"
    )
    return Group(Text(head, style="bold"), process_table((p, 0) for p in found[:rows]))
