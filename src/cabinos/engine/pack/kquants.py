"""K-quants: Q4_K, Q5_K and Q6_K, vectorised over blocks with NumPy.

A super-block holds 256 weights. Q4_K and Q5_K split it into 8 groups of 32 with a scale and a
minimum each, w = d * scale * q - dmin * min; Q6_K into 16 groups of 16 with a scale, w = d * scale
* (q - 32). Group scales are themselves 6- or 8-bit integers under the f16 super-scales d, dmin.
Layouts are those of ggml-common.h (block_q4_K ...). As in ggml's reference quantiser, a group
tries a range of scales around the obvious one, solves for the best scale and minimum by weighted
least squares each time, and keeps the trial with the least error.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float32]
    Bytes: TypeAlias = NDArray[np.uint8]

SUPER = 256
CHUNK = 512  # super-blocks at a time: the working set (a few float32 copies) stays in L2 cache
TINY = 1e-15  # a group whose largest weight is below this is stored as zeros


def _nearest(x: "Floats", low: int, high: int) -> "Floats":
    return np.clip(np.rint(x), low, high)


def _divide(a: "Floats | float", b: "Floats") -> "Floats":
    """The quotient a / b, and 0 where b is 0."""
    out = np.zeros(np.broadcast_shapes(np.shape(a), b.shape), np.float32)
    return np.divide(a, b, out=out, where=b != 0)


def _columns(x: "Floats", group: int) -> "Floats":
    """The groups of `group` weights as columns: [group, groups]."""
    return np.ascontiguousarray(x.reshape(-1, group).T)


def _fit_scale_and_min(x: "Floats", top: int, first: float, trials: int) -> "tuple[Floats, Floats]":
    """The scale s and minimum m >= 0 of each group so that s * q - m is near x, 0 <= q <= top.

    x [32, groups]: one group a column, so that sums over a group run along whole rows. Large
    weights count more: each is weighted by |x| plus the group's RMS. Trial t spreads the group over
    top + first + t / 10 steps, rounds, and solves the 2 x 2 normal equations for s and m.
    Returns float32 [groups] twice.
    """
    weight = np.sqrt(np.mean(x * x, axis=0)) + np.abs(x)
    low = np.minimum(x.min(axis=0), 0)
    high = x.max(axis=0)
    weight_x = weight * x
    sum_w, sum_x = weight.sum(axis=0), weight_x.sum(axis=0)

    scale = (high - low) / np.float32(top)
    q = _nearest((x - low) * _divide(1, scale), 0, top)
    least_error = (weight * (scale * q + low - x) ** 2).sum(axis=0)
    for trial in range(trials):
        steps = _divide(top + first + 0.1 * trial, high - low)
        q = _nearest((x - low) * steps, 0, top)
        weight_q = weight * q
        sum_q, sum_qq = weight_q.sum(axis=0), (weight_q * q).sum(axis=0)
        sum_qx = (weight_x * q).sum(axis=0)
        determinant = sum_w * sum_qq - sum_q * sum_q
        new_scale = _divide(sum_w * sum_qx - sum_x * sum_q, determinant)
        new_low = _divide(sum_qq * sum_x - sum_q * sum_qx, determinant)
        # A minimum above zero cannot be stored: fit the scale alone.
        new_scale = np.where(new_low > 0, _divide(sum_qx, sum_qq), new_scale)
        new_low = np.minimum(new_low, 0)
        error = (weight * (new_scale * q + new_low - x) ** 2).sum(axis=0)
        better = (determinant > 0) & (error < least_error)
        least_error = np.where(better, error, least_error)
        scale = np.where(better, new_scale, scale)
        low = np.where(better, new_low, low)  # the next trial starts from this minimum
    return scale, -low


def _six_bit(values: "Floats") -> "tuple[Floats, Floats]":
    """Group values [blocks, 8] as integers 0..63 under one f16 super-scale [blocks, 1]."""
    largest = values.max(axis=1, keepdims=True)
    levels = _nearest(values * _divide(63, largest), 0, 63)
    return (largest / 63).astype(np.float16), levels


def _pack_six_bit(scales: "Bytes", mins: "Bytes") -> "Bytes":
    """Two times 8 six-bit numbers in 12 bytes: the upper bits of 4..7 ride on those of 0..3."""
    first = scales[:, :4] | (scales[:, 4:] >> 4 << 6)
    second = mins[:, :4] | (mins[:, 4:] >> 4 << 6)
    third = (scales[:, 4:] & 15) | (mins[:, 4:] & 15) << 4
    return np.concatenate([first, second, third], axis=1)


def _q45_k(x: "Floats", *, bits: int) -> "Bytes":
    """Super-blocks [n, 256] as Q4_K [n, 144] or Q5_K [n, 176]."""
    n, top = len(x), (1 << bits) - 1
    first, trials = (-1.0, 21) if bits == 4 else (-0.5, 16)
    scale, minimum = _fit_scale_and_min(_columns(x, 32), top, first, trials)
    d, scales = _six_bit(scale.reshape(n, 8))
    dmin, mins = _six_bit(minimum.reshape(n, 8))
    group_scale = (d.astype(np.float32) * scales)[:, :, None]
    group_min = (dmin.astype(np.float32) * mins)[:, :, None]
    groups = x.reshape(n, 8, 32)
    quants = _nearest(_divide(groups + group_min, group_scale), 0, top).astype(np.uint8)
    pairs = quants.reshape(n, 4, 2, 32)  # each byte: a weight of an even group, one of the odd
    low = (pairs[:, :, 0] & 15) | (pairs[:, :, 1] & 15) << 4
    parts = [d.view(np.uint8), dmin.view(np.uint8)]
    parts.append(_pack_six_bit(scales.astype(np.uint8), mins.astype(np.uint8)))
    if bits == 5:  # bit g of byte i: the fifth bit of weight i of group g
        shifts = np.arange(8, dtype=np.uint8)[:, None]
        parts.append(np.bitwise_or.reduce(quants >> 4 << shifts, axis=1))
    return np.concatenate([*parts, low.reshape(n, 128)], axis=1)


def _fit_scale(x: "Floats", half: int) -> "Floats":
    """The scale s of each group so that s * q is near x, -half <= q < half; weighted by x^2.

    x [16, groups] -> float32 [groups]. The largest weight is put on -half, where there is room.
    """
    peak = np.take_along_axis(x, np.abs(x).argmax(axis=0)[None], axis=0)[0]
    peak = np.where(np.abs(peak) < TINY, 0, peak)
    weight = x * x
    weight_x = weight * x
    best = best_gain = np.zeros_like(peak)
    for trial in [0, *range(-9, 0), *range(1, 10)]:
        q = _nearest(x * _divide(-(half + 0.1 * trial), peak), -half, half - 1)
        sum_qx, sum_qq = (weight_x * q).sum(axis=0), (weight * q * q).sum(axis=0)
        scale = _divide(sum_qx, sum_qq)
        better = scale * sum_qx > best_gain  # the error falls by exactly this gain
        best_gain = np.where(better, scale * sum_qx, best_gain)
        best = np.where(better, scale, best)
    return best


def _q6_k(x: "Floats") -> "Bytes":
    """Super-blocks [n, 256] as Q6_K [n, 210]."""
    n = len(x)
    scale = _fit_scale(_columns(x, 16), 32).reshape(n, 16)
    peak = np.take_along_axis(scale, np.abs(scale).argmax(axis=1, keepdims=True), axis=1)
    d = (peak / -128).astype(np.float16)
    scales = _nearest(scale * _divide(-128, peak), -128, 127)
    group_scale = (d.astype(np.float32) * scales)[:, :, None]
    groups = x.reshape(n, 16, 16)
    q = _nearest(_divide(groups, group_scale), -32, 31) + 32
    quarters = q.astype(np.uint8).reshape(n, 2, 4, 32)  # two halves of four runs of 32
    low = (quarters[:, :, :2] & 15) | (quarters[:, :, 2:] & 15) << 4
    shifts = np.array([0, 2, 4, 6], dtype=np.uint8)[:, None]
    high = np.bitwise_or.reduce(quarters >> 4 << shifts, axis=2)
    parts = [low.reshape(n, 128), high.reshape(n, 64), scales.astype(np.int8).view(np.uint8)]
    return np.concatenate([*parts, d.view(np.uint8)], axis=1)


def _by_chunks(quantize: "Callable[[Floats], Bytes]", weight: "Floats") -> "Bytes":
    """Apply `quantize` to the super-blocks of a matrix whose rows are multiples of 256."""
    blocks = np.ascontiguousarray(weight, dtype=np.float32).reshape(-1, SUPER)
    return np.concatenate([quantize(blocks[i : i + CHUNK]) for i in range(0, len(blocks), CHUNK)])


QUANTIZERS: "dict[str, Callable[[Floats], Bytes]]" = {
    "Q4_K": partial(_by_chunks, partial(_q45_k, bits=4)),
    "Q5_K": partial(_by_chunks, partial(_q45_k, bits=5)),
    "Q6_K": partial(_by_chunks, _q6_k),
}
