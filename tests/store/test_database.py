"""The store: commits, failures, other programs, damaged files."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from cabinos.store import database
from cabinos.store.database import Statement, Store
from cabinos.store.errors import (
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreFailed,
    StoreTooNew,
)
from tests.kernel.help import run

META = "INSERT INTO meta (key, value) VALUES (?, ?)"


def filled(path: Path, rows: int = 50) -> None:
    async def fill() -> None:
        store = Store.open(path)
        for number in range(rows):
            store.write(META, (f"k{number}", "v" * 200))
        await store.close()

    run(fill())


def test_what_is_committed_is_there(tmp_path: Path) -> None:
    filled(tmp_path / "a.db")
    with sqlite3.connect(tmp_path / "a.db") as db:
        assert db.execute("SELECT count(*) FROM meta").fetchone() == (50,)


def test_many_waiters_share_few_commits(tmp_path: Path) -> None:
    async def main() -> int:
        store = Store.open(tmp_path / "a.db")

        async def one(number: int) -> None:
            store.write(META, (str(number), ""))
            await store.commit()
            assert store.rows("SELECT 1 FROM meta WHERE key = ?", (str(number),))

        await asyncio.gather(*(one(number) for number in range(200)))
        await store.close()
        return store.commits

    assert run(main()) <= 3


def test_a_commit_waits_for_rows_that_are_on_their_way(tmp_path: Path) -> None:
    async def main() -> None:
        store = Store.open(tmp_path / "a.db")
        store.write(META, ("a", ""))
        store.kick()
        await asyncio.sleep(0)  # the flush has taken the row, nothing is staged
        await store.commit()
        assert store.rows("SELECT count(*) FROM meta") == [(1,)]
        await store.close()

    run(main())


def test_a_saved_row_is_written_as_it_is_at_the_commit(tmp_path: Path) -> None:
    class Cell:
        value = "old"

        def row(self) -> Statement:
            return "REPLACE INTO meta (key, value) VALUES ('cell', ?)", (self.value,)

    async def main() -> None:
        store, cell = Store.open(tmp_path / "a.db"), Cell()
        store.save(cell)
        cell.value = "new"
        await store.commit()
        assert store.rows("SELECT value FROM meta") == [("new",)]
        await store.close()

    run(main())


def test_a_cancelled_waiter_harms_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        store = Store.open(tmp_path / "a.db")
        store.write(META, ("a", ""))
        first = asyncio.create_task(store.commit())
        second = asyncio.create_task(store.commit())
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert store.rows("SELECT count(*) FROM meta") == [(1,)]
        await store.close()

    run(main())


def test_staged_rows_are_committed_although_nobody_waits(tmp_path: Path) -> None:
    async def main() -> None:
        store = Store.open(tmp_path / "a.db")
        store.write(META, ("a", ""))
        while not store.rows("SELECT 1 FROM meta"):
            await asyncio.sleep(database.LINGER)
        await store.close()

    run(main())


def test_close_twice_and_after_a_failure(tmp_path: Path) -> None:
    async def main() -> None:
        store = Store.open(tmp_path / "a.db")
        store.write("INSERT INTO nowhere VALUES (1)")
        with pytest.raises(StoreFailed, match="no such table"):
            await store.commit()
        with pytest.raises(StoreFailed):
            store.write(META, ("a", ""))
        await store.close()
        await store.close()

    run(main())


def test_after_close_there_is_an_error_and_no_hang(tmp_path: Path) -> None:
    async def main() -> None:
        store = Store.open(tmp_path / "a.db")
        await store.close()
        with pytest.raises(StoreError, match="closed"):
            store.write(META, ("a", ""))
        with pytest.raises(StoreError, match="closed"):
            await store.commit()
        with pytest.raises(StoreError, match="closed"):
            store.rows("SELECT 1")

    run(main())


@pytest.mark.parametrize("hostile", ["half \ud800 a pair", "nul \0 within", "\U0001f600" * 10])
def test_any_text_can_be_written(tmp_path: Path, hostile: str) -> None:
    async def main() -> None:
        store = Store.open(tmp_path / "a.db")
        store.write(META, ("a", hostile))
        store.write(META, ("b", "good"))
        await store.commit()
        rows = dict(store.rows("SELECT key, value FROM meta"))
        assert rows["b"] == "good"
        assert rows["a"] == hostile.encode("utf-8", "replace").decode()
        await store.close()

    run(main())


@pytest.mark.parametrize("bad", [1 << 70, object()])
def test_what_cannot_be_written_fails_the_commit_and_no_waiter_hangs(
    tmp_path: Path, bad: object
) -> None:
    async def main() -> None:
        store = Store.open(tmp_path / "a.db")
        store.write(META, ("a", bad))
        with pytest.raises(StoreFailed):
            await store.commit()
        await store.close()

    run(main())


def test_a_row_that_cannot_be_encoded_fails_the_commit(tmp_path: Path) -> None:
    class Broken:
        def row(self) -> Statement:
            raise ValueError("no JSON")

    async def main() -> None:
        store = Store.open(tmp_path / "a.db")
        store.save(Broken())
        with pytest.raises(StoreFailed, match="no JSON"):
            await store.commit()
        await store.close()

    run(main())


# ---- other programs ------------------------------------------------------------------------------


def test_a_second_kernel_is_told_who_has_it(tmp_path: Path) -> None:
    async def main() -> None:
        store = Store.open(tmp_path / "a.db")
        with pytest.raises(StoreBusy, match=f"process {os.getpid()}"):
            Store.open(tmp_path / "a.db")
        view = Store.open(tmp_path / "a.db", read_only=True)
        store.write(META, ("a", ""))
        await store.commit()
        assert view.rows("SELECT count(*) FROM meta") == [(1,)]
        with pytest.raises(StoreError, match="read-only"):
            view.write(META, ("b", ""))
        await view.close()
        await store.close()

    run(main())


HOLD = """
import asyncio, sys
from cabinos.store.database import Store
async def main():
    store = Store.open(sys.argv[1])
    for n in range(20):
        store.write("INSERT INTO meta (key, value) VALUES (?, '')", (f"held{n}",))
        await store.commit()
    print("held", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def test_a_killed_kernel_leaves_its_rows_and_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(StoreBusy, match=f"process {other.pid}"):
            Store.open(path)
        assert Path(f"{path}-wal").stat().st_size > 0
        other.send_signal(signal.SIGKILL)
        other.wait()
    store = Store.open(path)
    assert store.rows("SELECT count(*) FROM meta") == [(20,)]
    store.abandon()


def test_a_program_that_writes_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    async def main() -> None:
        store = Store.open(tmp_path / "a.db")
        other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        store.write(META, ("a", ""))
        waiting = asyncio.create_task(store.commit())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        other.execute("COMMIT")
        await waiting
        other.close()
        await store.close()

    run(main())


# ---- files that are no stores --------------------------------------------------------------------


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"Dear diary, this is a text file.\n" * 100, StoreCorrupt),
        (b"SQLite format 3\0" + b"\xff" * 5000, StoreError),
    ],
)
def test_a_file_of_something_else_is_refused_and_left_alone(
    tmp_path: Path, content: bytes, error: type[Exception], read_only: bool
) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(content)
    with pytest.raises(error, match="a.db"):
        Store.open(path, read_only=read_only)
    assert path.read_bytes() == content
    path.unlink()
    Store.open(path).abandon()  # the lock was given back


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "a.db").touch()
    store = Store.open(tmp_path / "a.db")
    assert store.rows("SELECT count(*) FROM process") == [(0,)]
    store.abandon()


