"""Who may speak with the server: a token, the host that was asked for, the page that asks.

Without a token, only programs on this machine may: the server listens on loopback, and the name it
was asked by must be one of loopback's, so that no web page can reach it by a name that its owner
points there (DNS rebinding). With a token, every request must show it. In both cases a web page of
another origin is refused unless it was allowed.
"""

import hmac
import os
import secrets
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from cabinos.serve.errors import ApiError

__all__ = ["Guard", "is_loopback", "read_token"]

LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))
OPEN_PATHS = frozenset(("/health",))  # for supervisors that hold no token; it tells nothing


class Guard:
    """Middleware that lets a request through or answers 401 or 403."""

    def __init__(self, app: ASGIApp, token: str | None, origins: Collection[str] = ()) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http":
            try:
                self._check(scope["path"], Headers(scope=scope))
            except ApiError as error:
                await error.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, path: str, headers: Headers) -> None:
        host = headers.get("host", "")
        if self._token is None and not is_loopback(host_name(host)):
            raise ApiError(403, f"{host!r} is not a name of this machine.", code="wrong_host")
        origin = headers.get("origin")
        if origin is not None and origin not in (*self._origins, f"http://{host}"):
            message = f"pages of {origin} may not use this server; see --allow-origin."
            raise ApiError(403, message, code="wrong_origin")
        if self._token is None or path in OPEN_PATHS:
            return
        kind, _, shown = headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(shown.strip().encode(), self._token)
        if kind.lower() != "bearer" or not right:
            raise ApiError(
                401,
                "a bearer token is required: Authorization: Bearer TOKEN.",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )


def host_name(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a name or address means this machine and nobody else can reach it."""
    return host in LOOPBACK or (host.startswith("127.") and host.replace(".", "").isdecimal())


def read_token(path: Path) -> str:
    """The token in a file, which is made with a fresh one (mode 0600) if it is not there.

    Raises OSError, and ValueError if the file holds none or others may read it.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _existing_token(path)
    token = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{token}\n")
    return token


def _existing_token(path: Path) -> str:
    if path.stat().st_mode & 0o077:
        raise ValueError(f"{path}: others may read it: chmod 600 {path}")
    token = path.read_text(encoding="utf-8", errors="replace").strip()
    if len(token) < 16 or not token.isascii() or not token.isprintable():
        raise ValueError(f"{path}: holds no token: at least 16 printable ASCII characters.")
    return token
