"""Tasks with a kernel: whoever does it right is rewarded, and nobody else."""

import asyncio
from typing import Any

import pytest

from cabinos.kernel.driver import Message
from cabinos.lab.evaluate.endstate import Prompted
from cabinos.lab.evaluate.scoring import numbers
from cabinos.lab.practice import ToolUse, WordProblems
from cabinos.train.errors import CorpusError
from tests.lab.speakers import Speaker, asked, dumb, result

ROWS = [
    {"question": f"Ann has {n} pens and buys 1,200. How many?", "answer": f"so\n#### {1200 + n:,}"}
    for n in range(60)
]


def played(task: Any, model: Any, case: Any) -> float:
    with task.stage():
        reward: float = asyncio.run(task.play(model, case))
    return reward


@pytest.mark.parametrize("held", [False, True])
def test_who_knows_the_script_is_rewarded(held: bool) -> None:
    task = ToolUse()
    for number in range(6):
        case = task.case(number, held=held)
        assert played(task, Prompted(case.script), case) == 1.0
    assert task.case(3, held=held).script.template == task.case(3, held=held).script.template


def test_who_says_nothing_is_not() -> None:
    task = ToolUse()
    cases = (task.case(number, held=False) for number in range(12))
    case = next(case for case in cases if case.script.turns[0].calls)
    assert played(task, Speaker(dumb), case) == 0.0


def test_practice_and_test_have_no_template_in_common() -> None:
    task = ToolUse()
    names = [
        {task.case(number, held=held).script.template for number in range(60)}
        for held in (False, True)
    ]
    assert not names[0] & names[1]


def reckons(messages: list[Message]) -> str | tuple[str, dict[str, object]]:
    """Has the calculator add what the question has, and says what it said."""
    if returned := result(messages):
        return f"Of 2 kinds, she has {numbers(returned)[-1]}."
    first = numbers(asked(messages))[0]
    return "calculate", {"expression": f"{first} + 1200"}


def test_a_word_problem_is_right_by_its_last_number() -> None:
    task = WordProblems(ROWS)
    case = task.case(0, held=True)
    assert played(task, Speaker(reckons), case) == 1.0
    wrong = Speaker(lambda _: f"{case.answer} or maybe 7.")
    assert played(task, wrong, case) == 0.0
    assert played(task, Speaker(lambda _: "Many."), case) == 0.0


def test_word_problems_are_learnt_or_held() -> None:
    task = WordProblems(ROWS)
    sides = [{task.case(n, held=held).question for n in range(99)} for held in (False, True)]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 60


@pytest.mark.parametrize("rows", [[{"question": "x"}], [{"question": "x", "answer": "none"}]])
def test_what_is_no_word_problem_is_refused(rows: list[dict[str, str]]) -> None:
    with pytest.raises(CorpusError, match="no row of GSM8K"):
        WordProblems(rows)
    with pytest.raises(CorpusError, match="too few"):
        WordProblems(ROWS[:1])
