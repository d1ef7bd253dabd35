"""The index: what was put in is found, by words and by meaning, and what was taken out is gone."""

import multiprocessing
import os
import signal
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cabinos.index import Index, Passage, SearchError, Source, in_memory, open_index, pack, search
from cabinos.index.columns import Floats
from cabinos.index.database import VERSION
from cabinos.index.fusion import best, fuse
from cabinos.index.words import match, words_of

TEXTS = {
    "lease": "The rent is 900 euros a month.",
    "pets": "Dogs and cats are not allowed in the flat.",
    "wifi": "The password of the router is hunter2.",
    "doctor": "The physician's practice opens at nine.",
}


class Letters:
    """An encoder for tests: how often each letter occurs."""

    name = "letters"
    width = 26
    batch = 3
    near = 0.1

    def encode(self, texts: Sequence[str]) -> Floats:
        rows = np.array(
            [[text.lower().count(chr(97 + at)) for at in range(26)] for text in texts], np.float32
        )
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
        return rows


def put(index: Index, texts: dict[str, str], kind: str = "note") -> None:
    index.put(Source(kind, name, (Passage(text),)) for name, text in texts.items())


def names(index: Index, query: str, **options: object) -> list[str]:
    return [hit.name for hit in index.search(query, **options)]  # type: ignore[arg-type]


def test_words_are_found_by_their_stems() -> None:
    index = Index(None, None)
    put(index, TEXTS)
    (hit,) = index.search("is a dog allowed?", explain=True)
    assert (hit.name, hit.words) == ("pets", ("dogs", "allowed"))
    assert (hit.score, hit.fused.lexical_rank, hit.fused.dense_rank) == (1.0, 1, 0)


def test_a_paraphrase_is_found_by_its_meaning() -> None:
    index = in_memory()
    put(index, TEXTS)
    (first, *_) = index.search("medical appointment with my doctor")
    assert first.name == "doctor"
    assert first.fused.dense_rank == 1


def test_nothing_in_common_is_not_found() -> None:
    index = in_memory()
    put(index, TEXTS)
    assert names(index, "") == names(index, "?!") == []
    assert names(Index(None, None), "rent") == []


@pytest.mark.parametrize(
    "query", ['"', "a OR b*", "NEAR(x y)", "-x", "col:umn", "\0", "a\udcff b", "x" * 10**6]
)
def test_hostile_queries_are_only_words(query: str) -> None:
    index = in_memory()
    put(index, TEXTS)
    index.search(query, explain=True)


def test_words_that_are_nearly_everywhere_are_left_out_of_a_large_index(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cabinos.index.postings.LARGE", 30)
    index = Index(None, None)
    put(index, {f"{n}": f"common word{n}" for n in range(40)})
    assert names(index, "common word7") == ["7"]
    assert len(names(index, "common", limit=99)) == 40
    assert len(names(index, "common commons", limit=99)) == 40


def test_filters() -> None:
    index = Index(None, Letters())
    put(index, TEXTS)
    put(index, {"/a/b.txt": "rent", "/a/c/d.txt": "rent", "/ab.txt": "rent"}, "file")
    assert set(names(index, "rent", kinds=["note"])) <= TEXTS.keys()
    under = names(index, "rent", under=[Path("/a")])
    assert sorted(under) == ["/a/b.txt", "/a/c/d.txt"]
    assert names(index, "rent", under=[Path("/ab.txt")]) == ["/ab.txt"]
    assert names(index, "rent", names=["/ab.txt", "gone"]) == ["/ab.txt"]


def test_replaced_and_removed() -> None:
    index = Index(None, Letters())
    put(index, TEXTS)
    index.search("rent")  # the vectors are in memory now
    put(index, {"lease": "zzz"})
    assert "lease" not in names(index, "euros", limit=1)
    assert names(index, "zzz", limit=1) == ["lease"]
    assert index.remove("note", ["lease", "unknown"]) == 1
    assert "lease" not in names(index, "zzz", limit=99)
    index.sync("note", {"pets": TEXTS["pets"], "new": "qqq"})
    assert {name for (name,) in index.rows("SELECT name FROM source")} == {"pets", "new"}


def test_the_vectors_in_memory_follow_other_programs(tmp_path: Path) -> None:
    with Index(tmp_path / "i.db", Letters()) as one, Index(tmp_path / "i.db", Letters()) as two:
        put(one, {"a": "aaaa"})
        assert names(two, "aa") == ["a"]
        put(one, {"b": "aaab"})
        assert names(two, "aab", limit=1) == ["b"]
        one.remove("note", ["a"])
        assert names(two, "aa") == ["b"]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["xyz", "xxy", "zzy", ""]))))
