"""`cabin`: the group of all verbs.

A verb's module is imported only when the verb is used or listed, and imports what is heavy only
when it runs, so that `cabin --help` answers in an instant.
"""

import sys
from importlib import import_module
from io import TextIOWrapper

import click

import cabinos
from cabinos.cli.errors import clear_errors

COMMANDS = {
    "run": "cabinos.cli.run:run_command",
    "pack": "cabinos.cli.pack:pack_command",
    "models": "cabinos.cli.models:models_command",
    "data": "cabinos.cli.data:data_command",
    "train": "cabinos.cli.train:train_command",
}


class LazyGroup(click.Group):
    """A group whose commands are named in `COMMANDS` as `module:attribute`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb; None if there is no such verb."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the chosen verb, turning its errors into messages and exit codes."""
        with clear_errors(debug=ctx.params["debug"]):
            return super().invoke(ctx)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog='Shell completion: eval "$(_CABIN_COMPLETE=bash_source cabin)" (or zsh_, fish_).',
)
@click.version_option(cabinos.__version__, "-V", "--version", message="cabin %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:  # noqa: ARG001 - LazyGroup.invoke reads it
    """Cabin: an operating system whose kernel process is a language model."""
    if isinstance(sys.stdout, TextIOWrapper):  # a model may say what the terminal's code lacks
        sys.stdout.reconfigure(errors="replace")
