"""Options that several verbs share: what a process may use and spend, and how to name one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from cabinos.kernel.budget import Budget
    from cabinos.kernel.capability import Capabilities, FileGrant

__all__ = [
    "PID",
    "arena_option",
    "as_json",
    "budget",
    "budget_options",
    "capabilities",
    "grant_options",
]

F = TypeVar("F", bound=Callable[..., Any])

arena_option = click.option(
    "--arena",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("arena"),
    show_default=True,
    help="The arena's folder: answers, battles, arena.toml.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


class Pid(click.ParamType[int]):
    """A process's number; the shell completes those there are."""

    name = "pid"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; fails with a message for what is none."""
        if not str(value).isdecimal() or not int(value):
            wrong = f"{value!r} is not the number of a process; `cabin ps` lists them."
            self.fail(wrong, param, ctx)
        return int(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        """The processes that have not ended, with their titles."""
        from click.shell_completion import CompletionItem

        from cabinos.cli.terminal import clean
        from cabinos.cli.view import look
        from cabinos.store.errors import StoreError

        try:
            with look() as view:
                found = view.table.summaries()
        except StoreError:
            return []
        return [
            CompletionItem(str(p.pid), help=clean(p.title).replace("\n", " "))
            for p in found
            if str(p.pid).startswith(incomplete)
        ]


PID = Pid()

_GRANTS = (
    click.option(
        "--files",
        multiple=True,
        metavar="DIR[:rw][:private]",
        help="A folder or file it may read, with :rw also write; may be repeated. What is "
        "private goes to no model on another machine.",
    ),
    click.option(
        "--web",
        multiple=True,
        metavar="HOST",
        help="A host it may reach; *.example.org: its subdomains; *: any public one.",
    ),
    click.option("--shell", is_flag=True, help="It may run commands, in a sandbox."),
    click.option(
        "--tools",
        metavar="NAMES",
        help="Only these tools, separated by commas; none: not any. A small model needs few.",
    ),
)
_BUDGET = (
    click.option(
        "--budget-tokens",
        "tokens",
        type=click.IntRange(min=0),
        metavar="N",
        help="At most N tokens.",
    ),
    click.option(
        "--budget-usd", "usd", type=click.FloatRange(min=0), metavar="USD", help="At most so much."
    ),
    click.option("--time", "wall", metavar="TIME", help="Time to think and act: 90s, 10m, 2h, 1d."),
)


def grant_options(command: F) -> F:
    """Adds --files, --web, --shell and --tools."""
    for option in reversed(_GRANTS):
        command = option(command)
    return command


def budget_options(command: F) -> F:
    """Adds --budget-tokens, --budget-usd and --time."""
    for option in reversed(_BUDGET):
        command = option(command)
    return command


def capabilities(options: Mapping[str, Any]) -> "Capabilities":
    """What the options of `grant_options` grant. Raises UsageError."""
    from cabinos.kernel.capability import Capabilities
    from cabinos.kernel.errors import InvalidArguments

    try:
        grants = tuple(map(_granted, options["files"]))
        return Capabilities(
            _names(options["tools"]), grants, tuple(options["web"]), options["shell"]
        )
    except InvalidArguments as error:
        raise click.UsageError(str(error)) from error


def _names(text: str | None) -> frozenset[str] | None:
    if text is None:
        return None
    return frozenset(name.strip() for name in text.split(",")) - {"", "none"}


def _granted(text: str) -> "FileGrant":
    """The folder of `DIR[:r|:rw][:private]`. Raises InvalidArguments if there is none."""
    from cabinos.kernel.capability import files

    path, private = _without(text, "private")
    for mode in ("rw", "r"):
        bare, found = _without(path, mode)
        if found:
            return files(bare, mode, private=private)
    return files(path, private=private)


def _without(text: str, word: str) -> tuple[str, bool]:
    """The path before `:word`, and whether that was there; a file may be called so."""
    if text.endswith(f":{word}") and not Path(text).exists():
        return text.removesuffix(f":{word}"), True
    return text, False


def budget(options: Mapping[str, Any]) -> "Budget":
    """What the options of `budget_options` allow. Raises UsageError."""
    from cabinos.kernel.budget import Budget

    try:
        return Budget(options["tokens"], options["wall"], options["usd"])
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
