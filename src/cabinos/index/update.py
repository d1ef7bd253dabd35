"""Files and the index brought together: what is new or changed is read, what is gone goes.

A file whose size and time are those of the index is not opened; one with the same bytes is not
taken apart. Files go in by batches, each one transaction: whatever ends the program, what was
committed stays and the next run goes on from there. Several runs at once do no harm: a file is
replaced whole, by the same passages.
"""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cabinos.index.errors import ExtraMissing, SearchError
from cabinos.index.index import Index, Source
from cabinos.index.passages import CODE, passages_of
from cabinos.index.scan import Found, scan

__all__ = ["Content", "Reader", "Report", "add_roots", "forget", "roots", "update"]

KIND = "file"
MAX_BYTES = 100 << 20  # of a file; larger ones are left out unread
BATCH_FILES, BATCH_PASSAGES, BATCH_SECONDS = 256, 2000, 2.0  # what one transaction holds
UNSETTLED = 2_000_000_000  # nanoseconds: a file this young may change again at the same time


@dataclass(frozen=True, slots=True)
class Content:
    """What a file says."""

    text: str
    pages: bool = False  # lines `[page N]` are marks


Reader = Callable[[Path, bytes], Content]
"""Takes a file apart, given its bytes. Raises SearchError, saying why there is no text."""


@dataclass(slots=True)
class Report:
    """What an update did."""

    read: int = 0  # files taken in
    unchanged: int = 0
    removed: int = 0
    passages: int = 0
    problems: list[str] = field(default_factory=list)  # files that could not be read, and why


def roots(index: Index) -> list[Path]:
    """What was asked to be indexed."""
    return [Path(path) for (path,) in index.rows("SELECT path FROM root ORDER BY path")]


def add_roots(index: Index, paths: Sequence[Path]) -> list[Path]:
    """Remembers what is to be indexed; the resolved paths. Raises SearchError for one not there."""
    resolved = []
    for path in paths:
        try:
            resolved.append(path.resolve(strict=True))
        except (OSError, RuntimeError):  # the latter: links that lead to themselves
            raise SearchError(f"{path}: no such file or folder.") from None
    known = roots(index)
    with index.writing() as db:
        for path in resolved:
            if not any(path.is_relative_to(root) for root in known):
                inner = [(str(root),) for root in known if root.is_relative_to(path)]
                db.executemany("DELETE FROM root WHERE path = ?", inner)
                db.execute("INSERT OR IGNORE INTO root VALUES (?)", (str(path),))
    return resolved


def forget(index: Index, path: Path) -> int:
    """Takes a file, or a folder with all below it, out of the index; how many files that were.

    Nothing of them is left in the index's file. A root above it stays, and brings it back.
    """
    path = path.absolute()
    names = list(_known(index, path))
    index.remove(KIND, names)
    inner = [(str(root),) for root in roots(index) if root.is_relative_to(path)]
    with index.writing() as db:
        db.executemany("DELETE FROM root WHERE path = ?", inner)
    if names:
        index.scrub()
    return len(names)


def update(
    index: Index,
    paths: Sequence[Path],
    read: Reader,
    progress: Callable[[int, int], object] = divmod,
) -> Report:
    """Brings what the index says of `paths` up to date. Raises SearchError if it cannot be written.

    `progress` is called with how much is done and how much there is: of passages whose vectors are
    another encoder's, then of files. Nobody listens by default.
    """
    report = Report()
    index.take_encoder()
    total = 0
    for left in index.encode_missing():
        total = max(total, left)
        progress(total - left, total)
    for path in paths:
        known = _known(index, path)
        try:
            files = list(scan(path, report.problems.append))
        except OSError as error:  # an unmounted disk is no reason to forget what it holds
            report.problems.append(f"{path}: cannot be read: {error.strerror}.")
            continue
        for done, batch in _batches(index, files, known, read, report):
            if batch:
                index.put(batch)
            report.passages += sum(len(source.passages) for source in batch)
            progress(done, len(files))
        gone = known.keys() - {found.path for found in files}
        unreadable = [problem.partition(": ")[0] for problem in report.problems]
        gone = {name for name in gone if not any(map(Path(name).is_relative_to, unreadable))}
        report.removed += index.remove(KIND, gone) if gone else 0
    return report


@dataclass(frozen=True, slots=True)
class _Known:
    size: int
    modified: int
    digest: bytes


def _known(index: Index, path: Path) -> dict[str, _Known]:
    """The files at or beneath a path that the index has."""
    rows = index.rows("SELECT name, size, modified, digest FROM source WHERE kind = ?", (KIND,))
    below = f"{str(path).rstrip('/')}/"
    return {
        name: _Known(*rest) for name, *rest in rows if name == str(path) or name.startswith(below)
    }


def _batches(
    index: Index,
    files: Sequence[Found],
    known: dict[str, _Known],
    read: Reader,
    report: Report,
) -> Iterator[tuple[int, list[Source]]]:
    """(files seen so far, sources to put in one transaction)."""
    batch: list[Source] = []
    most = min(BATCH_PASSAGES, index.encoder.batch if index.encoder else BATCH_PASSAGES)
    passages, began = 0, time.monotonic()
    for done, found in enumerate(files, 1):
        old = known.get(found.path)
        if old is not None and (old.size, old.modified) == (found.size, found.modified):
            report.unchanged += 1
        elif source := _source(index, found, old, read, report):
            batch.append(source)
            passages += len(source.passages)
        full = len(batch) >= BATCH_FILES or passages >= most
        if done == len(files) or full or time.monotonic() - began > BATCH_SECONDS:
            yield done, batch
            batch, passages, began = [], 0, time.monotonic()


def _source(
    index: Index, found: Found, old: _Known | None, read: Reader, report: Report
) -> Source | None:
    """What a new or changed file says now; None if it is unchanged or went away."""
    path = Path(found.path)
    modified = found.modified if time.time_ns() - found.modified > UNSETTLED else 0
    problem, digest = "", b""
    try:
        data = _bytes(found)
        digest = hashlib.sha256(data).digest()
        if old is not None and digest == old.digest:
            report.unchanged += 1
            index.touch(KIND, found.path, found.size, modified)
            return None
        content = read(path, data)
        code = path.suffix.lower() in CODE
        passages = tuple(passages_of(content.text, code=code, pages=content.pages))
        report.read += 1
        return Source(KIND, found.path, passages, found.size, modified, digest)
    except FileNotFoundError:
        return None
    except ExtraMissing as error:  # next time it may be there
        report.problems.append(f"{found.path}: {error}")
        return None
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except SearchError as error:
        problem = str(error)
    report.problems.append(f"{found.path}: {problem}.")
    return Source(KIND, found.path, (), found.size, modified, digest, problem)


def _bytes(found: Found) -> bytes:
    """The bytes of a regular file that is not too large, and no link."""
    if found.size > MAX_BYTES:
        raise SearchError(f"{found.size / 1e6:,.0f} MB; files are read up to {MAX_BYTES >> 20} MB")
    handle = os.open(found.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise SearchError("not a regular file any more")
        return file.read(MAX_BYTES)
