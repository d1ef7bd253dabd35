"""What `cabin serve` and `cabin mcp --http` share: where they listen, and whom they let in."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cabinos.cli.errors import Failure

if TYPE_CHECKING:
    from cabinos.serve.server import Listener

__all__ = ["bound", "listening_options", "token_of"]

F = TypeVar("F", bound=Callable[..., Any])
LEAST_TOKEN = 16  # characters of $CABIN_TOKEN


def listening_options(port: int, only: str = "") -> Callable[[F], F]:
    """Adds --host, --port (by default `port`), --token-file and --allow-origin.

    `only`: how each help text begins, such as "With --http: ".
    """
    options = (
        click.option(
            "--host",
            default="127.0.0.1",
            show_default=True,
            help=f"{only}The address to listen on.",
        ),
        click.option(
            "--port",
            type=click.IntRange(0, 65535),
            default=port,
            show_default=True,
            help=f"{only}The port; 0: any free one, which is printed.",
        ),
        click.option(
            "--token-file",
            type=click.Path(dir_okay=False, path_type=Path),
            help=f"{only}Ask for the token in this file, which is made if it is not there.",
        ),
        click.option(
            "--allow-origin",
            "origins",
            multiple=True,
            metavar="ORIGIN",
            help=f"{only}Web pages of this origin (http://localhost:3000) may use it; repeatable.",
        ),
    )

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


_TAKEN = (98, 48, 13)  # EADDRINUSE of Linux and of macOS, EACCES


def bound(host: str, port: int) -> "Listener":
    """A socket that listens there. Raises Failure."""
    from cabinos.serve.server import listen

    try:
        return listen(host, port)
    except OSError as error:
        where = f"{host}, port {port}"
        hint = " Another --port may be free." if error.errno in _TAKEN else ""
        raise Failure(f"{where}: cannot listen: {error.strerror or error}.{hint}") from None


def token_of(host: str, path: Path | None) -> str | None:
    """The token that clients must show; None: there is none, and only this machine may ask."""
    from cabinos.serve.guard import is_loopback, read_token

    if path is not None:
        try:
            return read_token(path)
        except ValueError as error:
            raise Failure(f"{error}.") from None
    token = os.environ.get("CABIN_TOKEN", "").strip()
    if token:
        if len(token) < LEAST_TOKEN or not token.isascii():
            raise Failure(f"CABIN_TOKEN must be at least {LEAST_TOKEN} ASCII characters.")
        return token
    if not is_loopback(host):
        raise Failure(
            f"{host} can be reached from other machines, so clients must show a token: set "
            f"CABIN_TOKEN, or name a --token-file (it is made if it is not there)."
        )
    return None
