"""Which files there are beneath a folder, for the index.

Symbolic links are not followed, so nothing is read twice, no cycle is walked and nothing outside
is reached. What begins with a dot, and folders that hold only what machines make, are left out.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Found", "scan"]

LEFT_OUT = frozenset("__pycache__ node_modules site-packages venv target".split())


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file."""

    path: str
    size: int  # bytes
    modified: int  # nanoseconds since 1970


def scan(root: Path, complain: Callable[[str], object]) -> Iterator[Found]:
    """The files beneath `root`, or `root` itself; the same order each time.

    `complain` is told of each folder that cannot be read, and of names that are not text.
    """
    status = root.stat()
    if not root.is_dir():
        if root.is_file():
            yield Found(str(root), status.st_size, status.st_mtime_ns)
        return
    waiting = [str(root)]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            complain(f"{folder}: cannot be read: {error.strerror}.")
            continue
        deeper = []
        for entry in inside:
            if entry.name.startswith(".") or entry.name in LEFT_OUT:
                continue
            if not entry.name.isprintable() and not _is_unicode(entry.name):
                complain(f"{entry.path!a}: its name is not UTF-8.")
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    deeper.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    yield Found(entry.path, status.st_size, status.st_mtime_ns)
            except OSError:  # it went away meanwhile
                continue
        waiting += reversed(deeper)


def _is_unicode(name: str) -> bool:
    """Whether the name was UTF-8: Python keeps bytes that are not as halves of surrogate pairs."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
