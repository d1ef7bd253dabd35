"""Strengths out of battles: against another implementation, and by what must hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cabinos.lab.arena.bradley_terry import Design, bootstrap, fit, separated

Array = NDArray[np.float64]


def battles(
    models: int, count: int, seed: int, facts: int = 0, ties: float = 0.15
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, Array]:
    """(left, right, won, facts) of a world in which the model holds."""
    random = np.random.default_rng(seed)
    strengths, effects = random.normal(size=models) * 0.8, random.normal(size=facts) * 0.3
    left = random.integers(0, models, count)
    right = (left + random.integers(1, models, count)) % models
    table = random.normal(size=(count, facts))
    odds = strengths[left] - strengths[right] + table @ effects
    won = (random.random(count) < 1 / (1 + np.exp(-odds))).astype(np.float64)
    won[random.random(count) < ties] = 0.5
    return left, right, won, table


@pytest.mark.parametrize("facts", [0, 3])
def test_it_is_the_logistic_regression_of_scikit_learn(facts: int) -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    models, count = 6, 1000
    left, right, won, table = battles(models, count, 1, facts)
    rows = np.zeros((count, models))
    rows[np.arange(count), left], rows[np.arange(count), right] = 1, -1
    rows = np.hstack([rows[:, 1:], table])
    tie = won == 0.5  # half a row of each outcome
    model = linear.LogisticRegression(
        C=np.inf, fit_intercept=False, solver="newton-cholesky", tol=1e-12, max_iter=200
    ).fit(
        np.vstack([rows, rows[tie]]),
        np.concatenate([np.where(tie, 1, won), np.zeros(tie.sum())]),
        sample_weight=np.concatenate([np.where(tie, 0.5, 1), np.full(tie.sum(), 0.5)]),
    )
    theirs = np.concatenate([[0.0], model.coef_[0][: models - 1]])
    ours = fit(Design.of(models, left, right, won, table))
    assert not ours.drawn
    assert ours.strengths == pytest.approx(theirs - theirs.mean(), abs=1e-6)
    assert ours.effects == pytest.approx(model.coef_[0][models - 1 :], abs=1e-6)


def test_at_the_likeliest_strengths_everybody_wins_as_often_as_expected() -> None:
    """The likelihood equations (Bradley & Terry 1952), which need no other implementation."""
    left, right, won, table = battles(6, 500, 2, 2)
    found = fit(Design.of(6, left, right, won, table))
    odds = found.strengths[left] - found.strengths[right] + table @ found.effects
    surprise = won - 1 / (1 + np.exp(-odds))
    for model in range(6):
        net = surprise[left == model].sum() - surprise[right == model].sum()
        assert net == pytest.approx(0, abs=1e-7)
    assert surprise @ table == pytest.approx(0, abs=1e-7)
    assert found.strengths.sum() == pytest.approx(0, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), models=st.integers(2, 6), count=st.integers(1, 60))
def test_neither_order_nor_sides_nor_names_matter(seed: int, models: int, count: int) -> None:
    left, right, won, table = battles(models, count, seed, 1)
    found = fit(Design.of(models, left, right, won, table))
    assert np.isfinite(found.strengths).all()
    order = np.random.default_rng(seed).permutation(count)
    shuffled = fit(Design.of(models, left[order], right[order], won[order], table[order]))
    assert shuffled.strengths == pytest.approx(found.strengths, abs=1e-6)
    turned = fit(Design.of(models, right, left, 1 - won, -table))
    assert turned.strengths == pytest.approx(found.strengths, abs=1e-6)
    renamed = fit(Design.of(models, models - 1 - left, models - 1 - right, won, table))
    assert renamed.strengths[::-1] == pytest.approx(found.strengths, abs=1e-6)
    assert renamed.drawn == found.drawn


def test_equal_battles_are_one_row() -> None:
    one, other, half = np.array([0, 0, 1, 0]), np.array([1, 1, 0, 1]), np.array([1.0, 1, 0, 0.5])
    design = Design.of(2, one, other, half)
    assert sorted(design.count) == [1, 1, 2]
    assert design.count.sum() == 4


def test_two_models_have_a_closed_form() -> None:
    wins, losses = 30, 10
    won = np.array([1.0] * wins + [0.0] * losses)
    zero, one = np.zeros(40, np.int64), np.ones(40, np.int64)
    found = fit(Design.of(2, zero, one, won))
    assert found.strengths[0] - found.strengths[1] == pytest.approx(np.log(wins / losses))


def test_the_side_that_wins_is_found() -> None:
    left, right, won, _ = battles(5, 20_000, 3, 0, 0)
    luck = np.random.default_rng(0).random(len(won)) < 0.2
    won[luck] = 1.0  # one in five is decided by standing on the left
    biased = fit(Design.of(5, left, right, won, np.ones((len(won), 1))))
    fair = fit(Design.of(5, left, right, won))
    assert biased.effects[0] > 0.3
    assert abs(fair.strengths).max() < abs(biased.strengths).max() * 1.2


def test_who_never_lost_gets_a_bound_and_an_honest_interval() -> None:
    zero, one = np.zeros(6, np.int64), np.ones(6, np.int64)
    design = Design.of(2, zero, one, np.ones(6))
    assert separated(design, design.count)
    found = fit(design)
    assert found.drawn
    assert 1 < found.strengths[0] < 5
    rounds = bootstrap(design, 200)
    low, high = rounds.interval(rounds.strengths)
    assert high[0] - low[0] > 1  # six wins tell little
    tied = Design.of(2, zero, one, np.array([1.0] * 5 + [0.5]))
    assert not fit(tied).drawn


def test_models_that_never_met_are_not_compared_for_free() -> None:
    design = Design.of(4, np.array([0, 1, 2, 3]), np.array([1, 0, 3, 2]), np.ones(4))
    assert separated(design, design.count)
    assert fit(design).strengths == pytest.approx(0, abs=1e-6)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(5)
    truth = np.linspace(-1, 1, 5)
    covered = []
    for seed in range(16):
        left = random.integers(0, 5, 400)
        right = (left + random.integers(1, 5, 400)) % 5
        won = random.random(400) < 1 / (1 + np.exp(truth[right] - truth[left]))
        rounds = bootstrap(Design.of(5, left, right, won.astype(np.float64)), 60, seed=seed)
        low, high = rounds.interval(rounds.strengths)
        covered.append((low <= truth) & (truth <= high))
    assert 0.85 <= np.mean(covered) < 1


def test_the_same_seed_gives_the_same_rounds() -> None:
    left, right, won, _ = battles(4, 200, 7)
    design = Design.of(4, left, right, won)
    assert (bootstrap(design, 20).strengths == bootstrap(design, 20).strengths).all()
    assert (bootstrap(design, 20).strengths != bootstrap(design, 20, seed=1).strengths).any()
