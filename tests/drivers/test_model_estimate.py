"""The estimate of tokens against what real tokenizers find in texts of many kinds."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.drivers.model.estimate import estimate

# Texts of many kinds and how many tokens four real tokenizers make of each.
COUNTED = json.loads(Path(__file__).with_name("token_counts.json").read_text())
TEXTS = {row["kind"]: (row["text"], row["counts"]) for row in COUNTED["texts"]}


@pytest.mark.parametrize("kind", TEXTS)
def test_the_estimate_is_not_below_what_tokenizers_find(kind: str) -> None:
    text, (*others, mistral) = TEXTS[kind]
    assert estimate(text) >= max(others)
    assert estimate(text) >= 0.95 * mistral


def test_the_estimate_is_not_far_above_it_in_usual_text() -> None:
    for kind in ("English prose", "Python", "C", "JSON", "log", "Markdown", "HTML", "URL"):
        text, counts = TEXTS[kind]
        assert estimate(text) <= 1.8 * max(counts[:3])
    for text, counts in TEXTS.values():
        assert estimate(text) <= 3.1 * max(counts[:3])


@settings(max_examples=300)
@given(st.text(), st.text())
def test_it_adds_up_and_never_exceeds_the_bytes(one: str, other: str) -> None:
    size = len((one + other).encode(errors="surrogatepass"))
    assert 0 <= estimate(one + other) <= size
    # Where two texts meet, a word may become longer or a character an odd byte.
    assert estimate(one + other) <= estimate(one) + estimate(other) + max(len(one), len(other)) + 1


def test_nothing_takes_nothing() -> None:
    assert estimate("") == 0


def test_it_is_fast() -> None:
    text = "The quick brown fox, 12 dogs and {json: [1, 2]}.\n" * 20_000
    started = time.process_time()
    estimate(text)
    assert time.process_time() - started < 3
