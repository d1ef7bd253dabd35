"""Pairs and their formats: what is read, what is written, and what is refused."""

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinos.lab.comparisons.errors import ComparisonError
from cabinos.lab.comparisons.formats import read_candidates, read_pairs, write_pairs
from cabinos.lab.comparisons.pair import Candidates, Pair, text_of


def said(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


PLAIN = {
    "prompt": [said("user", "hi")],
    "chosen": [said("assistant", "hello")],
    "rejected": [said("assistant", "what")],
}

# Anything but what HH-RLHF would take for a turn.
texts = st.text("ab \n:#é𝕏\x00", max_size=8).filter(lambda t: "\n\n" not in t)


def conversations(first: str) -> st.SearchStrategy[list[dict[str, str]]]:
    other = "user" if first == "assistant" else "assistant"
    turns = st.lists(texts, min_size=0, max_size=2).map(lambda t: t if len(t) % 2 == 0 else t[:-1])
    return st.tuples(texts, turns).map(
        lambda found: [
            said((first, other)[n % 2], text) for n, text in enumerate([found[0], *found[1]])
        ]
    )


pairs = st.builds(
    lambda prompt, chosen, rejected: Pair(tuple(prompt), tuple(chosen), tuple(rejected)),
    conversations("user"),
    conversations("assistant"),
    conversations("assistant"),
).filter(lambda pair: pair.chosen[0] != pair.rejected[0])


@given(pairs, st.sampled_from(["pairs", "hh", "ultrafeedback"]))
def test_what_is_written_is_read(tmp_path_factory: Any, pair: Pair, form: str) -> None:
    path = tmp_path_factory.mktemp("pairs") / "x.jsonl"
    written = write_pairs([pair], path, form)
    assert written.pairs == 1
    assert list(read_pairs(path)) == [pair]


def test_all_that_is_known_is_kept(tmp_path: Path) -> None:
    row = {
        **PLAIN,
        "tools": [{"type": "function"}],
        "tie": True,
        "both_bad": True,
        "margin": 1.5,
        "source": "s",
        "rater": "r",
        "seconds": 2.0,
        "models": ["a", "b"],
    }
    (pair,) = read_pairs(lines(tmp_path / "x.jsonl", row))
    assert pair.both_bad
    assert pair.to_json() == row
    assert Pair.from_json(PLAIN).to_json() == PLAIN


def test_transcripts_of_hh() -> None:
    def turns(*texts: str) -> str:
        return "".join(f"\n\n{('Human', 'Assistant')[n % 2]}: {t}" for n, t in enumerate(texts))

    path = Path("x")
    rows = [{"chosen": turns("a", "b", "c", "d"), "rejected": turns("a", "b", "c", "e")}]
    pair = _only(path, rows)
    assert [m["content"] for m in pair.prompt] == ["a", "b", "c"]
    assert text_of(pair.chosen), text_of(pair.rejected) == ("d", "e")
    longer = _only(path, [{"chosen": turns("a", "b"), "rejected": turns("a", "c", "d", "e")}])
    assert [m["content"] for m in longer.rejected] == ["c", "d", "e"]
    # Where they part in what the human says, the whole answer before it belongs to both.
    early = _only(
        path, [{"chosen": turns("a", "b", "c", "d"), "rejected": turns("a", "b", "x", "y")}]
    )
    assert [m["content"] for m in early.prompt] == ["a"]
    assert [m["content"] for m in early.chosen] == ["b", "c", "d"]
    same = _only(path, [{"chosen": turns("a", "b"), "rejected": turns("a", "b")}])
    assert same.tie


def _only(_path: Path, rows: list[dict[str, Any]]) -> Pair:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        (pair,) = read_pairs(lines(Path(folder) / "x.jsonl", *rows))
    return pair


def test_ultrafeedback_both_ways(tmp_path: Path) -> None:
    talk = [said("user", "q"), said("assistant", "good")]
    binarized = {
        "prompt": "q",
        "chosen": talk,
        "rejected": [talk[0], said("assistant", "poor")],
        "score_chosen": 8.5,
        "score_rejected": 3.0,
    }
    completions = [
        {"model": "m1", "response": "one", "overall_score": 10, "fine-grained_score": 4.0},
        {"model": "m2", "response": "two", "overall_score": 7.5},
        {"model": "m3", "response": "three", "overall_score": 7.5},
    ]
    raw = {"source": "evol", "instruction": "q", "completions": completions}
    found = list(read_pairs(lines(tmp_path / "x.jsonl", binarized, raw)))
    assert len(found) == 4
    assert found[0].margin == 5.5
    assert text_of(found[0].chosen) == "good"
    assert [text_of(p.chosen) for p in found[1:3]] == ["two", "three"]  # 7.5 against 4, not 10
    assert found[1].more == {"models": ["m2", "m1"]}
    assert found[3].tie


def test_packed_files(tmp_path: Path) -> None:
    data = (json.dumps(PLAIN) + "\n").encode()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(data))
    (tmp_path / "a.jsonl.xz").write_bytes(lzma.compress(data))
    for name in ("a.jsonl.gz", "a.jsonl.xz"):
        assert [pair.to_json() for pair in read_pairs(tmp_path / name)] == [PLAIN]
    for name in ("a.jsonl.gz", "a.jsonl.xz"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:-9])
        with pytest.raises(ComparisonError, match="damaged or cut off"):
            list(read_pairs(tmp_path / name))


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (b"{", "line 2"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[1]", "not a JSON object"),
        (b'{"text": "x"}', 'neither "chosen" nor "completions"'),
        (b'{"chosen": "hello", "rejected": "x"}', "a transcript must begin"),
        (b'{"prompt": [], "chosen": [], "rejected": []}', '"prompt"'),
        (b'{"prompt": [{"role": "user", "content": 3}], "chosen": []}', "must be a text"),
        (b'{"instruction": "q", "completions": [{"response": 1}]}', "overall_score"),
        (b"[" * 100_000, "line 2"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: bytes, wrong: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(json.dumps(PLAIN).encode() + b"\n" + line + b"\n")
    with pytest.raises(ComparisonError, match="line 2") as error:
        list(read_pairs(path))
    assert wrong in str(error.value)


@given(st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["role", "content", "prompt", "chosen", "rejected", "tools", "tie",
                         "completions", "instruction", "response", "overall_score", "tool_calls",
                         "function", "arguments"]),
        inner, max_size=4,
    ),
    max_leaves=12,
))  # fmt: skip
def test_whatever_a_line_holds_it_is_a_pair_or_an_error(tmp_path_factory: Any, row: Any) -> None:
    path = lines(tmp_path_factory.mktemp("any") / "x.jsonl", row)
    try:
        found = list(read_pairs(path))
    except ComparisonError:
        return
    for pair in found:
        assert pair.prompt
        assert Pair.from_json(pair.to_json()) == pair
        assert isinstance(text_of((*pair.prompt, *pair.chosen, *pair.rejected)), str)


