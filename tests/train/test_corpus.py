"""From rows to a corpus: reading each source, copies, held-out groups, overlap."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.train import corpus, prepare
from cabinos.train.corpus import build_corpus, is_held_out, read_report, read_texts
from cabinos.train.dedup import Seen, paragraph_digest, paragraphs
from cabinos.train.documents import clean, documents
from cabinos.train.errors import CorpusError, SourceError
from cabinos.train.overlap import Measured, N, _grams, _hashes, find_overlap, read_measured
from cabinos.train.report import report
from cabinos.train.sources import manifest

WORDS = "the quick brown fox jumps over a lazy dog while seven small owls watch from their tree"


def texts(source: str, *rows: dict[str, Any]) -> list[str]:
    return [document.text for document in documents(source, rows)]


@settings(deadline=None)
@given(st.text())
def test_cleaning_is_done_once(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert "\n\n\n" not in once
    assert not set("\r\x00\x1b\x9b\ufeff") & set(once)


@settings(deadline=None)
@given(st.text())
def test_paragraphs_join_to_the_text(text: str) -> None:
    assert "\n\n".join(paragraphs(text)) == text


def test_books_have_a_head_and_measured_authors_are_left_out() -> None:
    row = {
        "title": "Emma",
        "author": "Jane Austen",
        "year": 1815,
        "text": "##  Chapter I\r\n\r\nE.",
    }
    assert texts("classics", row) == ["# Emma\n\nby Jane Austen\n\n## Chapter I\n\nE."]
    for author in ("Lewis Carroll", "William Shakespeare", "John Milton"):
        assert texts("classics", row | {"author": author}) == []


def test_textbooks_are_cut_into_sections() -> None:
    uuid = "d7336d3e-34f2-4b2c-a636-b7afd47f0efd"
    first = f"Preface\n\nm1\nPreface\n\n{uuid}\n\nThanks."
    second = f"Cells\n\nm2\nCells\n\nName the parts.\n\n{uuid}\n\nA cell ( ) is small &amp; alive."
    third = f"Atoms\n\nAtoms\nm3\n{uuid}\n\nAn atom."
    row = {"title": "biology", "text": f"{first}\n\n{second}\n\n{third}"}
    assert texts("openstax", row) == [
        "# Cells\n\nName the parts.\n\nA cell is small & alive.",
        "# Atoms\n\nAn atom.",
    ]


def test_files_lose_mail_addresses() -> None:
    row = {"path": "pep-0001.rst", "text": "Author: A. Person <a@example.org>, B <b at c.net>"}
    assert texts("peps", row) == ["Author: A. Person, B"]


def test_commands_lose_links_and_braces() -> None:
    text = "# ls\n\n> List.\n> More information: <https://x.org>.\n\n- All:\n\n`ls {{path/to}}`\n"
    assert texts("tldr", {"path": "p", "text": text}) == [
        "# ls\n\n> List.\n\n- All:\n\n`ls path/to`"
    ]


def test_a_country_becomes_a_profile() -> None:
    names = {"conventional short form": {"text": "Chad"}, "note": "<b>x</b>"}
    facts = {
        "Geography": {"Area": {"total ": {"text": "1 sq km"}, "text": "<p>a</p> <p>b &amp; c</p>"}},
        "Government": {"Country name": names},
    }
    [profile] = texts("factbook", {"path": "africa/cd.json", "text": json.dumps(facts)})
    assert profile.startswith("# Chad: a country profile\nRegion: africa\n\n## Geography of Chad")
    assert "\nArea: a\n\nb & c\nArea, total: 1 sq km\n" in profile
    assert texts("factbook", {"path": "package.json", "text": "{}"}) == []


def test_wordnet_becomes_a_dictionary() -> None:
    yaml = (
        "00000001-n:\n  definition:\n  - 'it''s a thing,\n    of some kind'\n"
        "  members:\n  - thing\n  partOfSpeech: n\n"
        "00000002-n:\n  definition:\n  - a thing to sit on\n  example:\n  - take a seat\n"
        "  - source: A. Writer\n    text: x\n  hypernym:\n  - 00000001-n\n  members:\n  - chair\n"
        "  - seat\n  partOfSpeech: n\n"
    )
    [page] = texts("wordnet", {"path": "noun.yaml", "text": yaml})
    assert page == (
        "# Dictionary\n\nthing (noun): it's a thing, of some kind.\n\n"
        "chair (noun): a thing to sit on. Also: seat. A kind of: thing. Example: take a seat."
    )


def test_problems_lose_the_calculator_marks() -> None:
    row = {"question": "How many?", "answer": "48/2 = <<48/2=24>>24.\n#### 24"}
    [text] = texts("gsm8k_train", row)
    assert text == "Question: How many?\n\nAnswer: 48/2 = 24.\nThe answer is 24."


def test_a_row_of_another_kind_is_reported() -> None:
    with pytest.raises(SourceError, match="peps: a row is not as expected"):
        texts("peps", {"title": "x"})
    with pytest.raises(SourceError, match="names: holds no running text"):
        texts("names", {"text": "x"})


def test_copies_are_seen_through_case_and_punctuation() -> None:
    seen = Seen()
    assert not seen.is_copy(f"{WORDS}.\n\nSomething else that is long enough to be counted here.")
    assert seen.is_copy(f"{WORDS.upper()}!")
    assert not seen.is_copy("Another text, long enough for a digest of its own to be made of it.")
    assert not seen.is_copy("short")
    assert seen.is_copy("short")


def test_short_paragraphs_have_no_digest() -> None:
    assert paragraph_digest("Chapter I") is None
    assert paragraph_digest(WORDS) == paragraph_digest(f"  {WORDS.title()}, ")


def test_held_out_groups_are_named_or_drawn() -> None:
    books = manifest()["openstax"]
    assert is_held_out(books, "introduction-anthropology")
    assert not is_held_out(books, "physics")
    drawn = sum(is_held_out(manifest()["classics"], f"book {n}") for n in range(2000))
    assert 20 <= drawn <= 60  # one in fifty


@pytest.fixture
def two_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sources "peps" and "classics" of a few rows, whatever their hash."""
    shared = "This paragraph occurs in a book that is held out, and in one that is trained on."
    paragraph = "A paragraph of its own in each of the books, long enough to count, number"
    rows = {
        "classics": [
            {"title": f"Book {n}", "author": "A", "text": f"{paragraph} {'i' * n}.\n\n{shared}"}
            for n in range(6)
        ],
        "peps": [{"path": "pep-1.rst", "text": WORDS}, {"path": "pep-2.rst", "text": WORDS}],
    }
    (tmp_path / "sources").mkdir()
    for name, lines in rows.items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / "sources" / f"{name}.jsonl").write_text(text)
    some = {n: replace(manifest()[n], held_out=("Book 3", "none")) for n in rows}
    for module in (corpus, prepare.sources):
        monkeypatch.setattr(module, "manifest", lambda: some)
    return tmp_path


