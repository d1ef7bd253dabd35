"""Verdicts in a file, a line each, so that an evaluation goes on where it was cut off."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cabinos.lab.evaluate.errors import EvalError
from cabinos.lab.evaluate.scoring import interval_of_mean, wilson
from cabinos.lab.evaluate.suite import Case, Kind, Suite, Verdict

__all__ = ["Results", "Row", "summary"]

OVERALL = ""  # the group of all cases


@dataclass(frozen=True, slots=True)
class Row:
    """One measure of a suite, over a group or over all its cases (group "")."""

    suite: str
    measure: str
    group: str
    score: float
    low: float  # of the 95 % interval
    high: float
    n: int
    seconds: float


class Results:
    """The file, as a context manager: what is in it counts as done, and verdicts are appended.

    `identity` says what is measured; it is the first line. Raises EvalError if the file holds
    results of something else, or is none of ours.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], *, fresh: bool = False) -> None:
        self.path = path
        self.done: dict[tuple[str, str], dict[str, Any]] = {}
        if fresh:
            path.unlink(missing_ok=True)
        before = _lines(path) if path.is_file() else []
        if before:
            if before[0] != {"measured": dict(identity)}:
                raise EvalError(
                    f"{path}: holds results of another model or seed. Give another --out, or "
                    "--fresh to begin anew."
                )
            self.done = {(line["suite"], line["case"]): line for line in before[1:]}
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}")  # without a last line that was cut off
        lines = before or [{"measured": dict(identity)}]
        partial.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        partial.replace(path)
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def add(self, suite: str, case: Case, verdict: Verdict, seconds: float) -> None:
        """Appends a verdict."""
        line = {
            "suite": suite,
            "case": case.id,
            "group": case.group,
            "scores": dict(verdict.scores),
            "weight": verdict.weight,
            "note": verdict.note,
            "seconds": round(seconds, 4),
        }
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.done[suite, case.id] = line

    def of(self, suite: str, cases: Sequence[Case]) -> list[dict[str, Any]]:
        """The lines of those of the cases that are done."""
        return [line for case in cases if (line := self.done.get((suite, case.id))) is not None]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()


def summary(suite: Suite, lines: Sequence[Mapping[str, Any]]) -> list[Row]:
    """For every measure: over all cases, then by group where there are several."""
    rows = []
    for measure, kind in suite.measures.items():
        counted = [line for line in lines if measure in line["scores"]]
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for line in counted:
            groups.setdefault(line["group"], []).append(line)
        if counted:
            rows.append(_row(suite.name, measure, OVERALL, kind, counted))
        if len(groups) > 1:
            rows += [
                _row(suite.name, measure, group, kind, members)
                for group, members in sorted(groups.items())
            ]
    return rows


def _row(
    suite: str, measure: str, group: str, kind: Kind, lines: Sequence[Mapping[str, Any]]
) -> Row:
    values = [float(line["scores"][measure]) for line in lines]
    weights = [float(line["weight"]) for line in lines]
    score = sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)
    if kind == "share":
        low, high = wilson(sum(values), len(values))
    else:
        low, high = interval_of_mean(values, weights)
    seconds = sum(float(line["seconds"]) for line in lines)
    return Row(suite, measure, group, score, low, high, len(lines), seconds)


def _lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of results; a last one that was cut off is left out."""
    lines: list[dict[str, Any]] = []
    try:
        texts = path.read_text(encoding="utf-8").splitlines(keepends=True)
        lines += [json.loads(text) for text in texts if text.endswith("\n")]
        if lines and ("measured" not in lines[0] or any("case" not in line for line in lines[1:])):
            raise ValueError
    except (ValueError, TypeError):
        raise EvalError(f"{path}: holds no results of cabin eval. Give another --out.") from None
    return lines
