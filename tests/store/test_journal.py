"""The journal's chain: what breaks it, and what must not."""

import sqlite3
from importlib.resources import files
from pathlib import Path

import pytest

from cabinos.store import database
from cabinos.store import journal as journal_module
from cabinos.store import pages as pages_module
from cabinos.store.database import Store
from cabinos.store.errors import StoreCorrupt
from cabinos.store.journal import BATCH, Journal
from cabinos.store.pages import Pages
from tests.kernel.help import run


def written(path: Path, rows: int) -> None:
    async def main() -> None:
        store = Store.open(path, synchronous="normal")
        journal = Journal(store)
        for number in range(rows):
            journal.append(number % 3, "think", n=number, text='"quoted" \n é \0')
        await store.close()

    run(main())


def verify(path: Path) -> int:
    store = Store.open(path)
    try:
        return Journal(store).verify()
    finally:
        store.abandon()


def test_entries_come_back_in_order_and_by_process(tmp_path: Path) -> None:
    rows = 2 * BATCH + 1
    written(tmp_path / "a.db", rows)
    store = Store.open(tmp_path / "a.db")
    journal = Journal(store)
    assert [entry.seq for entry in journal.entries()] == list(range(1, rows + 1))
    assert [entry.body["n"] for entry in journal.entries(1)] == list(range(1, rows, 3))
    assert next(journal.entries(after=7)).seq == 8
    assert next(journal.entries()).body["text"] == '"quoted" \n é \0'
    assert journal.verify() == rows
    store.abandon()


def test_the_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    for _ in range(3):
        written(tmp_path / "a.db", 5)
    assert verify(tmp_path / "a.db") == 15


@pytest.mark.parametrize(
    ("tampering", "row"),
    [
        ("UPDATE journal SET body = '{}' WHERE seq = 7", 7),
        ("UPDATE journal SET pid = 99 WHERE seq = 7", 7),
        ("UPDATE journal SET kind = 'ask' WHERE seq = 7", 7),
        ("UPDATE journal SET time = time + 1 WHERE seq = 7", 7),
        ("UPDATE journal SET chain = zeroblob(8) WHERE seq = 7", 7),
        ("UPDATE meta SET value = json_array(20, hex(zeroblob(32))) WHERE key = 'journal'", 20),
        ("DELETE FROM journal WHERE seq = 7", 7),
        ("DELETE FROM journal WHERE seq = 1", 1),
        ("UPDATE journal SET seq = seq + 100 WHERE seq > 7", 8),
        (
            """UPDATE journal SET seq = -7 WHERE seq = 7; UPDATE journal SET seq = 7 WHERE seq = 8;
            UPDATE journal SET seq = 8 WHERE seq = -7""",
            7,
        ),
    ],
)
def test_tampering_is_found_where_it_is(tmp_path: Path, tampering: str, row: int) -> None:
    written(tmp_path / "a.db", 20)
    with sqlite3.connect(tmp_path / "a.db") as db:
        db.executescript(tampering)
    with pytest.raises(StoreCorrupt, match=f"row {row}:"):
        verify(tmp_path / "a.db")


@pytest.mark.parametrize("kind", ["half \ud800", "x" * 100_000, "é\0"])
def test_any_kind_can_be_appended(tmp_path: Path, kind: str) -> None:
    async def main() -> None:
        store = Store.open(tmp_path / "a.db", synchronous="normal")
        journal = Journal(store)
        journal.append(1, kind, text="\udfff")
        journal.append(1, "think")
        await store.commit()
        assert journal.verify() == 2
        await store.close()

    run(main())


def test_what_cannot_be_appended_leaves_no_gap(tmp_path: Path) -> None:
    async def main() -> None:
        store = Store.open(tmp_path / "a.db", synchronous="normal")
        journal = Journal(store)
        with pytest.raises((TypeError, ValueError)):
            journal.append(1, "think", value=object())
        journal.append(1, "think")
        await store.commit()
        assert journal.verify() == 1
        await store.close()

    run(main())


@pytest.mark.parametrize("kept", [0, 1, 19])
def test_a_tail_that_was_cut_off_is_missed_even_after_more_was_written(
    tmp_path: Path, kept: int
) -> None:
    written(tmp_path / "a.db", 20)
    with sqlite3.connect(tmp_path / "a.db") as db:
        db.execute("DELETE FROM journal WHERE seq > ?", (kept,))
    with pytest.raises(StoreCorrupt, match=f"had 20 rows, and those after row {kept} are missing"):
        verify(tmp_path / "a.db")
    written(tmp_path / "a.db", 1)
    with pytest.raises(StoreCorrupt, match=f"row {kept + 1}:"):
        verify(tmp_path / "a.db")


def test_a_file_of_the_first_version_keeps_its_journal_and_pages(tmp_path: Path) -> None:
    path, chain = tmp_path / "a.db", journal_module.GENESIS
    schema = files("cabinos.store").joinpath("schema.sql").read_text()
    with sqlite3.connect(path) as db:
        db.executescript(schema)
        db.execute(f"PRAGMA application_id = {database.APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
        for seq in range(1, 4):
            row = (seq, 0.5, 1, "think", "{}")
            chain = journal_module._link(chain, *row)
            db.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?)", (*row, chain))
        address = pages_module._address("user", "trusted", None, "hello there")
        page = (1, address, "user", "trusted", None, 3, "hello there")
        db.execute("INSERT INTO page VALUES (?, ?, ?, ?, ?, ?, ?)", page)

    async def main() -> None:
        store = Store.open(path)
        journal, pages = Journal(store), Pages(store)
        assert pages.put("user", "hello there", tokens=3).id == 1
        assert [hit.page.id for hit in await pages.search("there")] == [1]
        assert journal.append(1, "think") == 4
        await store.commit()
        assert journal.verify() == 4
        assert pages.verify() == 1
        await store.close()

    run(main())
