"""`cabin ps`, and the signals: `stop`, `kill`, `nice`, `fork`."""

import json
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from cabinos.cli.attach import tell_done
from cabinos.cli.options import PID, as_json
from cabinos.cli.orders import carry_out
from cabinos.cli.terminal import clean, print_json
from cabinos.cli.view import holder, look

if TYPE_CHECKING:
    from rich.table import Table

    from cabinos.kernel.table import Summary

__all__ = ["as_data", "process_table", "ps_command"]

COLOURS = {"ready": "green", "blocked": "cyan", "stopped": "yellow", "in_doubt": "red"}
PIPE_WIDTH = 200  # columns where stdout is not a terminal


@click.command("ps")
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that have ended.")
@click.option("--tree", is_flag=True, help="Children below their parents.")
@as_json
def ps_command(everything: bool, tree: bool, as_json: bool) -> None:
    """List the processes."""
    from cabinos.store.home import store_path

    path = store_path()
    found: list[Summary] = []
    if path.is_file():
        with look() as view:
            found = view.table.summaries(exited=everything)
    if as_json:
        data = {"kernel": holder(path), "processes": [as_data(process) for process in found]}
        print_json(data)
        return
    if not found:
        click.echo('No processes. `cabin "…"` starts one.', err=True)
        return
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    console.print(process_table(_in_trees(found) if tree else ((p, 0) for p in found)))


def as_data(process: "Summary") -> dict[str, Any]:
    """A process as plain data."""
    account = json.loads(process.account)
    return {
        "pid": process.pid,
        "parent": process.parent,
        "state": process.state,
        "title": process.title,
        "image": process.image,
        "model": process.model,
        "nice": process.nice,
        "label": process.label,
        "steps": process.step,
        "tokens": account.get("tokens", 0),
        "seconds": round(account.get("seconds", 0.0), 3),
        "usd": account.get("micros", 0) / 1e6,
        "created": process.created,
        "ended": process.ended,
        "waiting": process.waiting,
    }


def process_table(processes: "Iterable[tuple[Summary, int]]") -> "Table":
    """Processes as rows; each comes with its depth in the tree."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("pid", "state", "age", "tokens", "usd"):
        table.add_column(heading, justify="left" if heading == "state" else "right", no_wrap=True)
    table.add_column("model", no_wrap=True, max_width=20)
    table.add_column("what", no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column("waits for", no_wrap=True, overflow="ellipsis", max_width=40)
    now = time.time()
    for process, depth in processes:
        data = as_data(process)
        state = process.state + ("*" if process.label == "untrusted" else "")
        table.add_row(
            str(process.pid),
            Text(state, style=COLOURS.get(process.state, "dim")),
            age((process.ended or now) - process.created),
            f"{data['tokens']:,}",
            f"{data['usd']:.4f}" if data["usd"] else "",
            Text(clean(process.model)),
            Text("  " * depth + clean(process.title)),
            Text(clean(process.waiting or "")),
        )
    return table


def age(seconds: float) -> str:
    """12s, 3m, 5h, 2d."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(max(0, seconds))}s"


def _in_trees(found: "list[Summary]") -> "Iterable[tuple[Summary, int]]":
    """Children below their parents; one whose parent is not listed stands alone."""
    listed = {process.pid for process in found}
    children: dict[int | None, list[Summary]] = {}
    for process in found:
        parent = process.parent if process.parent in listed else None
        children.setdefault(parent, []).append(process)
    stack = [(process, 0) for process in reversed(children.get(None, []))]
    while stack:
        process, depth = stack.pop()
        yield process, depth
        stack += [(child, depth + 1) for child in reversed(children.get(process.pid, []))]


@click.command("stop")
@click.argument("pids", type=PID, nargs=-1, required=True, metavar="PID...")
@as_json
def stop_command(pids: tuple[int, ...], as_json: bool) -> None:
    """Stop processes until `cabin cont`. An effect under way is finished first."""
    for pid in pids:
        carry_out("stop", pid=pid)
    tell_done(pids, "is stopped", as_json=as_json)


@click.command("kill")
@click.argument("pids", type=PID, nargs=-1, required=True, metavar="PID...")
@as_json
def kill_command(pids: tuple[int, ...], as_json: bool) -> None:
    """End processes and their descendants. What they did and said is kept."""
    for pid in pids:
        carry_out("kill", pid=pid)
    tell_done(pids, "is gone", as_json=as_json)


@click.command("nice", context_settings={"ignore_unknown_options": True})
@click.argument("pid", type=PID)
@click.argument("nice", type=click.IntRange(-20, 19), metavar="N")
@as_json
def nice_command(pid: int, nice: int, as_json: bool) -> None:
    """Give process PID more of its model (N to -20) or less (N to 19)."""
    carry_out("nice", pid=pid, nice=nice)
    tell_done([pid], f"has nice {nice}", as_json=as_json)


@click.command("fork")
@click.argument("pid", type=PID)
@as_json
def fork_command(pid: int, as_json: bool) -> None:
    """Make a child that goes on from where PID is, over the same pages. Prints its number."""
    child = carry_out("fork", pid=pid, stay=True)
    if as_json:
        print_json({"pid": child, "original": pid})
    else:
        click.echo(child)
