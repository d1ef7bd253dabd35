"""Tasks for `cabin rl` that take a kernel: conversations with tools, and word problems.

What is practised is judged as `cabin eval` judges: by the state that a conversation leaves behind,
and by numbers. Held-out cases are made of templates, words and problems that no training sees.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from cabinos.lab.evaluate.converse import Scene, backstage, converse
from cabinos.lab.evaluate.scoring import numbers
from cabinos.lab.evaluate.templates import Performance, ScriptFails, Templates, perform
from cabinos.train.errors import CorpusError

if TYPE_CHECKING:
    from decimal import Decimal

    from cabinos.kernel.driver import Model

__all__ = ["Problem", "ToolUse", "WordProblems"]

HELD = 10  # one word problem in so many is never learnt from
STEPS = 8  # thoughts on a word problem, at most


class ToolUse:
    """Conversations of the training templates; 1 if one ends in the state that it should."""

    name = "tools"

    def __init__(self, data: Path | None = None) -> None:
        """`data`: a data folder, for more words."""
        self._data = data
        self.fingerprint = f"tools-{data is not None}"

    def case(self, number: int, *, held: bool) -> Performance:
        """See `Task`. Held-out cases are of the templates that are held out."""
        return Templates.one(Random(f"rl/tools/{held}/{number}"), held, self._data)[1]  # noqa: S311

    def stage(self) -> AbstractContextManager[object]:
        """See `Task`."""
        return backstage()

    async def play(self, model: "Model", case: Performance) -> float:
        """See `Task`. A script that cannot be ended rightly teaches nothing: all get 0."""
        try:
            problem, _ = await perform(model, case, 0)
        except ScriptFails:
            return 0.0
        return float(not problem)


@dataclass(frozen=True, slots=True)
class Problem:
    """A word problem and the number that it comes to."""

    question: str
    answer: "Decimal"


class WordProblems:
    """GSM8K with a calculator; 1 if the last number of the answer is the right one."""

    name = "gsm8k"

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """`rows`: of GSM8K's training part. Raises CorpusError if they are none."""
        self._sides: dict[bool, list[Problem]] = {True: [], False: []}
        for row in rows:
            try:
                gold = numbers(row["answer"].rpartition("####")[2])
                self._sides[_apart(row["question"])].append(Problem(row["question"], gold[-1]))
            except (KeyError, AttributeError, IndexError):
                raise CorpusError(f"no row of GSM8K: {json.dumps(row)[:200]}") from None
        if not all(self._sides.values()):
            raise CorpusError("too few rows of GSM8K: some have to be held out.")
        self.fingerprint = f"gsm8k-{len(rows)}"

    def case(self, number: int, *, held: bool) -> Problem:
        """See `Task`."""
        side = self._sides[held]
        return side[number % len(side)]

    def stage(self) -> AbstractContextManager[object]:
        """See `Task`."""
        return backstage()

    async def play(self, model: "Model", case: Problem) -> float:
        """See `Task`."""
        scene = Scene(only=("calculate",), steps=STEPS)
        talk = await converse(model, [case.question], scene)
        found = numbers(talk.answer)
        return float(not talk.trouble and bool(found) and found[-1] == case.answer)


def _apart(question: str) -> bool:
    return int.from_bytes(hashlib.sha256(question.encode()).digest()[:8]) % HELD == 0
