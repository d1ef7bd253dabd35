"""`cabin exec`: a program in the kernel's own Python, with nothing but what it is given."""

import sys
from pathlib import Path
from typing import Any

import click

from cabinos.cli.do import see_through
from cabinos.cli.interrupt import stopped_by_control_c
from cabinos.cli.options import as_json, budget, budget_options, capabilities, grant_options
from cabinos.cli.run import decode


@click.command("exec")
@click.argument("code", required=False)
@click.option(
    "-f",
    "--file",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Read the program from this file; -: from stdin.",
)
@click.option("-m", "--model", metavar="NAME", help="The brain for think().")
@grant_options
@budget_options
@click.option("-q", "--quiet", is_flag=True, help="Only the value, nothing on the way.")
@as_json
def exec_command(
    code: str | None,
    file: Path | None,
    model: str | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run CODE, a Python program, as a process, and print its value.

    That is the value of its last expression, after what it printed. It may call the syscalls and
    tools as functions: think("…"), read("notes/a.txt"), ask("…").
    """
    from cabinos.cli.session import open_session
    from cabinos.kernel.kernel import Spawn

    if (code is None) == (file is None):
        raise click.UsageError("give the program as CODE or as --file, one of them.")
    if file is not None:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        code = decode(data, "stdin" if str(file) == "-" else file)
    granted = capabilities(options)
    with open_session(model) as session, stopped_by_control_c(session):
        spawn = Spawn(
            code=code or "",
            model=session.model,
            tools=None if granted.tools is None else sorted(granted.tools),
            files=granted.files,
            web=granted.web,
            shell=granted.shell,
            budget=budget(options),
            interactive=True,
        )
        pid, feed = session.spawn(spawn)
        see_through(session, pid, feed, as_json=as_json, quiet=quiet)
