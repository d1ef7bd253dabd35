"""Lines that are never lost: a file of JSON that only grows, and that one program writes at a time.

A line that `append` has returned from is on the disk: whoever is killed after it loses nothing. The
first line says what the file is. A last line that was cut off in the middle was never promised to
anybody, and is removed.
"""

import errno
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cabinos.engine.closing import Closing
from cabinos.lab.comparisons.errors import ComparisonError

__all__ = ["Log", "read_log"]


class Log(Closing):
    """The file, as a context manager. `entries` are its lines after the first.

    `identity` is the first line of a new file, and has to be that of one that is there. Raises
    ComparisonError if it is not, if another program writes the file, or if it is damaged.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._lock()
            self.identity, self.entries, self._size = _parse(_whole(self._file), path)
            os.ftruncate(self._file, self._size)
            if not self.identity:
                self.identity = dict(identity)
                self._write(self.identity)
                _sync_folder(path.parent)
            elif self.identity != dict(identity):
                raise ComparisonError(_differs(path, self.identity, identity))
        except BaseException:
            os.close(self._file)
            raise

    def append(self, entry: Mapping[str, Any]) -> None:
        """Adds a line; when it returns, the line is on the disk. Raises OSError, adding nothing."""
        self._write(entry)
        self.entries.append(dict(entry))

    def close(self) -> None:
        """Lets others write the file."""
        os.close(self._file)

    def _write(self, entry: Mapping[str, Any]) -> None:
        line = (json.dumps(entry) + "\n").encode()
        try:
            if os.write(self._file, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._size)
            error.filename = str(self.path)
            raise
        self._size += len(line)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ComparisonError(
                f"{self.path}: another program is writing it. End that one first, or name another "
                "file."
            ) from None


def read_log(path: Path, kind: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(first line, the others) of a log, also while somebody writes it; ({}, []) if there is none.

    `kind`: what "log" says in its first line. Raises ComparisonError if it is something else.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}, []
    identity, entries, _ = _parse(data, path)
    if identity and identity.get("log") != kind:
        raise ComparisonError(f"{path}: holds {identity['log']!r}, not {kind}.")
    return identity, entries


def _parse(data: bytes, path: Path) -> tuple[dict[str, Any], list[dict[str, Any]], int]:
    """(first line, the others, bytes of whole lines)."""
    size = data.rfind(b"\n") + 1
    if data and not size and not data.startswith(b'{"log"'[: len(data)]):
        raise ComparisonError(f"{path}: not a log of Cabin's. Name another file.")
    lines = []
    for number, line in enumerate(data[:size].split(b"\n")[:-1], 1):
        try:
            found = json.loads(line)
        except ValueError as error:
            raise ComparisonError(f"{path}, line {number}: not JSON ({error}).") from None
        if not isinstance(found, dict) or (number == 1 and "log" not in found):
            raise ComparisonError(f"{path}, line {number}: not a log of Cabin's.")
        lines.append(found)
    return (lines[0] if lines else {}), lines[1:], size


def _whole(file: int) -> bytes:
    with os.fdopen(os.dup(file), "rb") as reader:
        reader.seek(0)
        return reader.read()


def _differs(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    keys = [key for key in {**wanted, **found} if found.get(key) != wanted.get(key)]
    said = ", ".join(f"{key} {found.get(key)!r}, not {wanted.get(key)!r}" for key in keys)
    return f"{path}: was begun for something else ({said}). Name another file, or move it away."


def _sync_folder(folder: Path) -> None:
    """Makes a new file's name last."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
