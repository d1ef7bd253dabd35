"""Every window once an epoch, shares as asked, and going on from the counts alone."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.train.batches import Batches, _window
from cabinos.train.errors import CorpusError
from cabinos.train.shards import open_shards, tokens_of


@settings(deadline=None)
@given(st.integers(2, 400), st.integers(1, 40), st.integers(0, 3))
def test_an_epoch_visits_every_window_once(extra: int, context: int, epoch: int) -> None:
    length = context + extra
    count = (length - 1) // context
    starts = [_window(epoch * count + i, length, context) for i in range(count)]
    assert len(set(starts)) == count
    assert all(start >= 0 and start + context + 1 <= length for start in starts)


def test_shares_are_kept(data: Path) -> None:
    batches = Batches(data, {"books": 3.0, "maths": 1.0})
    for _ in range(5):
        batches.next(8, 16)
    assert batches.taken == {"books": 480, "maths": 160}


def test_rows_are_where_they_say(data: Path) -> None:
    batch = Batches(data, {"books": 1.0, "maths": 1.0}).next(6, 16)
    shards = {s.domain: tokens_of(data, s) for s in open_shards(data) if s.split == "train"}
    for row, (domain, offset) in zip(batch.tokens, batch.places, strict=True):
        assert np.array_equal(row, shards[domain][offset : offset + 17])
    assert f"{batch.places[0][0]}@{batch.places[0][1]}" in str(batch)


def test_it_goes_on_from_the_counts(data: Path) -> None:
    mix = {"books": 0.7, "maths": 0.3}
    whole, first = Batches(data, mix), Batches(data, mix)
    expected = [whole.next(4, 32).tokens for _ in range(6)][3:]
    for _ in range(3):
        first.next(4, 32)
    second = Batches(data, mix)
    second.taken.update(first.taken)
    for tokens in expected:
        assert np.array_equal(second.next(4, 32).tokens, tokens)


def test_an_unknown_domain_is_named(data: Path) -> None:
    with pytest.raises(CorpusError, match=r"'poems'; there are books, maths"):
        Batches(data, {"poems": 1.0})


def test_rows_longer_than_the_shard_are_refused(data: Path) -> None:
    with pytest.raises(CorpusError, match="too few for rows of 1000000"):
        Batches(data, {"maths": 1.0}).next(1, 1_000_000)
