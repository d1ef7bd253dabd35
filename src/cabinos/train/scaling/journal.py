"""Predictions that were written down before their runs: dated, chained by hashes, never changed.

`predictions.jsonl` has a line for each prediction and each outcome. A line's `hash` is SHA-256 over
the line without it; it holds the hash of the line before (`before`), so that no line can be
changed, dropped or put in between without breaking all that follow. A prediction names the runs
that it rests on by a hash, and is refused if its run has begun. What this cannot prove is the clock
of who wrote it: publish the hash of a prediction, and it does.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from cabinos.train.errors import TrainError
from cabinos.train.scaling.fit import Fit
from cabinos.train.scaling.ladder import Ladder, Result, Rung

__all__ = ["Outcome", "Prediction", "check", "predict", "predictions"]

FILE = "predictions.jsonl"
FIRST = "0" * 64


@dataclass(frozen=True)
class Prediction:
    """What was foreseen of a run."""

    name: str
    date: str  # UTC
    rung: Rung
    parameters: int
    flops: float
    loss: float
    low: float  # of the 95 % interval
    high: float
    law: dict[str, float]
    rungs: str  # hash of the results that the law was fitted to
    hash: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    name: str
    date: str
    predicted: float
    measured: float
    error: float  # measured / predicted - 1
    inside: bool  # the interval
    hash: str = ""


def predict(ladder: Ladder, fit: Fit, width: int, tokens: float) -> Prediction:
    """Write down the loss of a run that has not begun.

    Raises TrainError if it has begun, or was predicted before, or the journal is damaged.
    """
    updates = max(1, round(tokens / ladder.base.batch_tokens))
    length = updates * ladder.base.batch_tokens
    shaped = Rung("", width, length, 0.0)
    flops = ladder.flops(shaped)
    rung = Rung(f"{flops:.2g}-w{width}", width, length, flops)
    if any((known.width, known.tokens) == (width, length) for known in ladder.rungs):
        raise TrainError(f"{rung.name}: a rung of this ladder already; the law rests on it.")
    if ladder.place(rung).exists():
        raise TrainError(f"{ladder.place(rung)}: this run has begun; that is too late.")
    if any(known.rung == rung for known in predictions(ladder)):
        raise TrainError(f"{rung.name}: predicted before; a run is predicted once.")
    _, shape = rung.run(ladder.base, ladder.vocabulary)
    low, high = fit.loss_interval(shape.parameters, length)
    loss = float(fit.law.loss(shape.parameters, length))
    facts = Prediction(
        rung.name, _now(), rung, shape.parameters, flops, loss, low, high, asdict(fit.law),
        _digest([asdict(result) for result in ladder.results()]),
    )  # fmt: skip
    return _prediction(_append(ladder, "prediction", asdict(facts)))


def check(ladder: Ladder, prediction: Prediction) -> Outcome:
    """Compare a prediction with its run, and write that down, once.

    Raises TrainError if the run is not done, or has other numbers than were predicted for.
    """
    for line in _lines(ladder):
        if line["kind"] == "outcome" and line["name"] == prediction.name:
            return _outcome(line)
    result = ladder.result(prediction.rung)
    if result is None:
        raise TrainError(
            f"{prediction.name}: not run yet. Run it: cabin scale run {ladder.folder}."
        )
    _compare(ladder, prediction, result)
    facts = Outcome(
        prediction.name, _now(), prediction.loss, result.loss, result.loss / prediction.loss - 1,
        prediction.low <= result.loss <= prediction.high,
    )  # fmt: skip
    return _outcome(_append(ladder, "outcome", asdict(facts)))


def _compare(ladder: Ladder, prediction: Prediction, result: Result) -> None:
    expected = (prediction.parameters, prediction.rung.tokens)
    if (result.parameters, result.tokens) != expected:
        raise TrainError(f"{ladder.place(prediction.rung)}: not the run that was predicted.")


def predictions(ladder: Ladder) -> list[Prediction]:
    """All that were made. Raises TrainError if the journal was changed."""
    return [_prediction(line) for line in _lines(ladder) if line["kind"] == "prediction"]


def _prediction(line: dict[str, Any]) -> Prediction:
    facts = {k: v for k, v in line.items() if k not in ("kind", "before")}
    return Prediction(**facts | {"rung": Rung(**facts["rung"])})


def _outcome(line: dict[str, Any]) -> Outcome:
    return Outcome(**{k: v for k, v in line.items() if k not in ("kind", "before")})


def _append(ladder: Ladder, kind: str, facts: dict[str, Any]) -> dict[str, Any]:
    before = FIRST
    for line in _lines(ladder):
        before = line["hash"]
    line = {"kind": kind, **facts, "before": before}
    del line["hash"]
    line["hash"] = _digest(line)
    with (ladder.folder / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return line


def _lines(ladder: Ladder) -> Iterator[dict[str, Any]]:
    """The lines of the journal, each checked against the one before."""
    path, before = ladder.folder / FILE, FIRST
    if not path.is_file():
        return
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            whole = line["before"] == before and line["hash"] == _digest(
                {k: v for k, v in line.items() if k != "hash"}
            )
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            raise TrainError(
                f"{path}, line {number}: changed after it was written, or cut off. Predictions "
                "from here on prove nothing; begin another ladder."
            )
        before = line["hash"]
        yield line


def _digest(facts: Any) -> str:
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
