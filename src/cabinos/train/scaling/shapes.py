"""Models of any size: the depth's dial turned by the width, so that sizes lie close together."""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import count
from math import ceil

from cabinos.train.config import HEAD, ModelConfig
from cabinos.train.errors import TrainError

__all__ = ["SMALLEST", "shape_of", "width_for", "widths"]

SMALLEST = 32  # wide: two heads of 16


def shape_of(width: int, *, vocabulary: int, context: int) -> ModelConfig:
    """The model of this width. Raises TrainError if no model has it.

    `ModelConfig.from_depth` takes width = 8 depth²; this is that rule the other way round, depth =
    √(width / 8), and the same models where the two meet (128, 256, 512, 768, …). Heads come in
    pairs that share keys, of about 64; SwiGLU's inner width is 8/3 of the width in steps of 64 (of
    32 for models narrower than 64).
    """
    if width not in widths(width):
        near = [w for w in widths(2 * max(width, SMALLEST)) if abs(w - width) <= width / 2]
        raise TrainError(f"no model is {width} wide; there are {', '.join(map(str, near[:8]))}.")
    heads = max(2, 2 * round(width / (2 * HEAD)))
    step = HEAD if width >= HEAD else HEAD // 2
    return ModelConfig(
        depth=max(1, round((width / 8) ** 0.5)),
        width=width,
        heads=heads,
        kv_heads=heads // 2,
        inner=step * ceil(8 / 3 * width / step),
        vocabulary=vocabulary,
        context=context,
        head=width // heads,
    )


def widths(largest: int) -> list[int]:
    """Those up to `largest`: powers of two and what lies halfway between, from 32 on."""
    return list(_up_to(largest))


def _up_to(largest: int) -> Iterator[int]:
    for power in count(5):
        for width in (2**power, 3 * 2 ** (power - 1)):
            if width > largest:
                return
            yield width


def width_for(parameters: float, *, vocabulary: int, context: int) -> int:
    """The width whose model is nearest to so many `parameters`, as a ratio."""

    def size(width: int) -> int:
        return shape_of(width, vocabulary=vocabulary, context=context).parameters

    known = widths(2**16)
    place = min(max(1, bisect_left(known, parameters, key=size)), len(known) - 1)
    below, above = known[place - 1], known[place]
    return below if parameters**2 < size(below) * size(above) else above
