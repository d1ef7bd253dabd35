"""Device: arithmetic, exactly.

Numbers are fractions, so 0.1 + 0.2 is 0.3. Roots that do not come out even, and decimals that do
not end, are marked with ≈.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, DecimalException, localcontext
from fractions import Fraction
from statistics import median
from typing import Annotated, Any

from pydantic import Field

from cabinos.drivers.arithmetic import Apply, Node, parse
from cabinos.drivers.numerals import decimal_of, rounded
from cabinos.kernel.driver import Driver, tool
from cabinos.kernel.errors import ToolError

__all__ = ["Value", "calculate", "driver", "evaluate", "said"]

MAX_BITS = 4_000  # of a numerator or denominator: some 1,200 digits
MAX_SHOWN = 60  # digits of an integer that is written out
MAX_PLACES = 15  # decimals of a number that is written as it is
PLACES, DIGITS = 6, 6  # decimals, and significant digits below 1, of one that is rounded
PRECISION = 50  # digits of a root
MAX_FACTORIAL = 400
PI = Fraction("3.14159265358979323846264338327950288419716939937510")
E = Fraction("2.71828182845904523536028747135266249775724709369995")


@dataclass(frozen=True, slots=True)
class Value:
    """A number; not `exact`: what is nearest to it among numbers of 50 digits."""

    number: Fraction
    exact: bool = True


def driver(_config: Mapping[str, Any]) -> Driver:
    """The calculator. It needs no configuration."""
    return Driver("calculate", tools=[calculate])


def said(_arguments: Mapping[str, Any], result: str) -> str:
    """`15% of 80 is 12`, `1/3 is about 0.333333`."""
    return result.replace(" = ", " is ").replace(" ≈ ", " is about ")


@tool(
    effect="pure",
    label="trusted",
    says=said,
    hints="<number> calculate compute work out how much is plus minus times divided by multiply "
    "add subtract sum product percent % off discount tip tax square root squared cubed power half "
    "third quarter double average total math arithmetic equals 2+2 cost costs price pay paid each "
    "split bill altogether left over more dollars euros of them",
)
async def calculate(
    expression: Annotated[
        str,
        Field(
            min_length=1,
            max_length=300,
            description="like 12*3.5 or 15% of 80",
            json_schema_extra={"x-free": "arithmetic", "x-copy": "arithmetic"},
        ),
    ],
) -> str:
    """Calculates, exactly. Numbers and operations in signs or in words."""
    tree = parse(expression)
    value = evaluate(tree)
    unit = "%" if isinstance(tree, Apply) and tree.operation == "percentage" else ""
    return f"{' '.join(expression.split()).rstrip('=? ')} {written(value)}{unit}"


def written(value: Value) -> str:
    """`= 12.5` or `≈ 0.333333`."""
    text = decimal_of(value.number, MAX_PLACES) if value.exact else None
    if text is not None and len(text) <= MAX_SHOWN:
        return f"= {text}"
    return f"≈ {rounded(value.number, PLACES, DIGITS)}"


def evaluate(node: Node) -> Value:
    """The value of a tree without a variable. Raises ToolError where there is none."""
    if isinstance(node, Fraction):
        return Value(node)
    if node.operation in CONSTANTS:
        return Value(CONSTANTS[node.operation], exact=False)
    values = [evaluate(operand) for operand in node.operands]
    if node.operation == "^":
        return _power(*values)
    if node.operation in ("sqrt", "cbrt"):
        return _power(values[0], Value(Fraction(1, 2 if node.operation == "sqrt" else 3)))
    if node.operation not in OPERATIONS:
        raise ToolError(f"{node.operation!r} is not arithmetic; plot_function draws it.")
    numbers = [value.number for value in values]
    try:
        number = Fraction(OPERATIONS[node.operation](*numbers))
    except ZeroDivisionError:
        raise ToolError("that divides by zero.") from None
    return _bounded(Value(number, all(value.exact for value in values)))


CONSTANTS = {"pi": PI, "e": E}


def _sum(*numbers: Fraction) -> Fraction:
    return sum(numbers, Fraction(0))


def _factorial(number: Fraction) -> int:
    if number.denominator != 1 or not 0 <= number <= MAX_FACTORIAL:
        raise ToolError(f"a factorial is of a whole number from 0 to {MAX_FACTORIAL}.")
    return math.factorial(number.numerator)


def _whole(function: Callable[..., int]) -> Callable[..., int]:
    def of(*numbers: Fraction) -> int:
        if any(number.denominator != 1 for number in numbers):
            raise ToolError("divisors and multiples are of whole numbers.")
        return function(*(number.numerator for number in numbers))

    return of


OPERATIONS: dict[str, Callable[..., Fraction | int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "mod": lambda a, b: a % b,
    "negative": lambda a: -a,
    "abs": abs,
    "percent": lambda a: a / 100,
    "percentage": lambda part, whole: 100 * part / whole,
    "factorial": _factorial,
    "sum": _sum,
    "mean": lambda *numbers: _sum(*numbers) / len(numbers),
    "median": lambda *numbers: median(numbers),
    "product": lambda *numbers: math.prod(numbers, start=Fraction(1)),
    "max": lambda *numbers: max(numbers),
    "min": lambda *numbers: min(numbers),
    "difference": lambda a, b: abs(a - b),
    "quotient": lambda a, b: a / b,
    "gcd": _whole(math.gcd),
    "lcm": _whole(math.lcm),
}


def _bounded(value: Value) -> Value:
    if max(value.number.numerator.bit_length(), value.number.denominator.bit_length()) > MAX_BITS:
        raise ToolError("the number is too large to calculate with.")
    return value


def _power(base: Value, exponent: Value) -> Value:
    number, power = base.number, exponent.number
    if number == 0 and power < 0:
        raise ToolError("that divides by zero.")
    if power.denominator == 1:
        bits = max(number.numerator.bit_length(), number.denominator.bit_length())
        trivial = number in (0, 1, -1)
        if not trivial and abs(power) * bits > MAX_BITS:
            raise ToolError("the number is too large to calculate with.")
        exponent_ = power.numerator if not trivial else power.numerator % 2 + 2 * bool(power)
        return Value(number**exponent_, base.exact and exponent.exact)
    if number < 0:
        if power.denominator % 2 == 0:
            raise ToolError("a negative number has no such root.")
        if power.denominator < 1000:
            positive = _power(Value(-number, base.exact), exponent)
            sign = -1 if power.numerator % 2 else 1
            return Value(sign * positive.number, positive.exact)
    if base.exact and exponent.exact and power.denominator <= 100:
        root = _exact_root(number, power.denominator)
        if root is not None:
            return _power(Value(root), Value(Fraction(power.numerator)))
    return _bounded(Value(_approximate(number, power), exact=False))


def _exact_root(number: Fraction, degree: int) -> Fraction | None:
    roots = [_integer_root(part, degree) for part in (number.numerator, number.denominator)]
    if roots[0] is None or roots[1] is None:
        return None
    return Fraction(roots[0], roots[1])


def _integer_root(number: int, degree: int) -> int | None:
    """The integer whose power this is, by bisection; None if there is none."""
    low, high = 0, 1 << (number.bit_length() // degree + 1)
    while low < high:
        middle = (low + high) // 2
        if middle**degree < number:
            low = middle + 1
        else:
            high = middle
    return low if low**degree == number else None


def _approximate(number: Fraction, power: Fraction) -> Fraction:
    try:
        with localcontext() as context:
            context.prec, context.Emax, context.Emin = PRECISION, 1_000, -1_000
            base = Decimal(number.numerator) / Decimal(number.denominator)
            return Fraction(base ** (Decimal(power.numerator) / Decimal(power.denominator)))
    except (DecimalException, OverflowError, ValueError):
        raise ToolError("the number is too large to calculate with.") from None
