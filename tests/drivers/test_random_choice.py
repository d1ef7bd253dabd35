"""Chance: within bounds, fair enough, and the same again for a seed."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinos.drivers.random_choice import driver, options_of
from cabinos.kernel.errors import InvalidArguments, KernelError, ToolError
from tests.drivers.support import call, context, named

SEEDED = driver({"seed": 7})


def test_declared() -> None:
    assert {(t.name, t.effect, t.label) for t in driver({}).tools} == {
        (name, "pure", "trusted") for name in ("random_roll", "random_flip", "random_pick")
    }


def test_a_die_and_a_coin() -> None:
    rolled = call(named(SEEDED, "random_roll"), context(), count=100)
    counts = Counter(map(int, rolled.split(", ")))
    assert set(counts) == set(range(1, 7))
    assert max(counts.values()) < 40
    assert set(call(named(SEEDED, "random_flip"), context(), count=50).split(", ")) == {
        "heads",
        "tails",
    }
    assert int(call(named(driver({}), "random_roll"), context(), sides=20)) in range(1, 21)
    assert call(named(driver({}), "random_roll"), context(), sides=1, count=3) == "1, 1, 1"


def test_a_seed_says_what_comes() -> None:
    first, second = (
        call(named(driver({"seed": 3}), "random_roll"), context(), sides=10**9) for _ in range(2)
    )
    assert first == second
    for wrong in ("x", 1.5, True):
        with pytest.raises(KernelError, match="seed must be an integer"):
            driver({"seed": wrong})


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("pizza, pasta or sushi", ["pizza", "pasta", "sushi"]),
        ("pizza, pasta, or sushi?", ["pizza", "pasta", "sushi"]),
        ("red and blue", ["red", "blue"]),
        ("between tea and coffee", ["tea", "coffee"]),
        ("fish and chips or a burger", ["fish and chips", "a burger"]),
        ("Anna; Bob; Chris", ["Anna", "Bob", "Chris"]),
        ("heads/tails", ["heads", "tails"]),
        ("orange or a door", ["orange", "a door"]),
        ("one", ["one"]),
        (" , ,", []),
    ],
)
def test_options(text: str, options: list[str]) -> None:
    assert options_of(text) == options


def test_one_of_them_is_picked() -> None:
    pick = named(driver({}), "random_pick")
    assert call(pick, context(), options="pizza, pasta or sushi") in ("pizza", "pasta", "sushi")
    with pytest.raises(ToolError, match="is one thing"):
        call(pick, context(), options="pizza")


@given(st.text(max_size=200))
def test_any_text_has_options_that_are_in_it(text: str) -> None:
    for option in options_of(text):
        assert option
        assert option in text


@pytest.mark.parametrize("given_", [{"sides": 0}, {"count": 0}, {"count": 101}, {"sides": 10**10}])
def test_bounds(given_: dict[str, int]) -> None:
    with pytest.raises(InvalidArguments):
        call(named(SEEDED, "random_roll"), context(), **given_)