@example([("a", "xyz"), ("b", "xxy"), ("a", "zzy")])  # two that are equally good
def test_incremental_is_the_same_as_anew(steps: list[tuple[str, str]]) -> None:
    index, state = Index(None, Letters()), dict[str, str]()
    for name, text in steps:
        if text:
            put(index, {name: text})
            state[name] = text
        else:
            index.remove("note", [name])
            state.pop(name, None)
        index.search("x")
    fresh = Index(None, Letters())
    put(fresh, state)
    for query in ("xyz", "zz", "yx"):
        ours = [(hit.name, round(hit.score, 5)) for hit in index.search(query, 50)]
        theirs = [(hit.name, round(hit.score, 5)) for hit in fresh.search(query, 50)]
        assert sorted(ours) == sorted(theirs)


# ---- the file ------------------------------------------------------------------------------------


def test_an_older_version_is_emptied_but_its_roots_stay(tmp_path: Path) -> None:
    path = tmp_path / "i.db"
    with Index(path, Letters()) as index:
        put(index, TEXTS)
        with index.writing() as db:
            db.execute("INSERT INTO root VALUES ('/somewhere')")
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 0")
    db.execute("ALTER TABLE passage ADD COLUMN odd TEXT")
    db.close()
    with Index(path, Letters()) as index:
        assert index.rows("SELECT path FROM root") == [("/somewhere",)]
        assert index.rows("SELECT count(*) FROM passage") == [(0,)]
        put(index, TEXTS)
        assert names(index, "rent", limit=1) == ["lease"]


def test_files_that_are_no_index(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, and long enough to be looked at" * 30)
    with pytest.raises(SearchError, match="damaged"):
        Index(tmp_path / "text", None)
    db = sqlite3.connect(tmp_path / "other")
    db.execute("CREATE TABLE x (y)")
    db.commit()
    db.close()
    with pytest.raises(SearchError, match="not an index of Cabin"):
        Index(tmp_path / "other", None)
    with Index(tmp_path / "new", None) as index, index.writing() as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(SearchError, match="newer Cabin"):
        Index(tmp_path / "new", None)
    with pytest.raises(SearchError):
        Index(tmp_path / "text" / "below", None)


def test_another_encoder_makes_all_vectors_anew(tmp_path: Path) -> None:
    class Others(Letters):
        name = "others"

    with Index(tmp_path / "i.db", Letters()) as index:
        put(index, TEXTS)
    with Index(tmp_path / "i.db", Others()) as index:
        assert index.search("rent")[0].fused.dense_rank == 0  # of the other one, not to be mixed
        index.take_encoder()
        assert list(index.encode_missing()) == [4, 1]
        assert index.search("rent")[0].fused.dense_rank > 0
        assert list(index.encode_missing()) == []


def test_what_is_removed_leaves_no_trace_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "i.db"
    with Index(path, Letters()) as index:
        put(index, TEXTS | {"secret": "xylophonist arrives"})
        index.remove("note", ["secret"])
        index.scrub()
        left = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"xylophonist" not in left
    assert b"arriv" not in left
    assert b"hunter2" in left


def _write_for_ever(path: Path, number: int) -> None:
    index = Index(path, Letters())
    for at in range(10**6):
        texts = {f"{number}-{at}-{part}": f"word{at} part{part}" for part in range(20)}
        index.put(Source("note", name, (Passage(text),)) for name, text in texts.items())


def test_writers_that_are_killed_leave_whole_batches(tmp_path: Path) -> None:
    path = tmp_path / "i.db"
    Index(path, None).close()
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_for_ever, args=(path, n)) for n in range(2)]
    for writer in writers:
        writer.start()
    with Index(path, Letters()) as index:
        deadline = time.monotonic() + 60
        while len({str(n)[0] for (n,) in index.rows("SELECT name FROM source")}) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    for writer in writers:
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    with Index(path, Letters()) as index:
        ((sources, passages),) = index.rows(
            "SELECT (SELECT count(*) FROM source), (SELECT count(*) FROM passage)"
        )
        assert sources == passages
        assert int(str(sources)) % 20 == 0
        assert index.rows("PRAGMA integrity_check") == [("ok",)]
        with index.writing() as db:
            db.execute("INSERT INTO passage_index (passage_index) VALUES ('integrity-check')")
        assert index.search("word0 part3")


def test_the_users_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CABIN_HOME", str(tmp_path))
    with open_index() as index:
        put(index, TEXTS)
    assert search("the rent")[0].name == "lease"


# ---- the parts -----------------------------------------------------------------------------------


