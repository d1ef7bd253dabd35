"""`cabin attach`, `cont` and `send`: a process goes on, here if no other kernel runs."""

from collections.abc import Callable
from typing import Any

import click

from cabinos.cli.do import see_through
from cabinos.cli.interrupt import stopped_by_control_c
from cabinos.cli.log import follow_log
from cabinos.cli.options import PID, as_json, budget, budget_options
from cabinos.cli.orders import carry_out
from cabinos.cli.terminal import note, print_json
from cabinos.cli.view import holder, look

__all__ = ["attach_command", "cont_command", "detach_option", "go_on", "send_command"]

detach_option = click.option(
    "-d", "--detach", is_flag=True, help="Do not run it here: the next kernel does."
)


@click.command("attach")
@click.argument("pid", type=PID)
@click.option("--no-input", is_flag=True, help="Ask nobody: exit with 3 where a person is needed.")
@click.option("-q", "--quiet", is_flag=True, help="Only the answer, nothing on the way.")
@as_json
def attach_command(pid: int, no_input: bool, quiet: bool, as_json: bool) -> None:
    """Follow process PID, and answer what it asks.

    If no kernel runs, one runs here as long as it takes. Beside a running kernel, what is committed
    is shown, as `cabin log -f` does.
    """
    from cabinos.cli.session import open_session
    from cabinos.store.errors import StoreBusy

    with look() as view:
        view.table.get(pid)  # raises before a store is made for nothing
    try:
        with open_session(follow=pid) as session, stopped_by_control_c(session):
            session.tell_present(pid, session.feed)
            see_through(session, pid, session.feed, as_json=as_json, quiet=quiet, no_input=no_input)
    except StoreBusy:
        follow_log(pid, as_json=as_json)


@click.command("cont")
@click.argument("pids", type=PID, nargs=-1, required=True, metavar="PID...")
@budget_options
@detach_option
@as_json
def cont_command(pids: tuple[int, ...], detach: bool, as_json: bool, **limits: Any) -> None:
    """Let stopped processes go on.

    One PID goes on here if no kernel runs; several wait for the next one. The options raise its
    limits: --budget-tokens 50000 is the new total, what is spent stays spent.
    """
    given = {name: value for name, value in limits.items() if value is not None}
    budget(limits)  # raises UsageError

    def order(pid: int) -> int:
        if given:
            carry_out("budget", pid=pid, budget=given)
        with look() as view:
            state = view.table.get(pid).state.value
        return carry_out("cont", pid=pid) if state != "ready" else pid

    if len(pids) == 1:
        go_on(pids[0], lambda: order(pids[0]), detach=detach, as_json=as_json, told="continued")
        return
    for pid in pids:
        order(pid)
    tell_done(pids, "continued", as_json=as_json)


@click.command("send")
@click.argument("pid", type=PID)
@click.argument("text")
@detach_option
@as_json
def send_command(pid: int, text: str, detach: bool, as_json: bool) -> None:
    """Send process PID a message; it reads it before its next thought."""
    if not text.strip():
        raise click.UsageError("the message is empty.")
    go_on(
        pid,
        lambda: carry_out("send", pid=pid, text=text),
        detach=detach,
        as_json=as_json,
        told="has the message",
    )


def go_on(pid: int, order: Callable[[], int], *, detach: bool, as_json: bool, told: str) -> None:
    """Gives an order about a process, and follows what it then does if no other kernel runs."""
    from cabinos.cli.session import open_session
    from cabinos.store.errors import StoreBusy

    with look() as view:
        view.table.get(pid)  # raises before a store is made for nothing
    if not detach:
        try:
            with open_session(follow=pid) as session, stopped_by_control_c(session):
                order()
                session.tell_present(pid, session.feed)
                see_through(session, pid, session.feed, as_json=as_json)
                return
        except StoreBusy:
            pass
    order()
    tell_done([pid], told, as_json=as_json)


def tell_done(pids: "tuple[int, ...] | list[int]", told: str, *, as_json: bool) -> None:
    """What was done to which processes, and who runs them now."""
    from cabinos.store.home import store_path

    kernel = holder(store_path())
    if as_json:
        print_json({"pids": list(pids), "done": told, "kernel": kernel})
        return
    for pid in pids:
        note(f"Process {pid} {told}.", dim=False)
    if kernel is None and told in GOES_ON:
        note("No kernel runs: `cabin up` runs what is ready, `cabin attach PID` one.", dim=False)


GOES_ON = ("continued", "has the message", "is started", "has the answer")
