"""`cabin serve`: the kernel behind OpenAI's HTTP API, until Ctrl-C."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cabinos.cli.errors import Failure
from cabinos.cli.listening import bound, listening_options, token_of
from cabinos.cli.options import capabilities, grant_options
from cabinos.cli.terminal import note

if TYPE_CHECKING:
    from cabinos.kernel.capability import Capabilities
    from cabinos.serve.server import Listener

__all__ = ["serve_command"]


@click.command("serve")
@listening_options(8421)
@click.option("-m", "--model", metavar="NAME", help="The first model, and what `cabin` stands for.")
@grant_options
@click.option("--json-log", is_flag=True, help="Requests and events as JSON lines on stderr.")
@click.option("-q", "--quiet", is_flag=True, help="Do not tell of requests.")
def serve_command(
    host: str,
    port: int,
    token_file: Path | None,
    origins: tuple[str, ...],
    model: str | None,
    json_log: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Serve OpenAI's API: /v1/chat/completions, /v1/responses, /v1/models and more.

    What a model called cabin/NAME may touch is what --files, --web and --shell grant. On loopback
    no token is needed; beyond it there must be one: $CABIN_TOKEN, or --token-file.
    """
    granted = capabilities(options)
    try:
        import cabinos.serve.server  # noqa: F401 - is it there?
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("starlette", "uvicorn"):
            raise
        raise Failure(f"{missing} is not installed: pip install 'cabinos[serve]'") from None
    from cabinos.drivers.model.brain import choose_brain
    from cabinos.kernel.plugins import read_config
    from cabinos.store.home import config_path

    token = token_of(host, token_file)
    config, name = choose_brain(read_config(config_path()), model)
    with bound(host, port) as listener:
        asyncio.run(_serve(listener, config, name, granted, token, origins, _Log(json_log, quiet)))


class _Log:
    """What is told on stderr: lines for people, or JSON."""

    def __init__(self, as_json: bool, quiet: bool) -> None:
        self._as_json = as_json
        self.requests = None if quiet else self._request

    def tell(self, event: str, text: str, **fields: Any) -> None:
        """An event of the server."""
        if self._as_json:
            click.echo(json.dumps({"event": event, **fields}), err=True)
        else:
            note(text, dim=False)

    def _request(self, entry: Mapping[str, Any]) -> None:
        if self._as_json:
            click.echo(json.dumps({"event": "request", **entry}), err=True)
        else:
            note(
                f"{entry['time'][11:19]} {entry['status']} {entry['method']} {entry['path']} "
                f"{entry['ms']:,.0f} ms"
            )


async def _serve(
    listener: "Listener",
    config: Mapping[str, Any],
    model: str | None,
    granted: "Capabilities",
    token: str | None,
    origins: tuple[str, ...],
    log: _Log,
) -> None:
    from cabinos.kernel.kernel import Kernel
    from cabinos.serve.server import serve
    from cabinos.serve.service import Service

    kernel = Kernel.open(config=config)
    if model in kernel.models:  # the first one is the default
        kernel.models = {model: kernel.models[model], **kernel.models}
    url = f"{listener.url}/v1"

    def ready() -> None:
        names = list(kernel.models)
        shown = ", ".join(names) or "no models; see `cabin doctor`"
        guarded = "with a token" if token else "for this machine alone"
        log.tell(
            "listening",
            f"Serving {url} {guarded} ({shown}). Ctrl-C ends it.",
            url=url,
            models=names,
            token=token is not None,
        )

    async with kernel:
        service = Service(kernel, granted=granted)
        await serve(service, listener, token=token, origins=origins, log=log.requests, ready=ready)
    log.tell("ended", "The kernel has ended; whoever was at work goes on when the next one runs.")
