"""Conversions are exact: against published definitions, and against themselves."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinos.drivers.units import NAMES, SYMBOLS, TEMPERATURES, UNITS, convert, driver
from cabinos.kernel.errors import InvalidArguments, ToolError
from tests.drivers.support import call, context, named

TOOL = named(driver({}), "units_convert")


def told(value: object, from_unit: str, to_unit: str) -> str:
    answer = call(TOOL, context(), value=value, from_unit=from_unit, to_unit=to_unit)
    assert isinstance(answer, str)
    return answer


def test_declared() -> None:
    assert (TOOL.effect, TOOL.label, TOOL.egress) == ("pure", "trusted", False)


@pytest.mark.parametrize(
    ("value", "from_unit", "to_unit", "expected"),
    [
        # The international yard and pound, and what NIST SP 811 lists as exact.
        (1, "mile", "km", "= 1.609344"),
        (6, "feet", "cm", "= 182.88"),
        (1, "lb", "kg", "= 0.45359237"),
        (1, "stone", "lb", "= 14"),
        ("two and a half", "m", "cm", "= 250"),
        ("1,500", "m", "km", "= 1.5"),
        ("half", "mile", "ft", "= 2640"),
        ("a dozen", "in", "ft", "= 1"),
        ("2 1/2", "ft", "in", "= 30"),
        (1, "us gallon", "L", "= 3.785411784"),
        (1, "imperial gallon", "L", "= 4.54609"),
        (1, "cup", "ml", "= 236.5882365"),
        (1, "acre", "m²", "= 4046.8564224"),
        (1, "knot", "km/h", "= 1.852"),
        (100, "km/h", "m/s", "≈ 27.777778 (exactly 250/9)"),
        (60, "mph", "km/h", "= 96.56064"),
        (1, "nautical mile", "m", "= 1852"),
        (98.6, "°F", "°C", "= 37"),
        (-40, "celsius", "fahrenheit", "= -40"),
        (0, "K", "C", "= -273.15"),
        (1, "GiB", "MB", "= 1073.741824"),
        (8, "Mbit", "MB", "= 1"),
        (90, "minutes", "hours", "= 1.5"),
        ("0.1", "m", "cm", "= 10"),
        (0.1, "kg", "g", "= 100"),
        ("3/4", "inch", "mm", "= 19.05"),
        ("1e3", "mm", "m", "= 1"),
        ("1_000", "m", "km", "= 1"),
        (1, "m", "ft", "≈ 3.28084 (exactly 1250/381)"),
        (0, "m", "km", "= 0"),
        (-1.5, "h", "s", "= -5400"),
    ],
)
def test_conversions(value: object, from_unit: str, to_unit: str, expected: str) -> None:
    assert told(value, from_unit, to_unit) == f"{value} {from_unit} {expected} {to_unit}"


@pytest.mark.parametrize(
    ("value", "from_unit", "to_unit", "problem"),
    [
        (1, "km", "kg", "km measures length and kg mass"),
        (1, "parsnip", "kg", "'parsnip' is not a known unit. Known are length: m in ft"),
        (1, "M", "km", "'M' is not a known unit"),
        (-300, "C", "K", "-300 C is below absolute zero"),
        ("many", "m", "km", "'many' is not a number"),
        ("nan", "m", "km", "not a number"),
        ("inf", "m", "km", "not a number"),
        ("1/0", "m", "km", "divides by zero"),
        ("1e999999999", "m", "km", "at most 40 digits"),
        ("9" * 5000, "m", "km", "at most 40 digits"),
        ("", "m", "km", "not a number"),
        ("1/2/3", "m", "km", "not a number"),
    ],
)
def test_what_makes_no_sense(value: object, from_unit: str, to_unit: str, problem: str) -> None:
    with pytest.raises(ToolError, match=problem):
        told(value, from_unit, to_unit)


def test_arguments_are_checked() -> None:
    with pytest.raises(InvalidArguments):
        TOOL.arguments({"value": 1, "from_unit": "m"})


NUMBERS = st.fractions(min_value=0, max_value=10**9, max_denominator=10**6)


@given(NUMBERS, st.sampled_from(sorted(UNITS)), st.data())
def test_there_and_back_is_the_same(value: Fraction, quantity: str, data: st.DataObject) -> None:
    first, second = (data.draw(st.sampled_from(sorted(UNITS[quantity]))) for _ in range(2))
    assert convert(convert(value, first, second), second, first) == value


@given(NUMBERS, st.sampled_from(sorted(TEMPERATURES)), st.sampled_from(sorted(TEMPERATURES)))
def test_temperatures_there_and_back(value: Fraction, first: str, second: str) -> None:
    assert convert(convert(value, first, second), second, first) == value


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, max_value=10**9, min_value=0))
def test_what_is_written_is_the_number(value: object) -> None:
    text = told(str(value), "km", "m").split()[3]
    assert Fraction(text) == Fraction(str(value)) * 1000


def test_names_are_unambiguous() -> None:
    assert set(NAMES) <= set(SYMBOLS)
    aliases = [alias for names in NAMES.values() for alias in names.split()]
    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(SYMBOLS)
