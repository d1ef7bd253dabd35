"""`cabin up` and `spawn`: a kernel that runs, and work for it."""

import json
import signal
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from cabinos.cli.attach import tell_done
from cabinos.cli.follow import how_to_answer, one_line
from cabinos.cli.options import as_json, budget, budget_options, capabilities, grant_options
from cabinos.cli.orders import carry_out
from cabinos.cli.terminal import note, print_json, show, visible

if TYPE_CHECKING:
    from cabinos.kernel.events import Event

GLANCE = 0.2  # seconds between two looks at whether there is anything to do
KINDS = ("call", "result", "ask", "state", "exit")  # of events that are told


@click.command("up")
@click.option("--until-idle", is_flag=True, help="End when nobody can go on by itself.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing about the processes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each event.")
def up_command(until_idle: bool, quiet: bool, as_json: bool) -> None:
    """Run the kernel here until Ctrl-C: whoever is ready goes on.

    Timers fire, too. Meanwhile the other verbs work from other terminals: `spawn`, `ps`, `approve`,
    `kill`, ….
    """
    from cabinos.cli.session import EVERYBODY, open_session

    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with open_session(follow=EVERYBODY) as session:
        feed = session.feed
        note(f"The kernel runs on {session.kernel.store.path}. Ctrl-C ends it.", dim=False)
        if asked := len(session.open_asks()):
            note(f"Open questions: {asked}. `cabin asks` lists them.", dim=False)
        try:
            while not (until_idle and session.at_rest() and feed.empty()):
                event = session.next_event(feed, GLANCE)
                if event is not None and not quiet and event.kind in KINDS:
                    _tell(event, as_json=as_json)
        except KeyboardInterrupt:
            note(
                "\nThe kernel ends; whoever was at work goes on when the next one runs.", dim=False
            )


def _tell(event: "Event", *, as_json: bool) -> None:
    if as_json:
        show([json.dumps({"pid": event.pid, "kind": event.kind, **event.data}, default=str)])
        return
    data = event.data
    match event.kind:
        case "call":
            text = f"calls {data['name']}"
        case "result":
            text = f"{data['name']}: {one_line(data['text'])}"
        case "ask":
            how = how_to_answer(data["ask"], data["about"])
            text = f"asks: {one_line(data['question'])} {how}"
        case "state":
            text = f"{data['state']}: {one_line(data['why'] or '')}"
        case _:
            text = f"{data['status']}: {one_line(data['text'])}"
    when = datetime.now().strftime("%H:%M:%S")
    show([f"{when} {event.pid:>5}  {visible(text)}"])


@click.command("spawn")
@click.argument("request")
@click.option("-m", "--model", metavar="NAME", help="The brain: a configured model.")
@grant_options
@budget_options
@click.option("--nice", type=click.IntRange(-20, 19), default=0, metavar="N", help="19: last.")
@as_json
def spawn_command(
    request: str, model: str | None, nice: int, as_json: bool, **options: Any
) -> None:
    """Start a process on REQUEST and leave it to the kernel that runs. Prints its number.

    Where none runs, it is kept until one does: `cabin up`, or `cabin attach PID`.
    """
    from cabinos.cli.session import open_session
    from cabinos.store.errors import StoreBusy

    if not request.strip():
        raise click.UsageError("the request is empty.")
    granted, limits = capabilities(options), budget(options)
    body = {
        "request": request,
        "capabilities": granted.to_json(),
        "budget": {"tokens": limits.tokens, "wall": limits.wall, "usd": limits.usd},
        "nice": nice,
    }
    try:
        with open_session(model, idle=True) as session:
            session.require_brain()
            pid = carry_out("spawn", **body, model=session.model)
    except StoreBusy:
        pid = carry_out("spawn", **body, model=model)
    if as_json:
        print_json({"pid": pid})
        return
    click.echo(pid)
    if sys.stderr.isatty():
        tell_done([pid], "is started", as_json=False)
