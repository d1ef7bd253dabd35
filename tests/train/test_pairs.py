"""Pairs of answers: what is read, what is learnt, and what is kept apart."""

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.train.errors import CorpusError, TrainError
from cabinos.train.prefer.config import PairConfig
from cabinos.train.prefer.pair_batches import PairStream, pair_groups
from cabinos.train.prefer.pairs import Pairs, encode_pairs, split
from cabinos.train.rows import Rows, Speech, encode_row, open_speech
from tests.train.comparisons import SMALL, make_base, pair, write_pairs


@pytest.fixture(scope="module")
def speech(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Speech:
    return open_speech(make_base(data, tmp_path_factory.mktemp("base") / "hf"))


def said(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def encoded(speech: Speech, folder: Path, *pairs: Any, context: int = 128) -> Pairs:
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(p) + "\n" for p in pairs))
    return encode_pairs([path], speech, context, folder / "cache")


def test_a_pair_is_two_rows_of_which_the_answer_is_learnt(speech: Speech, tmp_path: Path) -> None:
    prompt = [said("user", "hello"), said("assistant", "Good day."), said("user", "and now?")]
    answers = [said("assistant", "Tea."), said("assistant", "Nothing, I am afraid.")]
    pairs = encoded(
        speech, tmp_path, {"prompt": prompt, "chosen": answers[:1], "rejected": answers[1:]}
    )
    for number, answer in enumerate(answers):
        ids, learnt = pairs.rows.row(number)
        whole, spans = encode_row({"messages": [*prompt, answer]}, speech)
        assert ids.tolist() == whole
        assert np.flatnonzero(learnt).tolist() == list(range(*spans[-1]))  # not "Good day."
        assert speech.tokenizer.decode(ids[learnt].tolist()) == answer["content"]
    assert pairs.answers.tolist() == [[int(pairs.rows.row(n)[1].sum()) for n in range(2)]]
    assert pairs.lengths.tolist() == [len(pairs.rows.row(1)[0])]


def test_margins_and_ties_are_kept(speech: Speech, tmp_path: Path) -> None:
    one, two, three = (pair(Random(n)) for n in range(3))
    pairs = encoded(
        speech,
        tmp_path,
        one | {"margin": 1.5},
        two | {"tie": True, "margin": 2},
        three | {"margin": None},
    )
    assert pairs.margins.tolist() == [1.5, 0, 0]
    assert pairs.ties.tolist() == [False, True, False]


def test_what_is_too_long_or_says_the_same_is_left_out(speech: Speech, tmp_path: Path) -> None:
    good = pair(Random(1))
    long = good | {"chosen": [said("assistant", "far " * 200)]}
    same = good | {"rejected": good["chosen"]}
    pairs = encoded(speech, tmp_path, long, good, same)
    assert (len(pairs), pairs.rows.too_long, pairs.same) == (1, 1, 1)
    assert pairs.rows.place(0).endswith("pairs.jsonl:2")
    with pytest.raises(CorpusError, match=r"no pair to learn from \(0 are longer .* 1 have one"):
        encoded(speech, tmp_path, same)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"prompt": "\n\nHuman: hi"}, "'prompt' is no list of messages; other formats"),
        ({"chosen": []}, "'chosen' is no list of messages"),
        ({"rejected": [said("user", "hm")]}, "'rejected' does not begin with the assistant's"),
        ({"prompt": [said("user", "a"), said("assistant", "b")]}, "the prompt ends with the ass"),
        ({"margin": -1}, "'margin' must be a number from 0, not -1"),
        ({"margin": True}, "'margin' must be a number"),
        ({"margin": "much"}, "'margin' must be a number"),
    ],
)
def test_what_is_no_pair_is_named(
    speech: Speech, tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    with pytest.raises(CorpusError, match=rf"pairs\.jsonl:2: not a pair: .*{problem}"):
        encoded(speech, tmp_path, pair(Random(1)), pair(Random(2)) | change)


@pytest.mark.parametrize("line", [b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_line_that_is_no_json_is_named(speech: Speech, tmp_path: Path, line: bytes) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl", 1)
    path.write_bytes(path.read_bytes() + b"\n" + line)  # an empty line is none
    with pytest.raises(CorpusError, match=r"pairs\.jsonl:3: not a pair"):
        encode_pairs([path], speech, 128, tmp_path)


def test_encoded_pairs_are_kept_and_damage_is_told(speech: Speech, tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl", 5)
    fresh = encode_pairs([path], speech, 128, tmp_path / "cache")
    again = encode_pairs([path], speech, 128, tmp_path / "cache")
    assert np.array_equal(fresh.rows.tokens, again.rows.tokens)
    assert (fresh.rows.key, fresh.prompts.tolist()) == (again.rows.key, again.prompts.tolist())
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    with pytest.raises(TrainError, match="damaged .* Remove it and start again"):
        encode_pairs([path], speech, 128, tmp_path / "cache")


def test_conversations_that_begin_alike_are_one_prompt(speech: Speech, tmp_path: Path) -> None:
    first = pair(Random(1))
    longer = first | {
        "prompt": [*first["prompt"], said("assistant", "Well."), said("user", "So where?")]
    }
    shouted = first | {"prompt": [said("user", f" {first['prompt'][0]['content'].upper()} ")]}
    pairs = encoded(speech, tmp_path, first, longer, shouted, pair(Random(2)))
    assert len(set(pairs.prompts[:3].tolist())) == 1
    assert pairs.prompts[3] != pairs.prompts[0]


def fake(prompts: list[int]) -> Pairs:
    count = len(prompts)
    rows = Rows(
        np.zeros(2 * count, np.uint16), np.ones(2 * count, np.bool_), np.arange(2 * count + 1),
        np.zeros((2 * count, 2), np.int32), ["x"],
    )  # fmt: skip
    ties, margins = np.zeros(count, np.bool_), np.zeros(count, np.float32)
    return Pairs(rows, margins, ties, np.array(prompts, np.uint64))


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=80), st.floats(0, 1), st.integers(0, 2**32)
)
def test_no_prompt_is_on_both_sides(prompts: list[int], share: float, seed: int) -> None:
    pairs = fake(prompts)
    learnt, held = split(pairs, share, seed)
    assert sorted([*learnt, *held]) == list(range(len(pairs)))
    assert not set(pairs.prompts[learnt]) & set(pairs.prompts[held])
    assert len(set(pairs.prompts[held])) == round(share * len(set(prompts)))


def test_every_pair_is_seen_once_an_epoch(speech: Speech, tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl", 40)
    pairs = encode_pairs([path], speech, 128, tmp_path)
    config = PairConfig(**SMALL)
    chosen = np.arange(3, 40)
    first, second = (pair_groups(pairs, chosen, config, epoch) for epoch in range(2))
    assert sorted(np.concatenate(first)) == sorted(np.concatenate(second)) == chosen.tolist()
    assert np.concatenate(first).tolist() != np.concatenate(second).tolist()
    stream = PairStream(pairs, chosen, config)
    batch = stream.batch(0)
    assert batch.count == sum(map(len, batch.groups))
    assert str(batch).startswith(str(path))
    for part in batch.parts():
        assert part.inputs.size <= 512
        assert len(part.ends) == 2 * len(part.wanted)
        drawn = part.inputs.ravel()[part.places + 1]
        assert np.array_equal(drawn, part.targets)
