"""Countdown: make a number out of others, each once, with + - * / and parentheses.

The checker is exact. An answer is parsed, never evaluated: its tree may hold whole numbers and four
operations, and is computed in fractions. Neither `**` nor `//` is among them, nor a number that was
not given, nor one twice.
"""

import ast
import hashlib
import json
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from cabinos.kernel.driver import Message, ThinkRequest
from cabinos.kernel.errors import KernelError
from cabinos.train.errors import CorpusError

if TYPE_CHECKING:
    from cabinos.kernel.driver import Model

__all__ = ["Countdown", "Puzzle", "solves", "value", "write_rows"]

LONGEST = 200  # characters of an answer that are read
WRITTEN = re.compile(r"[0-9+\-*/() ]+")
SIGNS = str.maketrans("×÷−", "*/-")
HELD = 10  # one puzzle in so many is never learnt from
TOKENS = 64  # of an answer


@dataclass(frozen=True, slots=True)
class Puzzle:
    """Numbers, what to make of them, and one way to do it."""

    numbers: tuple[int, ...]
    target: int
    solution: str

    @property
    def question(self) -> str:
        """As it is asked."""
        given = ", ".join(map(str, self.numbers))
        return f"Make {self.target} from {given}. Use each number once, with + - * / and ( )."


class Countdown:
    """Puzzles of `size` numbers from 1 to `largest`; the reward is 1 or 0."""

    name = "countdown"

    def __init__(self, size: int = 3, largest: int = 20) -> None:
        self._size, self._largest = size, largest
        self.fingerprint = f"countdown-{size}-{largest}"

    def case(self, number: int, *, held: bool) -> Puzzle:
        """See `Task`. Which puzzles are held depends on numbers and target, in any order."""
        rng = Random(f"countdown/{held}/{number}")  # noqa: S311 - not for secrets
        while True:
            puzzle = _puzzle(rng, self._size, self._largest)
            if _apart(puzzle) == held:
                return puzzle

    def stage(self) -> AbstractContextManager[object]:
        """See `Task`."""
        return nullcontext()

    async def play(self, model: "Model", case: Puzzle) -> float:
        """See `Task`."""
        request = ThinkRequest((Message("user", case.question),), max_tokens=TOKENS)
        try:
            thought = await model.think(request)
        except KernelError:
            return 0.0
        return float(solves(thought.text, case))


def solves(answer: str, puzzle: Puzzle) -> bool:
    """Whether the last line of the answer makes the target, by the rules."""
    return value(answer, puzzle.numbers) == puzzle.target


def value(answer: str, numbers: Sequence[int]) -> Fraction | None:
    """What the expression in the last line makes; None unless it uses each number once.

    What stands behind an equals sign is not read: it is the model's opinion.
    """
    lines = answer.strip().splitlines()
    text = lines[-1].partition("=")[0].strip().translate(SIGNS) if lines else ""
    if len(text) > LONGEST or not WRITTEN.fullmatch(text):
        return None
    used: list[int] = []
    try:
        made = _computed(ast.parse(text, mode="eval").body, used)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None
    return made if sorted(used) == sorted(numbers) else None


def _computed(node: ast.expr, used: list[int]) -> Fraction:
    """The value of a tree; its numbers go to `used`. Raises ValueError for what is not allowed."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        used.append(node.value)
        return Fraction(node.value)
    if isinstance(node, ast.BinOp):
        left, right = _computed(node.left, used), _computed(node.right, used)
        match node.op:
            case ast.Add():
                return left + right
            case ast.Sub():
                return left - right
            case ast.Mult():
                return left * right
            case ast.Div():
                return left / right
    raise ValueError("not among the four operations")


def write_rows(task: Countdown, count: int, out: Path) -> None:
    """Demonstrations to fine-tune on first. Raises CorpusError if they cannot be written."""
    try:
        with out.open("w", encoding="utf-8") as file:
            for number in range(count):
                puzzle = task.case(number, held=False)
                messages = [
                    {"role": "user", "content": puzzle.question},
                    {"role": "assistant", "content": puzzle.solution},
                ]
                file.write(json.dumps({"messages": messages}) + "\n")
    except OSError as error:
        raise CorpusError(f"{out}: cannot be written ({error.strerror or error}).") from None


def _puzzle(rng: Random, size: int, largest: int) -> Puzzle:
    """Numbers joined two at a time by chance, until a whole positive number below 100 is left."""
    while True:
        numbers = [rng.randint(1, largest) for _ in range(size)]
        terms = [(Fraction(number), str(number)) for number in numbers]
        while len(terms) > 1:
            (a, left), (b, right) = (terms.pop(rng.randrange(len(terms))) for _ in range(2))
            sign = rng.choice("+-*/")
            if sign == "/" and (b == 0 or (a / b).denominator != 1):
                sign = "+"
            made = {"+": a + b, "-": a - b, "*": a * b}[sign] if sign != "/" else a / b
            terms.append((made, f"({left} {sign} {right})"))
        ((target, text),) = terms
        if 0 < target < 100:
            return Puzzle(tuple(numbers), int(target), text[1:-1] if size > 1 else text)


def _apart(puzzle: Puzzle) -> bool:
    name = f"{sorted(puzzle.numbers)} {puzzle.target}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % HELD == 0
