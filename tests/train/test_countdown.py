"""Countdown: the checker is exact, and nothing talks it into anything."""

import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.train.errors import CorpusError
from cabinos.train.rl.countdown import Countdown, Puzzle, solves, value, write_rows

PUZZLE = Puzzle((3, 5, 8), 16, "3 + 5 + 8")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 6), st.booleans())
def test_every_puzzle_has_its_solution(number: int, size: int, held: bool) -> None:
    puzzle = Countdown(size).case(number, held=held)
    assert len(puzzle.numbers) == size
    assert 0 < puzzle.target < 100
    assert solves(puzzle.solution, puzzle)
    assert puzzle == Countdown(size).case(number, held=held)


def test_no_puzzle_is_both_learnt_and_held() -> None:
    task = Countdown(2, 9)  # there are so few that they would meet

    def seen(held: bool) -> set[tuple[tuple[int, ...], int]]:
        cases = (task.case(number, held=held) for number in range(300))
        return {(tuple(sorted(case.numbers)), case.target) for case in cases}

    assert not seen(True) & seen(False)


@pytest.mark.parametrize(
    ("answer", "made"),
    [
        ("3 + 5 + 8", 16),
        ("8+5+3=16", 16),
        ("8 + 5 + 3 = 99", 16),  # what it says it makes is not read
        ("Let me see.\n(3 * 8) - 5", 19),
        ("3 × 8 − 5", 19),
        ("3/5/8", Fraction(3, 40)),
        ("((3))+(5+8)", 16),
    ],
)
def test_what_an_expression_makes(answer: str, made: Fraction) -> None:
    assert value(answer, PUZZLE.numbers) == made


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "\n",
        "16",
        "8 + 8",  # one twice, others not at all
        "3 + 5",
        "3 + 5 + 8 + 0",
        "8 ** 5 ** 3",
        "3 ** 5 + 8",
        "8 // 5 + 3",
        "8 % 5 + 3",
        "-3 + 5 + 8",
        "3 + 5 - -8",
        "3 + 5 / (8 - 8)",
        "0x3 + 5 + 8",
        "3_0 + 5 + 8",
        "3.0 + 5 + 8",
        "03 + 5 + 8",
        "3 5 8",
        "(3, 5, 8)",
        "3 + 5 + 8)",
        "__import__('os').system('true')",
        "[3, 5, 8][0] + 5 + 8",
        "3 + 5 + 8 and the rest",
        "٣ + 5 + 8",
        "3 + 5 + 8 if 1 else 0",
        "(" * 99 + "3+5+8" + ")" * 99,
        "3 + 5 + 8" + " " * 300 + "+ 0",
        "9" * 150 + "+3+5+8",
        "16 = 3 + 5 + 8",
    ],
)
def test_what_does_not_count(answer: str) -> None:
    assert not solves(answer, PUZZLE)


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(alphabet="0123456789+-*/() =\n×÷−", max_size=60))
def test_no_text_breaks_the_checker(answer: str) -> None:
    made = value(answer, (3, 5, 8))
    assert made is None or isinstance(made, Fraction)


def test_demonstrations_are_rows(tmp_path: Path) -> None:
    write_rows(Countdown(3), 5, tmp_path / "rows.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    task = Countdown(3)
    for number, row in enumerate(rows):
        asked, answered = row["messages"]
        assert asked["content"] == task.case(number, held=False).question
        assert solves(answered["content"], task.case(number, held=False))
    with pytest.raises(CorpusError, match="cannot be written"):
        write_rows(task, 1, tmp_path / "missing" / "rows.jsonl")
