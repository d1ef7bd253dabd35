"""`cabin log` and `replay`: what a process did and said, from the journal."""

import json
import time
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from cabinos.cli.errors import Failure
from cabinos.cli.options import PID, as_json
from cabinos.cli.terminal import note, print_json, show, visible
from cabinos.cli.view import View, look

if TYPE_CHECKING:
    from cabinos.store.journal import Entry
    from cabinos.store.pages import Page

__all__ = ["follow_log", "log_command", "replay_command"]

GLANCE = 0.2  # seconds between two looks
COST = ("in", "out", "micros", "ms", "cached")  # of a thought
GONE = ("exit",)  # after which nothing comes


@click.command("log")
@click.argument("pid", type=PID, required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on as more comes, until the process ends.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def log_command(pid: int | None, follow: bool, as_json: bool) -> None:
    """Show what process PID did and said; without PID: all of them."""
    if follow:
        follow_log(pid, as_json=as_json)
        return
    with look() as view:
        for entry in _known(view, pid):
            _print(view, entry, as_json=as_json, with_pid=pid is None)


def follow_log(pid: int | None, *, as_json: bool) -> None:
    """Prints the journal of a process as it grows, until its end; of all: until Ctrl-C."""
    with look() as view:
        after, version = 0, -1
        while True:
            now = view.store.data_version()
            if now != version:
                version = now
                for entry in _known(view, pid, after=after):
                    after = entry.seq
                    _print(view, entry, as_json=as_json, with_pid=pid is None)
                if pid is not None and _has_ended(pid):
                    return
            time.sleep(GLANCE)


def _has_ended(pid: int) -> bool:
    with look() as view:
        return view.table.get(pid).state == "exited"


def _known(view: View, pid: int | None, after: int = 0) -> "Iterator[Entry]":
    if pid is not None:
        view.table.get(pid)  # raises NoSuchProcess
    return view.journal.entries(pid, after=after)


def _print(view: View, entry: "Entry", *, as_json: bool, with_pid: bool) -> None:
    pages = _pages(view, entry)
    if as_json:
        data = {"seq": entry.seq, "time": entry.time, "pid": entry.pid, "kind": entry.kind}
        said = [{"role": p.role, "label": p.label, "text": p.text} for p in pages]
        show([json.dumps({**data, **entry.body, "pages": said})])
        return
    when = datetime.fromtimestamp(entry.time).strftime("%H:%M:%S")
    who = f"{entry.pid:>5} " if with_pid else ""
    note_of = _facts(entry)
    show([f"{who}{when}  {visible(entry.kind)}{'  ' + visible(note_of) if note_of else ''}"])
    for page in pages:
        mark = "┆" if page.label == "untrusted" else "│"
        lead = f"{page.role}: " if page.role in ("system", "user") else ""
        for line in f"{lead}{page.text}".split("\n"):
            show([f"          {mark} {visible(line)}"])


def _pages(view: View, entry: "Entry") -> "list[Page]":
    """What was said in an entry: of a spawn, the request."""
    if entry.kind == "spawn":
        first = []
        for page_id, _, _ in view.table.get(entry.pid).pages:
            page = view.pages.get(page_id)
            if page.role not in ("system", "user"):
                break
            first.append(page)
        return [page for page in first if page.role == "user"]
    number = entry.body.get("page")
    if number is None or entry.kind in GONE:
        return []
    page = view.pages.get(number)
    return [page] if page.text else []


def _facts(entry: "Entry") -> str:
    """The rest of an entry in one line."""
    if entry.kind == "check":
        action, rule, reason, *_ = entry.body["verdict"]
        return f"call={entry.body['call']} {action} (rule {rule}) {reason}".rstrip()
    hidden = ("page", "text", *COST) if entry.kind == "policy" else ("page", *COST)
    body = {k: v for k, v in entry.body.items() if v is not None and k not in hidden}
    if body.get("ok"):
        body.pop("ok")
    parts = [
        f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in body.items()
    ]
    if entry.kind == "think":
        read, written, micros, ms = (entry.body.get(name, 0) for name in COST[:4])
        usd = f", ${micros / 1e6:.4f}" if micros else ""
        parts.append(f"({read} + {written} tokens, {ms / 1000:.2f} s{usd})")
    return " ".join(parts).replace("\n", " ")


@click.command("replay")
@click.argument("pid", type=PID)
@as_json
def replay_command(pid: int, as_json: bool) -> None:
    """Run process PID again over its journal: is every step the same?

    Nothing is thought, called or written. Exit code 1 if a step differs.
    """
    from cabinos.lab.decisions import decide_again
    from cabinos.lab.replay import replay

    with look() as view:
        decisions = decide_again(view.store, pid)
        outcome = replay(view.store, pid)
    if decisions.differ:
        rows = ", ".join(map(str, decisions.differ[:9]))
        outcome.difference = outcome.difference or f"decisions differ: rows {rows} of the journal."
    if as_json:
        data: dict[str, Any] = {"pid": pid, "same": not outcome.difference}
        data["decisions"] = decisions.made
        print_json({**data, "difference": outcome.difference, "steps": outcome.steps})
        if outcome.difference:
            raise SystemExit(1)
        return
    for number, step in enumerate(outcome.steps, 1):
        calls = ", ".join(step.values())
        note(f"{number:>4}  {calls}")
    if outcome.difference:
        raise Failure(f"process {pid}: {outcome.difference}")
    click.echo(
        f"process {pid}: {len(outcome.steps)} steps and {decisions.made} decisions, all the same"
    )
