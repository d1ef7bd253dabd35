"""Scores against published numbers, and what answers say."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinos.lab.evaluate.scoring import (
    content_words,
    declines,
    exact_match,
    has_numbers,
    interval_of_mean,
    normalised,
    numbers,
    token_f1,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe 1998, Two-sided confidence intervals for the single proportion, table I
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_is_as_published(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 1000), st.integers(1, 1000))
def test_wilson_holds_the_share_and_is_symmetric(successes: int, n: int) -> None:
    successes = min(successes, n)
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n + 1e-12
    assert successes / n - 1e-12 <= high <= 1
    assert wilson(n - successes, n) == pytest.approx((1 - high, 1 - low))


def test_nothing_says_nothing() -> None:
    assert wilson(0, 0) == (0, 1)


def test_the_interval_of_a_mean_is_near_the_normal_one() -> None:
    values = [0.0] * 200 + [1.0] * 200
    low, high = interval_of_mean(values)
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025), abs=0.006)
    assert interval_of_mean(values) == (low, high)


def test_a_weighted_mean_stays_at_what_weighs() -> None:
    assert interval_of_mean([1.0, 5.0], [1e9, 1e-9]) != (1.0, 1.0)
    low, high = interval_of_mean([2.0, 2.0, 2.0], [1, 5, 9])
    assert low == pytest.approx(2) == high


@pytest.mark.parametrize(
    ("answer", "golds", "f1"),
    [
        ("the Saxon Garden", ["Saxon Garden."], 1.0),
        ("in the Saxon Garden", ["Saxon Garden"], 2 * (2 / 3) * 1 / (2 / 3 + 1)),
        ("Warsaw", ["Saxon Garden"], 0.0),
        ("Warsaw", ["Paris", "warsaw"], 1.0),
        ("", ["a"], 0.0),
        ("garden garden", ["garden"], 2 * 0.5 / 1.5),
    ],
)
def test_token_f1(answer: str, golds: list[str], f1: float) -> None:
    assert token_f1(answer, golds) == pytest.approx(f1)


def test_normalised_as_squad_does() -> None:
    assert normalised("The  cat's, an old-Hat!") == "cats oldhat"
    assert exact_match("An Oak.", ["oak"])
    assert not exact_match("oaks", ["oak"])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("15% of 80 = 12.", ["15", "80", "12"]),
        ("1,200.50 and .5", ["1200.5", "0.5"]),
        ("it is -3, not 7-3", ["-3", "7", "3"]),
        ("minus −4.50", ["-4.5"]),
        ("2026-12-04 at 9:05", ["2026", "12", "4", "9", "5"]),
        ("1000000 = 1e6?", ["1000000", "1", "6"]),
        ("none", []),
    ],
)
def test_numbers(text: str, found: list[str]) -> None:
    assert numbers(text) == [Decimal(number) for number in found]


def test_has_numbers_compares_numbers_not_digits() -> None:
    assert has_numbers("It comes to 12.50 dollars", [Decimal("12.5")])
    assert not has_numbers("It comes to 112.5 dollars", [Decimal("12.5")])


def test_content_words() -> None:
    assert content_words("The rent is 900 dollars, and it's due.") == {"rent", "dollars", "due"}


@pytest.mark.parametrize(
    "text",
    [
        "Sorry, I can't do that: I have no weather service.",
        "I cannot book flights.",
        "I’m not able to do that.",
        "I won't do that.",
        "There is no way to do that here.",
    ],
)
def test_declining(text: str) -> None:
    assert declines(text)


@pytest.mark.parametrize("text", ["12 inches is one foot.", "Added to the list as 3.", ""])
def test_not_declining(text: str) -> None:
    assert not declines(text)
