"""Short texts against a request: shares of words and of meaning."""

import statistics

import pytest

from cabinos.index.static import built_in
from cabinos.skills import rank
from cabinos.skills.rank import Ranker

THINGS = "bread trains taxes guitars gardens passports weather chess bicycles insurance".split()
TEXTS = [
    [(2.0, thing), (1.0, f"Use when the user asks for help with {thing}.")] for thing in THINGS
]


def test_no_texts_and_no_words_are_no_error() -> None:
    assert Ranker([], built_in()).scores("bread") == []
    alone = Ranker([TEXTS[0]], built_in())
    for request in ("", "?!", "\0"):
        (score,) = alone.scores(request)
        assert (score.fused, score.words) == (0.0, ())
    (score,) = alone.scores("how do I bake bread?")
    assert 0 < score.dense <= 1
    assert score.words == ("bread",)


def test_what_all_texts_share_speaks_for_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    request = "the user asks for help"

    def pull() -> float:
        ranker = Ranker(TEXTS * 10, built_in())
        return statistics.fmean(score.dense for score in ranker.scores(request))

    shared = pull()
    monkeypatch.setattr(rank, "PRIOR", 1_000_000)  # nothing is taken away
    assert shared < pull() / 2


def test_a_text_is_found_by_what_it_means() -> None:
    scores = Ranker(TEXTS, built_in()).scores("a musical instrument with strings")
    best = max(range(len(THINGS)), key=lambda n: scores[n])
    assert THINGS[best] == "guitars"
    assert scores[best].lexical == 0
    assert all(0 <= value <= 1 for score in scores for value in score[:3])
