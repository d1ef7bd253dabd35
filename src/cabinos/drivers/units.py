"""Device: units of measurement, converted exactly.

Every unit is a fraction of its quantity's base unit (and, for temperatures, an offset), by
definition and not by measurement: the inch is 0.0254 m (international yard and pound agreement,
1959), the US gallon 231 cubic inches, a calendar month no unit at all. So results are exact, and
where the decimals do not end, that is said.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Annotated, Any

from pydantic import Field

from cabinos.drivers.calculate import said
from cabinos.drivers.numerals import decimal_of, numeral, rounded
from cabinos.kernel.driver import Driver, tool
from cabinos.kernel.errors import ToolError

__all__ = ["convert", "driver"]

MAX_DIGITS = 40  # of a number that is given or of a result that is written out
ROUNDED = 6  # decimals of a result whose decimals do not end; below 1, significant digits
MAX_FRACTION = 12  # characters of a fraction that is told beside it

F = Fraction
INCH = F("0.0254")
FOOT, YARD, MILE = 12 * INCH, 36 * INCH, 63_360 * INCH
POUND = F("453.59237")  # grams
GALLON, IMPERIAL_GALLON = 231 * (INCH * 10) ** 3, F("4.54609")  # litres

# quantity: {unit: how many base units it is}. The first is the base.
UNITS: dict[str, dict[str, Fraction]] = {
    "length": {
        "m": F(1),
        "in": INCH,
        "ft": FOOT,
        "yd": YARD,
        "mi": MILE,
        "nmi": F(1852),
        "au": F(149_597_870_700),
        "ly": F(9_460_730_472_580_800),
    },
    "mass": {
        "g": F(1),
        "t": F(10**6),
        "lb": POUND,
        "oz": POUND / 16,
        "st": 14 * POUND,
        "grain": POUND / 7000,
        "ct": F(1, 5),
        "ton_us": 2000 * POUND,
        "ton_uk": 2240 * POUND,
    },
    "volume": {
        "L": F(1),
        "m3": F(1000),
        "dm3": F(1),
        "cm3": F(1, 1000),
        "mm3": F(1, 10**6),
        "in3": (INCH * 10) ** 3,
        "ft3": (FOOT * 10) ** 3,
        "gal": GALLON,
        "qt": GALLON / 4,
        "pt": GALLON / 8,
        "cup": GALLON / 16,
        "floz": GALLON / 128,
        "tbsp": GALLON / 256,
        "tsp": GALLON / 768,
        "gal_uk": IMPERIAL_GALLON,
        "qt_uk": IMPERIAL_GALLON / 4,
        "pt_uk": IMPERIAL_GALLON / 8,
        "floz_uk": IMPERIAL_GALLON / 160,
    },
    "area": {
        "m2": F(1),
        "km2": F(10**6),
        "cm2": F(1, 10**4),
        "mm2": F(1, 10**6),
        "ha": F(10**4),
        "are": F(100),
        "acre": 4840 * YARD**2,
        "in2": INCH**2,
        "ft2": FOOT**2,
        "yd2": YARD**2,
        "mi2": MILE**2,
    },
    "speed": {
        "m/s": F(1),
        "km/h": F(1000, 3600),
        "mph": MILE / 3600,
        "ft/s": FOOT,
        "kn": F(1852, 3600),
    },
    "data": {"bit": F(1), "B": F(8)},
    "time": {
        "s": F(1),
        "min": F(60),
        "h": F(3600),
        "day": F(86_400),
        "week": F(7 * 86_400),
    },
}
# A temperature of x is x * scale + offset kelvin.
TEMPERATURES = {
    "K": (F(1), F(0)),
    "C": (F(1), F("273.15")),
    "F": (F(5, 9), F("459.67") * F(5, 9)),
    "R": (F(5, 9), F(0)),
}
DECIMAL = {"k": F(10**3), "M": F(10**6), "G": F(10**9), "T": F(10**12), "P": F(10**15)}
SMALL = {"m": F(1, 10**3), "u": F(1, 10**6), "µ": F(1, 10**6), "n": F(1, 10**9)}
COMMON = {"c": F(1, 100), "d": F(1, 10)}
BINARY = {"Ki": F(2**10), "Mi": F(2**20), "Gi": F(2**30), "Ti": F(2**40), "Pi": F(2**50)}
PREFIXED = (
    ("length", "m", DECIMAL | COMMON | SMALL),
    ("mass", "g", DECIMAL | COMMON | SMALL),
    ("volume", "L", {"h": F(100)} | COMMON | SMALL),
    ("time", "s", SMALL),
    ("data", "bit", DECIMAL | BINARY),
    ("data", "B", DECIMAL | BINARY),
)
for _quantity, _base, _prefixes in PREFIXED:
    for _prefix, _factor in _prefixes.items():
        UNITS[_quantity][_prefix + _base] = UNITS[_quantity][_base] * _factor

NAMES = {
    "m": "meter metre",
    "km": "kilometer kilometre",
    "cm": "centimeter centimetre",
    "mm": "millimeter millimetre",
    "in": 'inch inches "',
    "ft": "foot feet '",
    "yd": "yard",
    "mi": "mile",
    "nmi": "nautical_mile",
    "ly": "light_year",
    "g": "gram gramme",
    "kg": "kilogram kilo",
    "mg": "milligram",
    "t": "tonne metric_ton",
    "lb": "pound lbs",
    "oz": "ounce",
    "st": "stone",
    "ct": "carat",
    "ton_us": "short_ton",
    "ton_uk": "long_ton",
    "L": "l liter litre",
    "mL": "ml milliliter millilitre",
    "dL": "dl deciliter decilitre",
    "cL": "cl centiliter centilitre",
    "m3": "m³ m^3 cubic_meter cubic_metre",
    "cm3": "cm³ cm^3 cc",
    "ft3": "ft³ ft^3 cubic_foot cubic_feet",
    "in3": "in³ in^3 cubic_inch cubic_inches",
    "gal": "gallon us_gallon",
    "gal_uk": "imperial_gallon uk_gallon",
    "qt": "quart",
    "pt": "pint us_pint",
    "pt_uk": "imperial_pint uk_pint",
    "floz": "fl_oz fluid_ounce",
    "tbsp": "tablespoon",
    "tsp": "teaspoon",
    "m2": "m² m^2 square_meter square_metre sqm",
    "km2": "km² km^2 square_kilometer square_kilometre",
    "cm2": "cm² cm^2",
    "ha": "hectare",
    "ft2": "ft² ft^2 square_foot square_feet sqft",
    "in2": "in² in^2 square_inch square_inches",
    "yd2": "yd² yd^2 square_yard",
    "mi2": "mi² mi^2 square_mile",
    "m/s": "mps meters_per_second metres_per_second",
    "km/h": "kmh kph kilometers_per_hour kilometres_per_hour",
    "mph": "mi/h miles_per_hour",
    "kn": "kt knot",
    "bit": "bits",
    "B": "byte",
    "kB": "KB kilobyte",
    "MB": "megabyte",
    "GB": "gigabyte",
    "TB": "terabyte",
    "KiB": "kibibyte",
    "MiB": "mebibyte",
    "GiB": "gibibyte",
    "TiB": "tebibyte",
    "s": "sec second",
    "min": "minute",
    "h": "hr hour",
    "day": "d",
    "week": "wk",
    "ms": "millisecond",
    "K": "kelvin",
    "C": "°C celsius centigrade",
    "F": "°F fahrenheit",
    "R": "°R rankine",
}
SYMBOLS = {unit: q for q, units in UNITS.items() for unit in units}
SYMBOLS |= dict.fromkeys(TEMPERATURES, "temperature")
ALIASES = {alias: unit for unit, aliases in NAMES.items() for alias in aliases.split()}


def driver(_config: Mapping[str, Any]) -> Driver:
    """The units device. It needs no configuration."""
    return Driver("units", tools=[units_convert])


def _unit_field(copied: str) -> Any:
    return Field(
        min_length=1,
        max_length=40,
        description="like km, lb, °F, GiB, cup",
        json_schema_extra={"x-copy": copied},
    )


@tool(
    effect="pure",
    label="trusted",
    says=said,
    hints="<into> convert how many how much in is to into units inches feet miles km meters cm "
    "pounds kg grams ounces liters gallons cups celsius fahrenheit kelvin degrees temperature mph "
    "hours minutes seconds bytes gb acres more less than longer heavier warmer per",
)
async def units_convert(
    value: Annotated[str | int | float, Field(description="a number, or a fraction like 3/4")],
    from_unit: Annotated[str, _unit_field("counted unit")],
    to_unit: Annotated[str, _unit_field("other unit")],
) -> str:
    """Converts a quantity exactly. Length, mass, volume, area, speed, temperature, data, time."""
    exact = convert(_number(value), from_unit, to_unit)
    return f"{value} {from_unit} {_written(exact)} {to_unit}"


def convert(value: Fraction, from_unit: str, to_unit: str) -> Fraction:
    """The same quantity in another unit. Raises ToolError if that makes no sense."""
    source, target = _unit(from_unit), _unit(to_unit)
    quantity = SYMBOLS[source]
    if quantity != SYMBOLS[target]:
        raise ToolError(
            f"{from_unit} measures {quantity} and {to_unit} {SYMBOLS[target]}; "
            "one cannot be expressed in the other."
        )
    if quantity == "temperature":
        (scale, offset), (to_scale, to_offset) = TEMPERATURES[source], TEMPERATURES[target]
        kelvin = value * scale + offset
        if kelvin < 0:
            raise ToolError(f"{float(value):g} {from_unit} is below absolute zero.")
        return (kelvin - to_offset) / to_scale
    return value * UNITS[quantity][source] / UNITS[quantity][target]


def is_unit(name: str) -> bool:
    """Whether it is a unit that can be converted."""
    return _symbol(name) is not None


def _unit(name: str) -> str:
    """The symbol of a unit given by symbol or name, in the singular or plural."""
    if (symbol := _symbol(name)) is not None:
        return symbol
    known = ", ".join(f"{quantity}: {' '.join(units)}" for quantity, units in UNITS.items())
    raise ToolError(
        f"{name!r} is not a known unit. Known are {known}, temperature: {' '.join(TEMPERATURES)}."
    )


def _symbol(name: str) -> str | None:
    words = "_".join(name.strip().split())
    lower = words.lower() if len(words) > 2 else words  # M is not m, nor G a gram
    for candidate in (words, lower, lower.removesuffix("s")):
        if candidate in SYMBOLS:
            return candidate
        if candidate in ALIASES:
            return ALIASES[candidate]
    return None


def _number(value: str | float) -> Fraction:
    """The number exactly as written: 0.1 is one tenth, not the float nearest to it."""
    text = str(value).strip().replace("_", "").replace("\N{MINUS SIGN}", "-")
    try:
        numerator, slash, denominator = text.partition("/")
        parts = [Decimal(part) for part in (numerator, denominator if slash else "1")]
        if len(text) > MAX_DIGITS or any(abs(part.adjusted()) > MAX_DIGITS for part in parts):
            raise ToolError(f"numbers have at most {MAX_DIGITS} digits.")
        return Fraction(parts[0]) / Fraction(parts[1])
    except (InvalidOperation, ValueError, OverflowError):
        in_words = numeral(text)
        if in_words is not None:
            return in_words
        raise ToolError(f"{value!r} is not a number; write it like 12.5 or 3/4.") from None
    except ZeroDivisionError:
        raise ToolError(f"{value!r} divides by zero.") from None


def _written(exact: Fraction) -> str:
    """`= 12.5`, or `≈ 0.333333 (exactly 1/3)` where the fraction is short."""
    if (decimal := decimal_of(exact, MAX_DIGITS)) is not None:
        return f"= {decimal}"
    fraction = str(exact)
    short = f" (exactly {fraction})" if len(fraction) <= MAX_FRACTION else ""
    return f"≈ {rounded(exact, ROUNDED, ROUNDED)}{short}"
