"""`cabin completion`: what the shell needs to complete verbs, options and process numbers."""

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS), required=False)
def completion_command(shell: str | None) -> None:
    """Print the completion script for SHELL.

    bash, zsh or fish; by default that of $SHELL. Put this into the shell's start-up file:

    eval "$(cabin completion bash)"
    """
    from cabinos.cli.main import main

    name = shell or Path(os.environ.get("SHELL", "")).name
    found = get_completion_class(name)
    if found is None or name not in SHELLS:
        raise click.UsageError(f"say which shell: {', '.join(SHELLS)}.")
    click.echo(found(main, {}, "cabin", "_CABIN_COMPLETE").source())
