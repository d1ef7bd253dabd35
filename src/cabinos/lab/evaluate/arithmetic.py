"""Suite `arithmetic`: random expressions asked in a fixed set of ways; the answer has the value."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import ClassVar

from cabinos.lab.evaluate.converse import Scene, converse
from cabinos.lab.evaluate.scoring import has_numbers
from cabinos.lab.evaluate.suite import Brain, Case, Kind, Need, Verdict

__all__ = ["Arithmetic", "expression"]

COUNT = 1000
CARRIERS = (
    "what is {e}?",
    "What's {e}",
    "{e}",
    "{e} =",
    "calculate {e}",
    "how much is {e}?",
    "Can you work out {e} for me?",
    "please compute {e}",
    "I need the result of {e}",
    "tell me what {e} is",
    "quick question: {e}?",
    "hey, what do you get for {e}",
)
PLACES = 6  # decimals of a value at most


class Arithmetic:
    """Share of expressions whose exact value is in the answer, by kind of expression."""

    name = "arithmetic"
    measures: ClassVar[Mapping[str, Kind]] = {"exact value": "share"}
    batch, workers = 1, 8
    needs: Need = "model"

    def __init__(self, seed: int, count: int = COUNT) -> None:
        self._cases = []
        for number in range(count):
            rng = Random(f"{seed}/arithmetic/{number}")  # noqa: S311 - not for secrets
            kind, text, value = expression(rng)
            request = rng.choice(CARRIERS).format(e=text)
            self._cases.append(Case(f"{number} {text}", kind, (request, value)))

    def cases(self) -> Sequence[Case]:
        """See `Suite`."""
        return self._cases

    async def judge(self, brain: Brain, cases: Sequence[Case]) -> Sequence[Verdict]:
        """See `Suite`."""
        assert brain.model is not None
        verdicts = []
        for case in cases:
            request, value = case.data
            talk = await converse(brain.model, [request], Scene(), seed=brain.seed)
            right = not talk.trouble and has_numbers(talk.answer, [value])
            note = "" if right else f"{request} -> {talk.trouble or talk.answer}"[:400]
            verdicts.append(Verdict({"exact value": float(right)}, note))
        return verdicts


def expression(rng: Random) -> tuple[str, str, Decimal]:
    """(kind, as it is written, value); the value has at most six decimals."""
    while True:
        kind = rng.choice(list(KINDS))
        text, value = KINDS[kind](rng)
        scaled = value * 10**PLACES
        if scaled.denominator == 1:
            return kind, text, (Decimal(int(scaled)) / 10**PLACES).normalize() + 0


def _two(rng: Random) -> tuple[str, Fraction]:
    a, b = rng.randint(1, 9999), rng.randint(1, 9999)
    sign = rng.choice("+-*")
    return f"{a} {sign} {b}", _apply(Fraction(a), sign, Fraction(b))


def _tight(rng: Random) -> tuple[str, Fraction]:
    a, b = rng.randint(2, 999), rng.randint(2, 99)
    sign = rng.choice("+-*/")
    return f"{a}{sign}{b}", _apply(Fraction(a), sign, Fraction(b))


def _decimals(rng: Random) -> tuple[str, Fraction]:
    a, b = (Fraction(rng.randint(11, 99_999), 10 ** rng.randint(1, 2)) for _ in range(2))
    sign = rng.choice("+-*")
    return f"{_written(a)} {sign} {_written(b)}", _apply(a, sign, b)


def _three(rng: Random) -> tuple[str, Fraction]:
    a, b, c = (Fraction(rng.randint(2, 99)) for _ in range(3))
    one, two = rng.choice("+-"), rng.choice("*+-")
    if rng.random() < 0.5:
        return f"({a} {one} {b}) {two} {c}", _apply(_apply(a, one, b), two, c)
    if two == "*":
        return f"{a} {one} {b} * {c}", _apply(a, one, b * c)
    return f"{a} {one} {b} {two} {c}", _apply(_apply(a, one, b), two, c)


def _percent(rng: Random) -> tuple[str, Fraction]:
    share, whole = rng.randint(1, 99), rng.randint(1, 2000)
    return f"{share}% of {whole}", Fraction(share * whole, 100)


def _in_words(rng: Random) -> tuple[str, Fraction]:
    a, b = rng.randint(2, 999), rng.randint(2, 99)
    word, sign = rng.choice(
        [("plus", "+"), ("minus", "-"), ("times", "*"), ("divided by", "/"),
         ("multiplied by", "*")]
    )  # fmt: skip
    return f"{a} {word} {b}", _apply(Fraction(a), sign, Fraction(b))


def _power(rng: Random) -> tuple[str, Fraction]:
    base, exponent = rng.randint(2, 30), rng.randint(2, 4)
    text = rng.choice([f"{base} to the power of {exponent}", f"{base}^{exponent}"])
    return text, Fraction(base) ** exponent


def _root(rng: Random) -> tuple[str, Fraction]:
    root = rng.randint(2, 99)
    return f"the square root of {root * root}", Fraction(root)


KINDS = {
    "two numbers": _two,
    "without blanks": _tight,
    "decimals": _decimals,
    "three numbers": _three,
    "percent": _percent,
    "in words": _in_words,
    "powers": _power,
    "roots": _root,
}


def _apply(a: Fraction, sign: str, b: Fraction) -> Fraction:
    return {"+": a.__add__, "-": a.__sub__, "*": a.__mul__, "/": a.__truediv__}[sign](b)


def _written(number: Fraction) -> str:
    return f"{Decimal(number.numerator) / Decimal(number.denominator):f}"
