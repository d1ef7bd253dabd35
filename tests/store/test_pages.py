"""Pages: each text once, byte for byte, found by words."""

import asyncio
import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cabinos.store import pages as pages_module
from cabinos.store.database import Store
from cabinos.store.errors import StoreError
from cabinos.store.pages import Pages
from tests.kernel.help import run

TEXTS = st.text(st.characters(codec="utf-8"), max_size=200)


def opened(tmp_path: Path) -> tuple[Store, Pages]:
    store = Store.open(tmp_path / "a.db", synchronous="normal")
    return store, Pages(store)


@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from(["user", "tool"]), TEXTS), max_size=6), max_size=6
    ),
    cache=st.sampled_from([0, 1000, 1 << 20]),
)
def test_every_page_is_kept_once_and_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[str, str]]], cache: int
) -> None:
    async def main(place: Path) -> None:
        store, pages = opened(place)
        ids: dict[tuple[str, str], int] = {}
        for batch in batches:
            for role, text in batch:
                page = pages.put(role, text, tokens=1)
                assert ids.setdefault((role, text), page.id) == page.id
            if batch:
                await store.commit()
            for (role, text), number in ids.items():
                page = pages.get(number)
                assert (page.role, page.text) == (role, text)
        await store.commit()
        rows = store.rows("SELECT role, text, id FROM page")
        assert {(role, text): number for role, text, number in rows} == ids
        await store.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages_module, "CACHE_BYTES", cache)
        run(main(tmp_path_factory.mktemp("pages")))


def test_a_page_is_read_while_its_commit_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages_module, "CACHE_BYTES", 0)

    async def main() -> None:
        store, pages = opened(tmp_path)
        made = [pages.put("user", f"text {number}", tokens=1) for number in range(5)]
        store.kick()
        for step in range(50):
            made.append(pages.put("user", f"later {step}", tokens=1))
            assert all(pages.get(page.id) == page for page in made)
            assert pages.put("user", "text 3", tokens=1).id == made[3].id
            await asyncio.sleep(0)
        await store.close()

    run(main())


def test_role_label_and_meta_make_other_pages(tmp_path: Path) -> None:
    store, pages = opened(tmp_path)

    async def main() -> None:
        made = [
            pages.put("user", "x", tokens=1),
            pages.put("tool", "x", tokens=1),
            pages.put("user", "x", tokens=1, label="untrusted"),
            pages.put("user", "x", tokens=1, meta={"call": "1"}),
        ]
        assert len({page.id for page in made}) == len({page.handle for page in made}) == 4
        await store.close()

    run(main())


def test_a_missing_page_is_a_clear_error(tmp_path: Path) -> None:
    store, pages = opened(tmp_path)
    with pytest.raises(StoreError, match="page 7 is missing"):
        pages.get(7)
    store.abandon()


def test_megabytes_stay_byte_identical(tmp_path: Path) -> None:
    text = "".join(chr(33 + number % 90) for number in range(3_000_000))

    async def main() -> None:
        store, pages = opened(tmp_path)
        number = pages.put("tool", text, tokens=1).id
        await store.close()
        store, pages = opened(tmp_path)
        kept = pages.get(number).text
        assert hashlib.sha256(kept.encode()).digest() == hashlib.sha256(text.encode()).digest()
        await store.close()

    run(main())


def test_search_finds_by_stems_and_only_among_the_given(tmp_path: Path) -> None:
    async def main() -> None:
        store, pages = opened(tmp_path)
        first = pages.put("user", "The engines were running all night.", tokens=1)
        second = pages.put("user", "An engine runs.", tokens=1)
        other = pages.put("user", "Nothing of the kind.", tokens=1)
        assert {hit.page.id for hit in await pages.search("engine run")} == {first.id, second.id}
        assert [hit.page.id for hit in await pages.search("engine", {first.id, other.id})] == [
            first.id
        ]
        late = pages.put("user", "engine again", tokens=1)
        assert late.id in {hit.page.id for hit in await pages.search("engine")}
        assert await pages.search("") == await pages.search("…!") == []
        assert len(await pages.search("engine", limit=1)) == 1
        await store.close()

    run(main())


@pytest.mark.parametrize(
    "query",
    [
        '"',
        'engine" OR text:*',
        "NEAR(a b) AND NOT ^c",
        "a_b 中文 ªº ٣",
        "half \ud800 pair",
        "nul \0 byte",
        " ".join(f"word{number}" for number in range(20_000)),
    ],
    ids=["quote", "column", "operators", "letters", "surrogate", "nul", "long"],
)
def test_no_query_is_an_error(tmp_path: Path, query: str) -> None:
    async def main() -> None:
        store, pages = opened(tmp_path)
        pages.put("user", "engine", tokens=1)
        await pages.search(query)
        await store.close()

    run(main())
