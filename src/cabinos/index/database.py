"""The index's file: opened, brought to today's version, written in short transactions.

Several programs may write at once: each waits for the other's transaction, which holds what one
batch of files says. What was committed survives the death of any program.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path

from cabinos.index.errors import SearchError

__all__ = ["connect", "default_path", "in_transaction"]

APPLICATION_ID = 0x43414249 + 1  # the store's, and one
VERSION = 1  # of schema.sql, and of how files become passages
BUSY_TIMEOUT = 60.0  # seconds to wait for another program that writes
MEMORY = ":memory:"


def default_path() -> Path:
    """Where the user's index is."""
    from cabinos.store.home import cabin_home

    return cabin_home() / "index.db"


def connect(path: Path | None) -> sqlite3.Connection:
    """The file at `path` (None: one in memory), made or brought to today's version.

    Raises SearchError if it cannot be used: of a newer Cabin, damaged, or no such place.
    """
    connection: sqlite3.Connection | None = None
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            path or MEMORY, isolation_level=None, timeout=BUSY_TIMEOUT, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = normal")
        connection.execute("PRAGMA secure_delete = on")  # what is forgotten leaves no trace
        _bring_up_to_date(connection, path)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, OSError):
            raise SearchError(f"{path}: cannot be opened: {error.strerror}.") from error
        if isinstance(error, sqlite3.Error):
            raise explained(error, path) from error
        raise
    return connection


def explained(error: sqlite3.Error, path: Path | None) -> SearchError:
    """What SQLite says, and what to do."""
    if isinstance(error, sqlite3.OperationalError):
        return SearchError(f"{path or 'index'}: {error}.")
    return SearchError(
        f"{path}: the index is damaged ({error}). Delete the file and index again: nothing is lost."
    )


@contextmanager
def in_transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is written in the block, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _bring_up_to_date(connection: sqlite3.Connection, path: Path | None) -> None:
    if _is_current(connection, path):
        return
    with in_transaction(connection):
        if _is_current(connection, path):  # another program was faster
            return
        roots: list[tuple[str]] = []
        tables = {
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        }
        if "root" in tables:
            roots = connection.execute("SELECT path FROM root").fetchall()
        own = [name for name in tables if not name.startswith(("sqlite_", "passage_index_"))]
        for name in own:
            connection.execute(f'DROP TABLE "{name}"')
        schema = files("cabinos.index").joinpath("schema.sql").read_text(encoding="utf-8")
        for statement in _statements(schema):
            connection.execute(statement)
        connection.executemany("INSERT INTO root VALUES (?)", roots)
        with suppress(sqlite3.Error):  # before SQLite 3.42 a deleted word stays until a merge
            connection.execute(
                "INSERT INTO passage_index (passage_index, rank) VALUES ('secure-delete', 1)"
            )
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")


def _is_current(connection: sqlite3.Connection, path: Path | None) -> bool:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    identity = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if tables and identity != APPLICATION_ID:
        raise SearchError(f"{path}: an SQLite file, but not an index of Cabin. Move it away.")
    if version > VERSION:
        raise SearchError(
            f"{path}: made by a newer Cabin (index version {version}, this one knows {VERSION}). "
            f"Update cabinos."
        )
    return bool(version == VERSION)


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one, since executescript() would commit."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