def test_an_empty_file_has_nothing_to_view(tmp_path: Path) -> None:
    (tmp_path / "a.db").touch()
    with pytest.raises(StoreError, match="a.db"):
        Store.open(tmp_path / "a.db", read_only=True)


@pytest.mark.parametrize("read_only", [False, True])
def test_another_programs_database_is_refused(tmp_path: Path, read_only: bool) -> None:
    with sqlite3.connect(tmp_path / "a.db") as db:
        db.execute("CREATE TABLE bookmarks (url TEXT)")
    with pytest.raises(StoreCorrupt, match="not a Cabin store"):
        Store.open(tmp_path / "a.db", read_only=read_only)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_store_is_refused(tmp_path: Path, read_only: bool) -> None:
    filled(tmp_path / "a.db")
    with sqlite3.connect(tmp_path / "a.db") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreTooNew, match="99"):
        Store.open(tmp_path / "a.db", read_only=read_only)


def test_no_store_no_view(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store yet"):
        Store.open(tmp_path / "a.db", read_only=True)


def test_a_place_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be opened"):
        Store.open(tmp_path / "file" / "a.db")
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(StoreError, match="cannot be opened"):
        Store.open(tmp_path / "folder.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="Permission denied"):
            Store.open(tmp_path / "a.db")
    finally:
        tmp_path.chmod(0o700)


def test_migrations_run_once_and_all_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.db"
    filled(path)
    known, version = database.MIGRATIONS, database.VERSION + 1
    monkeypatch.setattr(database, "VERSION", version)
    wrong = (*known, "CREATE TABLE extra (x); SYNTAX ERROR;")
    monkeypatch.setattr(database, "MIGRATIONS", wrong)
    with pytest.raises(StoreError, match=f"version {version}"):
        Store.open(path)
    monkeypatch.setattr(database, "MIGRATIONS", (*known, "CREATE TABLE extra (x);"))
    for _ in range(2):
        store = Store.open(path)
        assert store.rows("SELECT count(*) FROM extra") == [(0,)]
        assert store.rows("SELECT count(*) FROM meta") == [(50,)]
        store.abandon()
    monkeypatch.undo()
    with pytest.raises(StoreTooNew):
        Store.open(path)


# ---- a disk that is full -------------------------------------------------------------------------

FULL = """
import asyncio, resource, signal, sys
from cabinos.store.database import Store
from cabinos.store.errors import StoreFailed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
async def main():
    store = Store.open(sys.argv[1])
    store.write("INSERT INTO meta (key, value) VALUES ('first', '')")
    await store.commit()
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    try:
        for n in range(1000):
            store.write("INSERT INTO meta (key, value) VALUES (?, ?)", (str(n), "x" * 5000))
            await store.commit()
            print(n, flush=True)
    except StoreFailed as error:
        print(error, flush=True)
    await store.close()
asyncio.run(main())
"""


def test_a_full_disk_stops_the_store_and_keeps_what_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    *numbers, message = done.stdout.splitlines()
    assert "make room" in message
    assert numbers
    store = Store.open(path)
    assert store.rows("SELECT count(*) FROM meta") == [(len(numbers) + 1,)]
    assert store.rows("PRAGMA integrity_check") == [("ok",)]
    store.abandon()


# ---- damage --------------------------------------------------------------------------------------


def looked_at(path: Path) -> str:
    """What a store's owner is told of a damaged file; "" if nothing was found."""
    store = None
    try:
        store = Store.open(path)
        store.rows("SELECT key, value FROM meta")
        store.rows("SELECT * FROM journal")
    except StoreError as error:
        return str(error)
    finally:
        if store is not None:
            store.abandon()
    return ""


def test_a_truncated_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    filled(path, 500)
    whole = path.read_bytes()
    told = []
    for size in (1, 50, 100, 4096, 5000, len(whole) // 2):
        path.write_bytes(whole[:size])
        told.append(looked_at(path))
    assert told[-1]
    assert all("a.db" in message for message in told if message)


def test_flipped_bytes_are_errors_with_a_name_or_no_errors(tmp_path: Path) -> None:
    path, dice = tmp_path / "a.db", random.Random(7)
    filled(path, 500)
    whole = path.read_bytes()
    told = set()
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(20):
            damaged[dice.randrange(len(whole))] = dice.randrange(256)
        path.write_bytes(damaged)
        told.add(looked_at(path))
    assert len(told) > 1
    assert all("a.db" in message for message in told if message)
