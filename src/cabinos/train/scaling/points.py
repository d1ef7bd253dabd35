"""What a law is fitted to: runs as (parameters, tokens, operations, loss), wherever they stand."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cabinos.train.errors import TrainError

__all__ = ["FEWEST", "Points", "points_of", "read_points"]

FEWEST = 6  # points, for five numbers

NAMES = {
    "parameters": ("parameters", "params", "n", "model size", "model_size"),
    "tokens": ("tokens", "d", "training tokens", "training_tokens"),
    "flops": ("flops", "c", "training flop", "training_flop", "compute"),
    "loss": ("loss", "l"),
}
"""What the columns may be called, in any case."""


@dataclass(frozen=True)
class Points:
    """Runs, one to an index: [n] each."""

    parameters: NDArray[np.float64]
    tokens: NDArray[np.float64]
    flops: NDArray[np.float64]
    loss: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.loss)

    @classmethod
    def of(cls, rows: Iterable[Sequence[float]]) -> "Points":
        """From rows of (parameters, tokens, flops, loss)."""
        table = np.array(list(rows), np.float64).reshape(-1, 4)
        return cls(*table.T)

    def where(self, chosen: NDArray[Any]) -> "Points":
        """Those that a mask or an index chooses."""
        columns = (self.parameters, self.tokens, self.flops, self.loss)
        return Points(*(column[chosen] for column in columns))

    def with_data(self, ratio: float) -> "Points":
        """Those with at least so many tokens to a parameter."""
        return self.where(self.tokens / self.parameters >= ratio)


def read_points(path: Path) -> Points:
    """From a CSV or JSONL file with `parameters`, `tokens`, `flops` (two of them) and `loss`.

    The third is C = 6 N D. Raises TrainError, with the line, for what is not such a file.
    """
    return points_of(_rows(path), str(path))


def points_of(rows: Iterable[tuple[int, Mapping[str, Any]]], source: str) -> Points:
    """From numbered rows with such columns. Raises TrainError, with `source` and the number."""
    points = Points.of(_numbers(row, f"{source}, line {number}") for number, row in rows)
    if not len(points):
        raise TrainError(f"{source}: no runs in it.")
    return points


def _rows(path: Path) -> Iterable[tuple[int, Mapping[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TrainError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}).") from None
    except OSError as error:
        raise TrainError(f"{path}: cannot be read ({error.strerror}).") from None
    if text.lstrip().startswith("{"):
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield number, _object(line, f"{path}, line {number}")
        return
    reader = csv.DictReader(text.splitlines())
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise TrainError(f"{path}, line {reader.line_num}: not CSV ({error}).") from None


def _object(line: str, where: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise TrainError(f"{where}: not JSON ({error}).") from None
    if not isinstance(row, dict):
        raise TrainError(f"{where}: not a JSON object.")
    return row


def _numbers(row: Mapping[str, Any], where: str) -> tuple[float, float, float, float]:
    """(parameters, tokens, flops, loss) of a row, the missing one of the first three derived."""
    plain = {str(key).strip().lower(): value for key, value in row.items()}
    found: dict[str, float] = {}
    for column, names in NAMES.items():
        given = next((plain[name] for name in names if plain.get(name) not in (None, "")), None)
        if given is None:
            continue
        try:
            found[column] = float(given)
        except (TypeError, ValueError):
            raise TrainError(f"{where}: {column} is no number: {given!r}.") from None
        if not 0 < found[column] < float("inf"):
            raise TrainError(f"{where}: {column} must be positive, not {given}.")
    if "loss" not in found or len(found) < 3:
        raise TrainError(
            f"{where}: needs loss, and two of parameters, tokens and flops; there are "
            f"{', '.join(found) or 'none of them'}."
        )
    n, d, c = (found.get(name) for name in ("parameters", "tokens", "flops"))
    if c is None:
        assert n is not None
        assert d is not None
        c = 6 * n * d
    elif d is None:
        assert n is not None
        d = c / (6 * n)
    elif n is None:
        n = c / (6 * d)
    return n, d, c, found["loss"]
