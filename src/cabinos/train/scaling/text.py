"""A picture of points and a curve in characters, for where there is nothing but a terminal."""

from collections.abc import Sequence
from math import log10

__all__ = ["scatter"]

WIDTH, HEIGHT = 64, 16  # characters within the frame

Series = tuple[str, Sequence[tuple[float, float]]]  # a character, and points (x, y)


def scatter(series: Sequence[Series], *, x: str, y: str) -> str:
    """The series in one frame, later ones over earlier ones; x is drawn by its logarithm.

    `x` and `y` name the axes. Points that are no numbers are left out.
    """
    clean = [
        (mark, [(log10(a), b) for a, b in points if a > 0 and abs(b) < float("inf")])
        for mark, points in series
    ]
    every = [point for _, points in clean for point in points]
    if not every:
        return ""
    left, right = _around([a for a, _ in every])
    bottom, top = _around([b for _, b in every])
    cells = [[" "] * WIDTH for _ in range(HEIGHT)]
    for mark, points in clean:
        for a, b in points:
            column = round((a - left) / (right - left) * (WIDTH - 1))
            row = round((top - b) / (top - bottom) * (HEIGHT - 1))
            cells[row][column] = mark
    labels = [""] * HEIGHT
    labels[0], labels[-1] = f"{top:.3f}", f"{bottom:.3f}"
    side = max(map(len, labels))
    lines = [y]
    lines += [f"{label:>{side}} │{''.join(row)}" for label, row in zip(labels, cells, strict=True)]
    lines.append(f"{'':>{side}} └{'─' * WIDTH}")
    first, last = f"{10**left:.2g}", f"{10**right:.2g}"
    lines.append(f"{'':>{side}}  {first}{x:^{WIDTH - len(first) - len(last)}}{last}")
    return "\n".join(lines)


def _around(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
