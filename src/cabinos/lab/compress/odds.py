"""Logits to odds in integers, the same on every machine.

The engine's logits are bit-identical, but exp() is not: C libraries and vector units round it
differently, and one unit in the last place would derail a decoder. So e^x is taken from a table
instead. With k = floor((max - logit) · 4096 / ln 2),

    odds = (2^31 · 2^(-(k mod 4096) / 4096)) >> (k div 4096),  and 1 more,

so that nothing is impossible. The table is made with integer square roots. Only a subtraction and a
multiplication are in floating point, and those IEEE 754 defines to the last bit. Rounding the
exponent to 1/4096 of an octave costs about 10^-9 bits a token, the 1 about 10^-5.
"""

from functools import cache
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from cabinos.lab.compress.errors import CompressError

__all__ = ["cumulative"]

STEPS = 12  # bits of the exponent's fraction
UNIT = 31  # the likeliest token has 2^31
SCALE = np.float32(4096 / 0.6931471805599453)


@cache
def _powers() -> NDArray[np.uint32]:
    """2^31 · 2^(-i / 4096) for i = 0 … 4095, rounded down."""
    precision = 128
    root = 1 << (precision - 1)  # 1/2, of which 12 square roots make 2^(-1/4096)
    for _ in range(STEPS):
        root = isqrt(root << precision)
    power, powers = 1 << precision, []
    for _ in range(1 << STEPS):
        powers.append(power >> (precision - UNIT))
        power = power * root >> precision
    return np.array(powers, np.uint32)


def cumulative(logits: NDArray[np.float32]) -> NDArray[np.int64]:
    """Sums of the odds before each token: [rows, n] logits to [rows, n + 1]; `logits` are lost.

    Raises CompressError if a logit is not a number.
    """
    peak = logits.max(axis=1, keepdims=True)
    if not np.isfinite(peak).all():
        raise CompressError("the model's logits are not numbers; its file may be damaged.")
    np.subtract(peak, logits, out=logits)
    np.multiply(logits, SCALE, out=logits)
    np.minimum(logits, np.float32((UNIT << STEPS) | 4095), out=logits)
    exponent = logits.astype(np.int32)
    odds = _powers()[exponent & 4095]
    odds >>= (exponent >> STEPS).astype(np.uint32)
    odds += np.uint32(1)
    sums = np.zeros((len(logits), logits.shape[1] + 1), np.int64)
    np.cumsum(odds, axis=1, dtype=np.int64, out=sums[:, 1:])
    return sums
