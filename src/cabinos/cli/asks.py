"""`cabin asks`, `approve`, `deny` and `answer`: what processes ask, and what a person says."""

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from cabinos.cli.attach import detach_option, go_on
from cabinos.cli.errors import Failure
from cabinos.cli.follow import draw_ask, how_to_answer
from cabinos.cli.options import PID, as_json
from cabinos.cli.orders import carry_out
from cabinos.cli.terminal import print_json
from cabinos.cli.view import look

if TYPE_CHECKING:
    from cabinos.kernel.asks import Ask

ASK = click.IntRange(min=1)


@click.command("asks")
@click.argument("pid", type=PID, required=False)
@as_json
def asks_command(pid: int | None, as_json: bool) -> None:
    """List the open questions: of process PID, or all."""
    with look() as view:
        found = view.asks().open(pid)
    if as_json:
        print_json({"asks": [asdict(ask) for ask in found]})
        return
    if not found:
        click.echo("Nobody asks anything.", err=True)
    for ask in found:
        when = datetime.fromtimestamp(ask.asked).strftime("%Y-%m-%d %H:%M")
        click.echo(f"{ask.id}  {when}  {draw_ask(ask.pid, ask.kind, ask.question, ask.detail)}")
        click.echo(f"  {how_to_answer(ask.id, ask.kind)}")


@click.command("approve")
@click.argument("ask", type=ASK)
@detach_option
@as_json
def approve_command(ask: int, **options: Any) -> None:
    """Allow what question ASK is about, this once.

    The approval holds for these very arguments and no others.
    """
    _answer(ask, "approved", "approval", **options)


@click.command("deny")
@click.argument("ask", type=ASK)
@detach_option
@as_json
def deny_command(ask: int, **options: Any) -> None:
    """Refuse what question ASK is about."""
    _answer(ask, "denied", "approval", **options)


@click.command("answer")
@click.argument("ask", type=ASK)
@click.argument("text")
@detach_option
@as_json
def answer_command(ask: int, text: str, **options: Any) -> None:
    """Answer question ASK in words.

    Of a call in doubt: `again`, `happened` or `failed`.
    """
    _answer(ask, text, None, **options)


def _answer(number: int, answer: str, kind: str | None, *, detach: bool, as_json: bool) -> None:
    ask = _find(number)
    if kind is not None and ask.kind != kind:
        raise Failure(f"question {number} is no {kind}. `cabin asks` tells how to answer it.")
    go_on(
        ask.pid,
        lambda: carry_out("answer", ask=number, answer=answer),
        detach=detach,
        as_json=as_json,
        told="has the answer",
    )


def _find(number: int) -> "Ask":
    with look() as view:
        for ask in view.asks().open():
            if ask.id == number:
                return ask
    raise Failure(
        f"question {number} does not exist or has been answered. `cabin asks` lists them."
    )