def test_the_corpus_is_split_and_has_no_copies(two_sources: Path) -> None:
    build_corpus(two_sources, "recipe")
    [held] = read_texts(two_sources, "books", "held")
    assert held.startswith("# Book 3")
    trained = list(read_texts(two_sources, "books", "train"))
    assert len(trained) == 5
    assert not any("held out" in text for text in trained)
    assert list(read_texts(two_sources, "technical", "train")) == [WORDS]
    facts = read_report(two_sources)
    assert (facts["classics"].documents, facts["classics"].removed_paragraphs) == (6, 5)
    assert facts["peps"].copies == 1
    assert corpus.is_current(two_sources, "recipe")
    assert not corpus.is_current(two_sources, "another")


def test_preparing_again_changes_nothing(two_sources: Path) -> None:
    told: list[str] = []
    first = prepare.prepare(two_sources, told.append)
    files = {p: p.stat().st_mtime_ns for p in two_sources.rglob("*") if p.is_file()}
    assert "training the tokenizer" in told
    assert prepare.prepare(two_sources) == first
    assert {p: p.stat().st_mtime_ns for p in two_sources.rglob("*") if p.is_file()} == files


def test_a_corpus_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="cabin data get"):
        read_report(tmp_path)


def measured(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "test.jsonl").write_text(json.dumps({"a": [{"b": text}], "n": 3}) + "\n")
    return folder


def test_thirteen_words_in_a_row_are_an_overlap(tmp_path: Path) -> None:
    grams = read_measured(measured(tmp_path / "eval", WORDS))
    words = WORDS.split()
    twelve, thirteen = " ".join(words[: N - 1]), " ".join(words[:N])
    assert find_overlap([twelve + " and so on"], grams).matches == {}
    found = find_overlap([f"Unrelated.\n\nSo: {thirteen.upper()} ... and more"], grams)
    assert found.matches == {"test": 1}
    assert len(found.digests) == 1
    across = find_overlap(["\n\n".join(words[:N])], grams)
    assert across.matches == {"test": 1}


@settings(deadline=None)
@given(st.lists(st.sampled_from("a b c d".split()), max_size=60), st.integers(0, 3))
def test_overlap_equals_the_plain_definition(words: list[str], shift: int) -> None:
    grams = Measured(names=["t"])
    text = " ".join("a b c d a a b b c c d d a b c d b c a d".split()[shift:])
    grams.grams = np.unique(_grams(_hashes(text, grams.words, grow=True))[0])
    grams.owners = np.zeros(len(grams.grams), np.int64)
    theirs = {tuple(text.split()[i : i + N]) for i in range(len(text.split()) - N + 1)}
    plain = sum(tuple(words[i : i + N]) in theirs for i in range(len(words) - N + 1))
    assert find_overlap([" ".join(words)], grams).matches["t"] == plain


def test_the_report_counts_and_compares(data: Path, tmp_path: Path) -> None:
    [text, *_] = read_texts(data, "books", "train")
    facts = report(data, measured(tmp_path / "eval", " ".join(text.split()[40:60])))
    assert {row["domain"] for row in facts["domains"]} == {"books", "maths"}
    overlap = {row["domain"]: row["matches"] for row in facts["overlap"]}
    assert overlap["books"] > 0
    assert overlap["maths"] == 0


def test_an_empty_folder_is_nothing_to_compare_with(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no .jsonl"):
        read_measured(tmp_path)
