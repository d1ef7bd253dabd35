"""The store: one SQLite file in WAL mode, one writer, group commit.

Callers stage rows and go on; whoever needs them on disk awaits `commit()`. All that was staged by
then goes into one transaction, on a thread of its own, so that a thousand processes share an fsync
and one process alone pays for one. A commit that fails stops the store: nothing is taken that the
disk does not have, and the kernel above starts no effect whose intent is not committed.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from importlib.resources import files
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, Literal, Protocol, Self, TypeVar

from cabinos.store.encode import clean_text
from cabinos.store.errors import StoreBusy, StoreCorrupt, StoreError, StoreFailed, StoreTooNew

__all__ = ["Row", "Statement", "Store"]

APPLICATION_ID = 0x43414249  # "CABI", as file(1) may report it
# MIGRATIONS[n - 1] takes a file of version n to version n + 1.
MIGRATIONS: tuple[str, ...] = (
    # 2: named lists of things to do, and reminders: a thing to do with a time, of which a person
    # is told once.
    """
    ALTER TABLE note ADD COLUMN list TEXT NOT NULL DEFAULT 'todo';
    ALTER TABLE note ADD COLUMN due REAL;
    ALTER TABLE note ADD COLUMN told REAL;
    CREATE INDEX note_to_tell ON note (due) WHERE due IS NOT NULL AND told IS NULL;
    """,
    # 3: pages are found by 8 bytes of their hash and journal rows keep as many of their link, since
    # the whole head of the chain stands in `meta`; nobody asked for processes by root.
    """
    CREATE TABLE page_3 (
        id INTEGER PRIMARY KEY, hash BLOB NOT NULL, role TEXT NOT NULL, label TEXT NOT NULL,
        meta TEXT, tokens INTEGER NOT NULL, text TEXT NOT NULL
    ) STRICT;
    INSERT INTO page_3 SELECT * FROM page;
    DROP TABLE page;
    ALTER TABLE page_3 RENAME TO page;
    CREATE INDEX page_by_hash ON page (substr(hash, 1, 8));
    DROP INDEX process_by_root;
    INSERT INTO meta SELECT 'journal', json_array(seq, lower(hex(chain)))
        FROM journal ORDER BY seq DESC LIMIT 1;
    UPDATE journal SET chain = substr(chain, 1, 8);
    """,
    # 4: what a process carries for the reference monitor (JSON): readers and sources of what it has
    # read, grants that are not spent, whether it is frozen, the person's program.
    "ALTER TABLE process ADD COLUMN guard TEXT;",
    # 5: who may read a note beyond this machine (JSON); NULL: nobody knows who has seen it.
    "ALTER TABLE note ADD COLUMN readers TEXT;",
)
VERSION = 1 + len(MIGRATIONS)
LINGER = 0.005  # seconds that staged rows wait for company if nobody awaits their commit
BUSY_TIMEOUT = 5.0  # seconds to wait for another program that writes at this moment

DAMAGE = (sqlite3.DatabaseError, UnicodeDecodeError)  # the latter: of a message that quotes it

T = TypeVar("T")
Parameters = Sequence[Any] | Mapping[str, Any]
Statement = tuple[str, Sequence[Any]]
Batch = tuple[str, list[Sequence[Any]]]


class Row(Protocol):
    """Something kept as one row that is rewritten whole."""

    def row(self) -> Statement:
        """The statement that writes its present state."""


class Store:
    """The open file. Belongs to one event loop; `Store.open` outside of it is fine."""

    def __init__(self, path: Path, reader: sqlite3.Connection, lock: IO[str] | None) -> None:
        self.path = path
        self.read_only = lock is None
        self._reader = reader
        self._lock = lock
        self._rows: dict[int, Row] = {}  # id(row): what changed since the last commit
        self._leaving: dict[int, Row] = {}  # those of the commit that is made: not to be found yet
        self._statements: list[Statement] = []
        self._added: defaultdict[str, list[Sequence[Any]]] = defaultdict(list)  # by statement
        self._waiters: list[asyncio.Future[None]] = []  # for the next commit
        self._under_way: list[asyncio.Future[None]] | None = None  # those for the one that is made
        self._next: asyncio.Handle | None = None  # what will begin the next
        self._kicked = False  # it is to begin at once
        self._failure: StoreFailed | None = None
        self._thread = ThreadPoolExecutor(1, "cabin-store")
        self._writer: sqlite3.Connection | None = None
        self.commits = 0
        self.on_failure: Callable[[StoreFailed], object] = str  # called when nothing more is taken

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        read_only: bool = False,
        synchronous: Literal["full", "normal"] = "full",
    ) -> Self:
        """Opens or makes the file; `read_only` gives a view beside a running kernel.

        `synchronous="full"` survives a loss of power, "normal" the death of any program. Raises
        StoreBusy if another kernel has it, StoreCorrupt, StoreTooNew, or StoreError where the place
        cannot be used.
        """
        path = Path(path)
        if read_only:
            if not path.is_file():
                raise StoreError(f'{path}: there is no store yet. `cabin "…"` makes one.')
            with ExitStack() as undo:
                reader = _connect(path, "ro", synchronous)
                undo.callback(reader.close)
                if _version(reader, path) < VERSION:
                    raise StoreError(f"{path}: empty, or of an older Cabin, which a start mends.")
                undo.pop_all()
            return cls(path, reader, None)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = _take_lock(path)
        except OSError as error:
            raise StoreError(f"{path}: cannot be opened: {error.strerror}.") from error
        with ExitStack() as undo:
            undo.callback(lock.close)
            writer = _connect(path, "rwc", synchronous)
            undo.callback(writer.close)
            _bring_up_to_date(writer, path)
            store = cls(path, _connect(path, "ro", synchronous), lock)
            undo.pop_all()
        store._writer = writer
        return store

    # ---- staging ---------------------------------------------------------------------------------

    def add(self, sql: str, row: Sequence[Any]) -> None:
        """Stages a row for a table whose rows are only ever added: it goes in before all others.

        So those of one table go in together, which is cheaper than one by one.
        """
        self._added[sql].append(row)
        if self._next is None and self._under_way is None:
            self._arm()

    def write(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Stages a statement for the next commit. Raises StoreFailed after a commit has failed."""
        self._statements.append((sql, parameters))
        if self._next is None and self._under_way is None:
            self._arm()

    def save(self, row: Row) -> None:
        """Stages the row as it will be when the next commit is made."""
        self._rows[id(row)] = row
        if self._next is None and self._under_way is None:
            self._arm()

    async def commit(self) -> None:
        """Returns when everything staged before is on disk; raises StoreFailed if it cannot be."""
        self._require_writable()
        if self._staged:
            self.kick()
            waiters = self._waiters
        elif self._under_way is not None:  # what was staged is on its way
            waiters = self._under_way
        else:
            return
        waiter = asyncio.get_running_loop().create_future()
        waiters.append(waiter)
        await waiter

    def kick(self) -> None:
        """Begins a commit now, for nobody to wait for."""
        if self._staged and self._under_way is None and not self._kicked:
            if self._next is not None:
                self._next.cancel()
            self._next = asyncio.get_running_loop().call_soon(self._begin)
            self._kicked = True  # whoever is ready to run may stage something before

    @property
    def _staged(self) -> bool:
        return bool(self._rows or self._statements or self._added)

    def _arm(self) -> None:
        self._require_writable()
        self._next = asyncio.get_running_loop().call_later(LINGER, self._begin)

    def _begin(self) -> None:
        """Hands all that is staged to the store's thread, as one transaction."""
        self._next, self._kicked = None, False
        if self._failure is not None:
            return
        added, self._added = self._added, defaultdict(list)
        self._leaving, self._rows = self._rows, {}
        statements, self._statements = self._statements, []
        self._under_way, self._waiters = self._waiters, []
        try:
            statements += [row.row() for row in self._leaving.values()]
        except Exception as error:  # noqa: BLE001 - whatever it is, waiters must hear of it
            self._fail(error)
            return
        batches = [*added.items(), *_batches(statements)]
        done = self._thread.submit(self._transact, batches)
        done.add_done_callback(partial(self._tell, asyncio.get_running_loop()))

    def _tell(self, loop: asyncio.AbstractEventLoop, done: Future[None]) -> None:
        """On the store's thread."""
        with suppress(RuntimeError):  # the loop is closed, and nobody there to be told
            loop.call_soon_threadsafe(self._ended, done.exception())

    def _ended(self, error: BaseException | None) -> None:
        """A transaction has ended: whoever waits for it is told, and the next one begins."""
        if error is not None:
            self._fail(error)
            return
        waiters, self._under_way = self._under_way or [], None
        self._leaving = {}
        self.commits += 1
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self._staged:
            self._begin()

    def _transact(self, batches: Sequence[Batch]) -> None:
        try:
            self._apply(batches)
        except UnicodeEncodeError:  # half a surrogate pair, which UTF-8 cannot hold
            self._apply([(sql, [list(map(clean_text, r)) for r in rows]) for sql, rows in batches])

    def _apply(self, batches: Sequence[Batch]) -> None:
        writer = self._writer
        assert writer is not None
        writer.execute("BEGIN IMMEDIATE")
        try:
            for sql, rows in batches:
                writer.executemany(sql, rows)
            writer.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                writer.execute("ROLLBACK")
            raise

    def _fail(self, error: BaseException) -> None:
        self._failure = StoreFailed(
            f"{self.path}: a commit failed ({error}), so the kernel stops. The file holds the "
            f"state of the last good commit: make room or mend the disk, then start again."
        )
        for waiter in [*(self._under_way or ()), *self._waiters]:
            if not waiter.done():
                waiter.set_exception(self._failure)
        self._under_way, self._waiters = None, []
        self.on_failure(self._failure)

    def _require_writable(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self.read_only:
            raise StoreError(f"{self.path}: opened read-only.")

    @property
    def failure(self) -> StoreFailed | None:
        """Why nothing can be staged any more, if a commit failed."""
        return self._failure

    # ---- reading ---------------------------------------------------------------------------------

    def rows(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """A quick query of what is committed, on the caller's thread."""
        try:
            return self._reader.execute(sql, parameters).fetchall()
        except (sqlite3.OperationalError, sqlite3.ProgrammingError) as error:
            raise StoreError(f"{self.path}: {error}.") from error
        except DAMAGE as error:
            raise StoreCorrupt(f"{self.path}: damaged: {error}. {_MENDING}") from error

    async def read(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """A query that sees everything staged before, on the store's own thread."""
        return await self.run(lambda db: db.execute(sql, parameters).fetchall())

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` on the writing connection, outside a transaction, after what is staged."""
        await self.commit()
        assert self._writer is not None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, work, self._writer)

    def data_version(self) -> int:
        """Changes whenever another connection, of any program, has committed."""
        return int(self._reader.execute("PRAGMA data_version").fetchone()[0])

    # ---- the end ---------------------------------------------------------------------------------

    async def close(self) -> None:
        """Commits what is staged and closes the file; idempotent."""
        try:
            if not self.read_only and self._failure is None and self._writer is not None:
                await self.commit()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Closes the file without a commit, as a crash would."""
        if self._failure is None:
            self._failure = StoreFailed(f"{self.path}: the store is closed.")
            self.on_failure(self._failure)
        if self._next is not None:
            self._next.cancel()
        self._thread.shutdown(wait=True)
        self._reader.close()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _batches(statements: Iterable[Statement]) -> Iterator[Batch]:
    """Neighbours with the same text, to be executed in one call."""
    for sql, group in groupby(statements, key=itemgetter(0)):
        yield sql, [parameters for _, parameters in group]


_MENDING = "Restore a copy, or move it away and Cabin starts with an empty one."


def _take_lock(path: Path) -> IO[str]:
    """An exclusive lock for as long as the returned file is open; it names its holder."""
    lock = open(f"{path}.lock", "a+", encoding="utf-8")  # noqa: PTH123, SIM115
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "another program"
        lock.close()
        raise StoreBusy(
            f"{path}: in use by {holder}. Use that one, or set CABIN_HOME to another folder."
        ) from None
    except BaseException:
        lock.close()
        raise
    lock.truncate(0)
    lock.write(f"process {os.getpid()}")
    lock.flush()
    return lock


def _connect(path: Path, mode: str, synchronous: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    try:
        connection = sqlite3.connect(
            uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT, check_same_thread=False
        )
        if mode != "ro":
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError as error:
        raise StoreError(f"{path}: cannot be opened: {error}.") from error
    except DAMAGE as error:
        raise StoreCorrupt(f"{path}: not a Cabin store, or damaged: {error}. {_MENDING}") from error
    return connection


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The version of a Cabin store, 0 if it is empty. Raises StoreCorrupt or StoreTooNew."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    identity = connection.execute("PRAGMA application_id").fetchone()[0]
    if tables and identity != APPLICATION_ID:
        raise StoreCorrupt(f"{path}: an SQLite file, but not a Cabin store. {_MENDING}")
    if version > VERSION:
        raise StoreTooNew(
            f"{path}: written by a newer Cabin (store version {version}, this one reads up to "
            f"{VERSION}). Update cabinos."
        )
    return version


def _bring_up_to_date(writer: sqlite3.Connection, path: Path) -> None:
    """Makes the tables in an empty file; takes an older one to today's version, all or none."""
    version = _version(writer, path)
    if version == VERSION:
        return
    schema = files("cabinos.store").joinpath("schema.sql").read_text(encoding="utf-8")
    steps = MIGRATIONS[version - 1 :] if version else (schema, *MIGRATIONS)
    script = "\n".join(steps)
    try:
        writer.executescript(
            f"BEGIN IMMEDIATE;\n{script}\nPRAGMA application_id = {APPLICATION_ID};\n"
            f"PRAGMA user_version = {VERSION};\nCOMMIT;"
        )
    except sqlite3.Error as error:
        with suppress(sqlite3.Error):
            writer.execute("ROLLBACK")
        raise StoreError(f"{path}: cannot be brought to version {VERSION}: {error}.") from error
