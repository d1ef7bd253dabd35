"""Calibration: what is measured is what the formulas say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.train.prefer.calibration import calibration_error, fit_temperature, measures


def honest(count: int, seed: int = 0) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Differences whose signs are as often right as σ says."""
    random = np.random.default_rng(seed)
    size = np.abs(random.normal(0, 2, count))
    return np.where(random.random(count) < 1 / (1 + np.exp(-size)), size, -size)


def test_the_honest_are_calibrated() -> None:
    z = honest(100_000)
    assert calibration_error(z) < 0.01
    assert fit_temperature(z) == pytest.approx(1, abs=0.03)


def test_the_boastful_are_not() -> None:
    z = honest(20_000)
    assert calibration_error(5 * z) > 0.1
    assert calibration_error(5 * z / fit_temperature(5 * z)) < 0.02


@settings(max_examples=20, deadline=None)
@given(st.floats(0.1, 10))
def test_the_temperature_undoes_a_scale(scale: float) -> None:
    z = honest(2000, seed=1)
    assert fit_temperature(scale * z) == pytest.approx(scale * fit_temperature(z), rel=1e-6)


def test_the_error_by_hand() -> None:
    z = np.array([np.log(3), np.log(3), np.log(3), -np.log(3)])  # sure to 3/4, right 3 times of 4
    gaps = [abs(right - 0.75) for right in (1, 1, 1, 0)]  # a bin for each
    assert calibration_error(z) == pytest.approx(np.mean(gaps))


def test_no_difference_is_half_right() -> None:
    found = measures(np.zeros(10))
    assert found["accuracy"] == 0.5
    assert found["loss"] == pytest.approx(np.log(2))
    assert found["ece"] == 0


def test_always_right_has_the_lowest_temperature() -> None:
    assert fit_temperature(np.ones(4)) == pytest.approx(0.01)
    assert fit_temperature(-np.ones(4)) == pytest.approx(100)
