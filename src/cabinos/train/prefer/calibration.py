"""How good predicted preferences are: how often right, and how right about how sure they are.

z is the difference of two rewards; the model says that the first answer is preferred with
probability σ(z) (Bradley and Terry 1952). Here the first answer always was the one preferred.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["calibration_error", "fit_temperature", "measures"]

BINS = 10


def measures(z: "NDArray[np.float64]", seed: int = 0) -> dict[str, float]:
    """`accuracy`, `loss` (nats a pair), `ece`, and `temperature`, `ece_fitted` at that temperature.

    The temperature is fitted on one half of the pairs and judged on the other, both ways round.
    """
    order = np.random.default_rng(seed).permutation(len(z))
    halves = order[::2], order[1::2]
    fitted, temperatures = [], []
    for fit, judged in (halves, halves[::-1]):
        temperatures.append(fit_temperature(z[fit]))
        fitted.append(calibration_error(z[judged] / temperatures[-1]))
    return {
        "accuracy": _accuracy(z),
        "loss": float(np.logaddexp(0, -z).mean()),
        "ece": calibration_error(z),
        "temperature": float(np.exp(np.log(temperatures).mean())),
        "ece_fitted": float(np.mean(fitted)),
    }


def _accuracy(z: "NDArray[np.float64]") -> float:
    """The share of pairs told apart rightly; no difference is half right."""
    return float(((z > 0) + 0.5 * (z == 0)).mean())


def calibration_error(z: "NDArray[np.float64]") -> float:
    """Expected calibration error (Naeini et al. 2015; Guo et al. 2017, arXiv:1706.04599, eq. 3).

    |accuracy - confidence|, averaged over ten bins of as many pairs each, ordered by confidence.
    """
    confidence = 1 / (1 + np.exp(-np.abs(z)))
    right = (z > 0) + 0.5 * (z == 0)
    order = np.argsort(confidence, kind="stable")
    bins = [part for part in np.array_split(order, min(BINS, len(z))) if len(part)]
    gaps = [abs(right[part].mean() - confidence[part].mean()) * len(part) for part in bins]
    return float(sum(gaps) / max(1, len(z)))


def fit_temperature(z: "NDArray[np.float64]") -> float:
    """T that makes the pairs likeliest under σ(z / T) (Guo et al. 2017, §4.2); within 0.01 to 100.

    With s = 1/T the loss, the mean of log(1 + e^(-s z)), is convex in s: its slope is bisected.
    """
    low, high = 0.01, 100.0
    if not len(z):
        return 1.0
    for _ in range(60):
        s = (low * high) ** 0.5
        slope = -(z / (1 + np.exp(np.clip(s * z, -500, 500)))).mean()
        low, high = (low, s) if slope > 0 else (s, high)
    return float(1 / (low * high) ** 0.5)
