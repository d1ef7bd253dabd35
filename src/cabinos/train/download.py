"""Fetching a file over HTTP: goes on where it was interrupted, complete or not at all."""

import errno
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

import cabinos
from cabinos.train.errors import SourceError

__all__ = ["download", "get"]

CHUNK = 1 << 18
TRIES = 4
PATIENCE = 30.0  # seconds without a byte before a connection counts as lost
LONGEST_WAIT = 60.0  # seconds, whatever the server asks for

Progress = Callable[[int], None]
"""Called with the bytes that are there so far."""


def download(url: str, path: Path, progress: Progress | None = None) -> Path:
    """Fetch `url` to `path`, going on with `path.part` if it is there.

    Connections that break and servers that are busy are tried again a few times. Raises SourceError
    if that does not help; what was received is kept for the next time.
    """
    if path.is_file():
        return path
    partial = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, TRIES + 1):
        try:
            _receive(url, partial, progress)
        except (OSError, HTTPException) as error:
            _give_up_or_wait(url, partial, error, attempt)
        else:
            partial.replace(path)
            return path
    raise AssertionError("the last attempt raises")


def get(url: str) -> bytes:
    """The body of a small answer. Raises SourceError as `download` does."""
    for attempt in range(1, TRIES + 1):
        try:
            with _open(url) as answer:
                body: bytes = answer.read()
                return body
        except (OSError, HTTPException) as error:
            _give_up_or_wait(url, None, error, attempt)
    raise AssertionError("the last attempt raises")


def _open(url: str, start: int = 0) -> Any:
    """The answer to a request for `url`, from byte `start` on if the server can."""
    if not url.startswith(("https://", "http://")):
        raise SourceError(f"{url}: not an http or https address.")
    headers = {"User-Agent": f"cabinos/{cabinos.__version__}"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 (checked above)
    return urllib.request.urlopen(request, timeout=PATIENCE)  # noqa: S310


def _receive(url: str, partial: Path, progress: Progress | None) -> None:
    """Append what is missing to `partial`. Raises OSError or HTTPException if it breaks off."""
    have = partial.stat().st_size if partial.is_file() else 0
    try:
        answer = _open(url, have)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is missing, or the file has shrunk: start over
            partial.unlink()
            raise ConnectionError("what was kept does not fit; starting over") from None
        raise
    with answer:
        resumed = answer.status == 206
        have = have if resumed else 0
        length = answer.headers.get("Content-Length")
        with partial.open("ab" if resumed else "wb") as file:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                have += len(chunk)
                if length is not None:
                    length = int(length) - len(chunk)
                if progress is not None:
                    progress(have)
        if length not in (None, 0):
            raise ConnectionError(f"the connection broke off, {length} bytes early")


def _give_up_or_wait(url: str, partial: Path | None, error: Any, attempt: int) -> None:
    """Wait before the next attempt, or raise SourceError if there is none, or no sense in one."""
    status = getattr(error, "code", None)
    if getattr(error, "errno", None) == errno.ENOSPC:
        raise SourceError(f"{partial}: the disk is full. Free space and run it again.")
    if status is not None and status not in (403, 429) and status < 500:
        raise SourceError(
            f"{url}: the server answers {status} ({error.reason}). The file was moved or removed; "
            "if you have it, give its folder with --from."
        )
    if attempt < TRIES:
        asked = error.headers.get("Retry-After", "") if status is not None else ""
        time.sleep(min(LONGEST_WAIT, float(asked) if asked.isdecimal() else 2.0 ** (attempt - 1)))
        return
    kept = partial.stat().st_size if partial is not None and partial.is_file() else 0
    raise SourceError(
        f"{url}: interrupted ({getattr(error, 'reason', None) or error}). {kept / 1e6:,.1f} MB are "
        "kept: run the same command again to go on."
    )
