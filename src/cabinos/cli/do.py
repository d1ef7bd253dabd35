"""`cabin "request"`, the main job: say it in plain words, get the answer on stdout."""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cabinos.cli.documents import answer_from
from cabinos.cli.errors import BLOCKED, Failure
from cabinos.cli.follow import Ending, Follower
from cabinos.cli.interrupt import stopped_by_control_c
from cabinos.cli.options import (
    as_json,
    budget,
    budget_options,
    capabilities,
    grant_options,
)
from cabinos.cli.run import decode
from cabinos.cli.terminal import Answers, Page, note, print_json

if TYPE_CHECKING:
    from cabinos.cli.session import Feed, Session

__all__ = ["do_command", "report", "see_through"]

MOST_INPUT = 8 << 20  # bytes taken from stdin


@click.command("do")
@click.argument("request")
@click.option(
    "-m", "--model", metavar="NAME", help="The brain: a configured model, or a GGUF file."
)
@click.option(
    "--from",
    "folders",
    multiple=True,
    metavar="FOLDER",
    help="Answer from the documents in it alone, with quotes; may be repeated.",
)
@grant_options
@budget_options
@click.option(
    "--schema",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The answer is JSON that fits the JSON schema in this file.",
)
@click.option("--seed", type=int, metavar="N", help="Of the model's choices.")
@click.option(
    "--plan/--no-plan",
    default=None,
    help="Plan all calls before anything is read; by default where it helps and the brain can.",
)
@click.option("--no-input", is_flag=True, help="Ask nobody: exit with 3 where a person is needed.")
@click.option("-q", "--quiet", is_flag=True, help="Only the answer, nothing on the way.")
@as_json
def do_command(
    request: str,
    model: str | None,
    folders: tuple[str, ...],
    schema: Path | None,
    seed: int | None,
    plan: bool | None,
    no_input: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Do what REQUEST asks for: `cabin "REQUEST"` for short.

    The answer goes to stdout, what is done on the way to stderr. What is piped in is read
    with it. A process that has stopped or waits (exit code 3, or 130 after Ctrl-C) is not lost:
    `cabin cont PID` goes on.

    With --from, REQUEST is a question to documents. What is quoted stands there word for word;
    exit code 1: they do not hold the answer.
    """
    from cabinos.cli.session import open_session
    from cabinos.kernel.kernel import Spawn

    if not request.strip():
        raise click.UsageError("the request is empty.")
    if folders:
        _require_alone(schema=schema, plan=plan, seed=seed, **options)
        limits = budget(options)
        answer_from(request, folders, model=model, budget=limits, as_json=as_json, quiet=quiet)
        return
    granted = capabilities(options)
    spawn = Spawn(
        request=request,
        context=_piped(),
        tools=None if granted.tools is None else sorted(granted.tools),
        files=granted.files,
        web=granted.web,
        shell=granted.shell,
        budget=budget(options),
        schema=read_schema(schema),
        seed=seed,
        plan=plan,
        interactive=True,
    )
    with open_session(model) as session, stopped_by_control_c(session):
        session.require_brain()
        pid, feed = session.spawn(replace(spawn, model=session.model))
        see_through(session, pid, feed, as_json=as_json, quiet=quiet, no_input=no_input)


def _require_alone(**options: Any) -> None:
    """Raises UsageError for options that mean nothing where documents alone are asked."""
    for name in ("files", "web", "shell", "tools", "schema", "plan", "seed"):
        if options[name] not in (None, (), False):
            raise click.UsageError(f"--from answers from documents alone; leave out --{name}.")


def _piped() -> str:
    """What was piped in. Nobody typed it: the process counts as having read something untrusted."""
    if sys.stdin is None or sys.stdin.isatty():
        return ""
    data = sys.stdin.buffer.read(MOST_INPUT + 1)
    if len(data) > MOST_INPUT:
        raise Failure(f"stdin: more than {MOST_INPUT >> 20} MiB. Grant it as a file: --files PATH.")
    return decode(data, "stdin").strip()


def read_schema(path: Path | None) -> dict[str, Any] | None:
    """The JSON schema in a file. Raises Failure if it is none."""
    if path is None:
        return None
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    try:
        schema = json.loads(decode(path.read_bytes(), path))
        if not isinstance(schema, dict):
            raise Failure(f"{path}: a JSON schema is an object.")
        validator_for(schema).check_schema(schema)
    except ValueError as error:
        raise Failure(f"{path}: not JSON: {error}.") from None
    except SchemaError as error:
        raise Failure(f"{path}: not a JSON schema: {error.message}.") from None
    return schema


def see_through(
    session: "Session",
    pid: int,
    feed: "Feed",
    *,
    as_json: bool = False,
    quiet: bool = False,
    no_input: bool = False,
) -> None:
    """Follows a process to its end, tells how it ended, and exits with the code that says so."""
    page = Page(silent=as_json, quiet=quiet or as_json)
    person = None if no_input else Answers.at_terminal()
    follower = Follower(session, pid, feed, page, person)
    ending = follower.run()
    if ending.why == "message" and ending.text and not page.streams:
        page.answer(ending.text)
    if as_json:
        print_json(report(session, pid, ending, follower))
    _tell(pid, ending, answered=as_json)
    if ending.code:
        raise SystemExit(ending.code)


def _tell(pid: int, ending: Ending, *, answered: bool) -> None:
    """What a person should know of an end that is not an answer."""
    if ending.code == 1:
        raise Failure(f"process {pid} {ending.status}: {ending.text}")
    if ending.why == "message" and not answered:
        note(f"Process {pid} waits for a message: `cabin chat {pid}`.")
    if ending.code == BLOCKED and not answered:
        if ending.why == "stopped":
            limits = " --budget-tokens, --budget-usd and --time raise its limits."
            more = limits if ending.error == "BudgetExceeded" else ""
            note(f"Process {pid} has stopped: {ending.text}", dim=False)
            note(f"`cabin cont {pid}` goes on.{more}", dim=False)
        else:
            note(f"Process {pid} waits for you.\n{ending.text}", dim=False)
            note(f"`cabin attach {pid}` goes on here.", dim=False)


def report(session: "Session", pid: int, ending: Ending, follower: Follower) -> dict[str, Any]:
    """How following ended, as plain data."""
    from cabinos.kernel.process import Process

    async def read() -> tuple[Process, list[dict[str, Any]]]:
        kernel = session.kernel
        asks = [asdict(ask) for ask in kernel.open_asks(pid)]
        return kernel.table.get(pid), asks

    process, asks = session.do(read())
    account = process.account
    status = ending.status if ending.why == "exit" else process.state.value
    data: dict[str, Any] = {
        "pid": pid,
        "status": status,
        "text": ending.text if ending.why in ("exit", "message") else "",
        "value": ending.value,
        "model": process.model,
        "usage": {
            "tokens": account.tokens,
            "seconds": round(account.seconds, 3),
            "usd": account.usd,
        },
        "calls": follower.calls,
        "asks": asks,
    }
    data |= follower.provenance(data["text"])
    if ending.why not in ("exit", "message"):
        data["why"] = process.waiting or ""
    return data