def test_what_a_format_cannot_hold_is_counted(tmp_path: Path) -> None:
    plain = Pair.from_json(PLAIN)
    rows = [
        plain,
        Pair.from_json({**PLAIN, "tie": True}),
        Pair.from_json({**PLAIN, "tools": [{}]}),
        Pair.from_json({**PLAIN, "prompt": [said("system", "be kind"), said("user", "hi")]}),
        Pair.from_json({**PLAIN, "chosen": [said("assistant", "a\n\nHuman: b")]}),
    ]
    written = write_pairs(rows, tmp_path / "hh.jsonl", "hh")
    assert written.pairs == 1
    assert written.left_out == {
        "ties": 1,
        "pairs with tools": 1,
        "roles beside user and assistant": 1,
        "texts that look like turns": 1,
    }
    assert list(read_pairs(tmp_path / "hh.jsonl")) == [plain]
    assert write_pairs(rows, tmp_path / "uf.jsonl", "ultrafeedback").pairs == 3


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    good = lines(tmp_path / "good.jsonl", PLAIN)
    bad = lines(tmp_path / "bad.jsonl", PLAIN, {"x": 1})
    target = tmp_path / "out.jsonl"
    write_pairs(read_pairs(good), target)
    before = target.read_bytes()
    with pytest.raises(ComparisonError):
        write_pairs(read_pairs(bad), target)
    assert target.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.jsonl", "good.jsonl", "out.jsonl"]


def test_candidates_have_a_name_that_does_not_depend_on_their_order(tmp_path: Path) -> None:
    row = {"prompt": PLAIN["prompt"], "responses": [PLAIN["chosen"], PLAIN["rejected"]]}
    turned = {**row, "responses": row["responses"][::-1]}
    first, second, third = read_candidates(lines(tmp_path / "x.jsonl", row, turned, PLAIN))
    assert first.id == second.id == third.id
    assert first.responses == second.responses[::-1]
    with pytest.raises(ValueError, match="two answers"):
        Candidates.from_json({**row, "responses": row["responses"][:1]})
