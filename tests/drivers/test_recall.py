"""Recall by meaning: pages, notes, and granted folders that are indexed."""

import asyncio
import os
from pathlib import Path

import pytest

from cabinos.drivers.contents import read_content
from cabinos.drivers.notes import driver as notes_driver
from cabinos.drivers.passages import driver as passages_driver
from cabinos.drivers.recall import Recall
from cabinos.drivers.recall import driver as recall_driver
from cabinos.index import open_index
from cabinos.index.update import add_roots, update
from cabinos.kernel.capability import Capabilities, files
from cabinos.kernel.driver import Context
from cabinos.kernel.kernel import Kernel
from cabinos.store.database import Store
from tests.drivers.support import acall, call, context, named

PASSAGES = named(passages_driver({}), "files_passages")


def test_a_paraphrase_finds_a_note_with_its_label(tmp_path: Path) -> None:
    async def main() -> None:
        store = Store.open(tmp_path / "s.db")
        device = notes_driver({})
        remember, recall = named(device, "notes_remember"), named(device, "notes_recall")
        trusted = Context(1, "k", Capabilities(), store, "trusted")
        untrusted = Context(2, "k", Capabilities(), store, "untrusted")
        await acall(remember, trusted, text="Buy a birthday present for Ana.")
        await acall(remember, untrusted, text="The physician's office opens at nine.")
        await acall(remember, trusted, text="The spare key lies below the flower pot.")
        found = await acall(recall, trusted, query="when can I see the doctor")
        assert found.value.startswith("2 (")
        assert found.label == "untrusted"
        nothing = await acall(recall, trusted, query="quantum chromodynamics")
        assert nothing.value == "Nothing like that was remembered."
        await acall(named(device, "notes_forget"), trusted, thing="2")
        assert "physician" not in (await acall(recall, trusted, query="doctor")).value
        await store.close()

    asyncio.run(main())


def test_recall_keeps_up_with_texts_that_change() -> None:
    async def main() -> None:
        recall = Recall(exact=True)
        texts = {1: "The rent is 900 euros.", 2: "Dogs are not allowed."}
        assert (await recall.rank("rent", texts))[0] == 1
        texts[2] = "The rent rises."
        del texts[1]
        assert await recall.rank("rent", texts) == [2]
        assert await recall.rank("rent", {}) == []
        recall.close()

    asyncio.run(main())


def test_the_kernels_recall_finds_a_page_by_its_meaning(tmp_path: Path) -> None:
    async def main() -> None:
        async with Kernel.open(tmp_path / "k.db", drivers=[recall_driver({})]) as k:
            texts = {1: "My physician prescribed new pills.", 2: "The car needs petrol."}
            assert k.memory.rank is not None
            assert (await k.memory.rank("the doctor's medicine", texts))[0] == 1
        assert k.memory.rank is None

    asyncio.run(main())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CABIN_HOME", str(tmp_path / "home"))
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "lease.md").write_text("# Lease\n\nThe rent is 900 euros.\n\nNo dogs.\n")
    (folder / "other.txt").write_text("Our physician opens at nine.\n")
    for path in folder.iterdir():
        os.utime(path, (1_600_000_000, 1_600_000_000))
    with open_index() as index:
        update(index, add_roots(index, [folder]), read_content)
    return folder


def ask(folder: Path, query: str) -> list[str]:
    granted = context(Capabilities(files=(files(folder, name="home"),)))
    return str(call(PASSAGES, granted, query=query)).splitlines()


def test_an_indexed_folder_is_searched_by_meaning(folder: Path) -> None:
    assert ask(folder, "how much is the rent")[0] == "home/lease.md:3: The rent is 900 euros."
    assert ask(folder, "are dogs allowed")[0] == "home/lease.md:5: No dogs."
    assert ask(folder, "when can I see a doctor")[0].startswith("home/other.txt:1: Our physician")


def test_an_index_that_is_out_of_date_is_not_used(folder: Path) -> None:
    (folder / "new.txt").write_text("The deposit is 1800 euros.\n")
    assert ask(folder, "what is the deposit") == ["home/new.txt:1: The deposit is 1800 euros."]


def test_what_lies_outside_of_the_grant_is_not_told(folder: Path, tmp_path: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    with open_index() as index:
        update(index, [folder], read_content)
    assert all("900" not in line for line in ask(inner, "how much is the rent"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert "No document" in ask(elsewhere, "how much is the rent")[0]