def floats(*values: float) -> Floats:
    return np.array(values, np.float32)


def test_fusion_by_hand() -> None:
    bm25, cosines = floats(4, 2, 0), floats(-0.1, 0.4, 0.8)
    assert fuse(bm25, cosines, 0.5).tolist() == [0.5, 0.5, 0.5]
    assert fuse(bm25, cosines, 0.25).tolist() == [0.75, 0.5, 0.25]
    assert fuse(bm25, floats(0, 0, 0)).tolist() == [1, 0.5, 0]
    assert fuse(floats(0, 0, 0), cosines).tolist() == [0, 0.5, 1]
    assert fuse(floats(), floats()).tolist() == []


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=30), st.integers(0, 40))
def test_the_best_are_in_order_and_equals_as_they_stand(scores: list[float], limit: int) -> None:
    places = best(np.array(scores, np.float32), limit).tolist()
    assert places == sorted(range(len(scores)), key=lambda at: (-scores[at], at))[:limit]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.text("abc ", min_size=1, max_size=12), min_size=1, max_size=8),
    st.text("abc ", min_size=1, max_size=5),
)
def test_bm25_is_what_fts5_says(texts: list[str], query: str) -> None:
    index = Index(None, None)
    index.put(
        [Source("note", f"{n}", (Passage(text, heading="a c"),)) for n, text in enumerate(texts)]
    )
    words = words_of(query)
    if not words:
        return
    rows = index.rows(
        "SELECT name, -rank FROM passage_index JOIN passage ON passage.id = passage_index.rowid "
        "JOIN source ON source.id = passage.source WHERE passage_index MATCH ?",
        (match(words),),
    )
    found = {hit.name: hit.fused.bm25 for hit in index.search(query, 99)}
    assert found == pytest.approx(dict(rows), rel=1e-4)


def test_a_long_passage_counts_all_its_words() -> None:
    index = Index(None, None)
    put(index, {"long": "dog " + "x " * 20_000, "short": "dog"})
    index.search("dog")
    assert index._columns.lengths.tolist() == [20_001, 1]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text("abcdef", min_size=1, max_size=8), min_size=1, max_size=12))
def test_centred_cosines_are_those_of_centred_vectors(texts: list[str]) -> None:
    index = Index(None, Letters())
    put(index, {str(at): text for at, text in enumerate(texts)} | {"nothing": "123"})
    index.search("a")
    columns, (query,) = index._columns, Letters().encode(["abba"])
    places = np.arange(columns.count)
    ours = columns.centred_cosines(query, columns.cosines(query), places)
    assert ours == pytest.approx(columns.vectors(places) @ columns.centred(query), abs=1e-4)
    assert ours[-1] == 0
    mean = sum(Letters().encode([text])[0] for text in texts) / (len(texts) + 1 + 100)
    assert columns.centred(query) == pytest.approx(
        (query - mean) / np.linalg.norm(query - mean), abs=0.02
    )


def test_what_the_best_say_brings_what_the_query_does_not() -> None:
    index = Index(None, Letters())
    put(index, {"best": "zzq xyxyxyxy", "like": "xyxyxyzxyxy", "else": "abcdefgzab"})
    hits = index.search("zzq")
    assert [hit.name for hit in hits[:2]] == ["best", "like"]
    assert hits[1].fused.likeness > 2 * hits[1].fused.cosine
    assert hits[-1].fused.likeness < hits[1].fused.likeness


def test_vectors_that_another_program_fills_in_are_seen(tmp_path: Path) -> None:
    with Index(tmp_path / "i.db", None) as bare:
        put(bare, TEXTS)
    with Index(tmp_path / "i.db", Letters()) as one, Index(tmp_path / "i.db", Letters()) as two:
        assert one.search("rent")[0].fused.dense_rank == 0
        assert list(two.encode_missing()) == [4, 1]
        assert one.search("rent")[0].fused.dense_rank > 0


def test_packing_keeps_the_budget_and_cites() -> None:
    index = Index(None, None)
    index.put(
        [
            Source("file", "/a.txt", (Passage("bread " * 50, "Food", 3), Passage("bread", "", 9))),
            Source("file", "/b.pdf", (Passage("bread rises", page=4),)),
        ]
    )

    def count(text: str) -> int:
        return len(text.split())

    hits = index.search("bread")
    for budget in (3, 20, 60, 1000):
        text, shown = pack(hits, budget, count)
        assert count(text) <= budget
        assert all(f"] {hit.where}" in text for hit in shown)
    text, shown = pack(hits, 1000, count)
    assert len(shown) == 3
    assert "/b.pdf, page 4" in text
    assert "/a.txt:3 (Food)" in text
