"""The sets that are only measured on: pinned, and made from their authors' files."""

import hashlib
import json
from pathlib import Path

import pytest

from cabinos.train import sources
from cabinos.train.measured import READERS
from cabinos.train.prepare import get_sources
from cabinos.train.sources import Source, manifest, measured
from cabinos.train.upstream import GitHub
from tests.train.test_sources import Server, archive, server  # noqa: F401 - a fixture


def test_every_set_is_pinned_and_none_is_trained_on() -> None:
    found = measured()
    assert found.keys() == {
        "arena_prompts", "bfcl_a", "blimp", "chinchilla_runs", "clinc_val", "wikitext2_valid",
        "xquad_en_a",
    }  # fmt: skip
    assert not found.keys() & manifest().keys()
    for entry in found.values():
        assert len(entry.sha256) == 64
        assert len(entry.commit) == 40
        assert entry.licence
        assert entry.paths
        assert entry.domain is None
    assert READERS.keys() <= found.keys()


def test_they_are_kept_apart(tmp_path: Path) -> None:
    assert sources.path_of(measured()["blimp"], tmp_path) == tmp_path / "eval" / "blimp.jsonl"


def test_clinc_has_its_validation_part_and_what_is_out_of_scope() -> None:
    text = json.dumps(
        {"train": [["a", "b"]], "val": [["hi", "greeting"]], "oos_val": [["?", "oos"]]}
    )
    assert list(READERS["clinc_val"]("x.json", text)) == [
        {"text": "hi", "intent": "greeting"},
        {"text": "?", "intent": "oos"},
    ]


def test_what_the_arena_asks() -> None:
    lines = '{"question_id": 81, "turns": ["a"]}\n{"question_id": 82, "turns": ["b"]}\n'
    assert list(READERS["arena_prompts"]("q.jsonl", lines)) == [
        {"file": "q.jsonl", "question_id": 81, "turns": ["a"]},
        {"file": "q.jsonl", "question_id": 82, "turns": ["b"]},
    ]


def test_half_of_xquad_by_article() -> None:
    def article(title: str) -> dict[str, object]:
        asked = {"question": f"{title}?", "id": "1", "answers": [{"text": "a", "answer_start": 0}]}
        return {"title": title, "paragraphs": [{"context": "a b", "qas": [asked]}]}

    text = json.dumps({"data": [article("Warsaw"), article("Super_Bowl_50")]})
    assert list(READERS["xquad_en_a"]("xquad.en.json", text)) == [
        {"title": "Warsaw", "context": "a b", "question": "Warsaw?", "answers": ["a"]}
    ]


def test_half_of_bfcl_by_case_the_same_for_questions_and_answers() -> None:
    lines = "".join(
        json.dumps({"id": f"simple_python_{n}", "x": "\u2028"}) + "\n" for n in range(9)
    )
    rows = list(READERS["bfcl_a"]("data/a.json", lines))
    assert [row["id"] for row in rows] == ["simple_python_1", "simple_python_2"]
    assert rows[0] == {"file": "data/a.json", "id": "simple_python_1", "x": "\u2028"}


def test_runs_keep_the_columns_of_their_table() -> None:
    text = "x,Model Size,Training FLOP,loss\n1,2e9,3e20,2.5\n"
    row = {"x": "1", "Model Size": "2e9", "Training FLOP": "3e20", "loss": "2.5"}
    assert list(READERS["chinchilla_runs"]("runs.csv", text)) == [row]


def pinned(name: str, rows: list[dict[str, object]], *paths: str) -> Source:
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    return Source(
        name, "who/what", "c0ffee", paths, "MIT", "", None, len(rows), len(data),
        hashlib.sha256(data).hexdigest(), place="eval",
    )  # fmt: skip


@pytest.mark.usefixtures("server")
def test_an_archive_of_pairs(server: Server, tmp_path: Path) -> None:  # noqa: F811
    pair = {"sentence_good": "He is.", "sentence_bad": "He are.", "UID": "x"}
    files = {"data/b.jsonl": json.dumps(pair), "data/a.jsonl": json.dumps(pair) + "\n"}
    server.files["/who/what/tar.gz/c0ffee"] = archive(files)
    kept = {"sentence_good": "He is.", "sentence_bad": "He are."}
    rows = [{"set": path, **kept} for path in ("data/a.jsonl", "data/b.jsonl")]
    known = {"blimp": pinned("blimp", rows, "data/*.jsonl")}
    (fetched,) = get_sources(tmp_path, hub=GitHub.at(server.url), known=known)
    assert fetched.name == "blimp"
    assert list(sources.rows(fetched, tmp_path)) == rows


def test_a_few_files_are_fetched_one_by_one_in_their_order(
    server: Server,  # noqa: F811
    tmp_path: Path,
) -> None:
    paths = ("data/z.json", "data/answers/z.json")
    for path in paths:
        line = json.dumps({"id": "simple_python_1", "p": path})
        server.files[f"/who/what/c0ffee/{path}"] = line.encode()
    rows = [{"file": path, "id": "simple_python_1", "p": path} for path in paths]
    known = {"bfcl_a": pinned("bfcl_a", rows, *paths)}
    (fetched,) = get_sources(tmp_path, hub=GitHub.at(server.url), known=known)
    assert list(sources.rows(fetched, tmp_path)) == rows
