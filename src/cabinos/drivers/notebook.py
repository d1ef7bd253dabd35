"""Notes as a person keeps them, from outside of the kernel: edited, and forgotten for good.

SQLite lets another program write beside a running kernel, which reads notes anew at each call. One
transaction changes a note and its words in the full-text index.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from cabinos.store.encode import clean_text
from cabinos.store.errors import StoreError

__all__ = ["edit", "forget"]

TIMEOUT = 10.0  # seconds to wait for a kernel that writes
COLUMNS = "id, kind, list, created, done, due, told"


def edit(path: Path, number: int, text: str) -> None:
    """Gives a note other words, which are the person's own. Raises StoreError if there is none."""
    with _writing(path) as db:
        row = db.execute(f"SELECT {COLUMNS} FROM note WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise StoreError(f"there is no note {number}; `cabin mem notes` lists them.")
        db.execute("DELETE FROM note WHERE id = ?", (number,))  # the triggers keep the index true
        db.execute(
            f"INSERT INTO note ({COLUMNS}, text, label, pid) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'trusted', 0)",
            (*row, clean_text(text)),
        )


def forget(path: Path, numbers: Sequence[int]) -> None:
    """Deletes notes, all or none, and every trace of them in the file that SQLite lets go of.

    Raises StoreError if one of them is not there. While a kernel runs, the file's log may keep what
    was written before until that kernel ends.
    """
    with _writing(path) as db:
        for number in numbers:
            if not db.execute("DELETE FROM note WHERE id = ?", (number,)).rowcount:
                raise StoreError(f"there is no note {number}; `cabin mem notes` lists them.")
    with closing(_connect(path)) as db:
        db.execute("INSERT INTO note_index (note_index) VALUES ('optimize')")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def _writing(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(_connect(path)) as db:
        try:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}.") from error


def _connect(path: Path) -> sqlite3.Connection:
    try:
        uri = f"{path.absolute().as_uri()}?mode=rw"
        db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=TIMEOUT)
        db.execute("PRAGMA secure_delete = on")  # freed pages are overwritten
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be opened: {error}.") from error
    return db
