"""Quantities in other units."""

# ruff: noqa: E501 - one wording a line

from fractions import Fraction
from functools import cache, partial
from random import Random

from cabinos.drivers.units import convert
from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.numbers import in_words, integer, value_of
from cabinos.train.dialogues.phrases import say
from cabinos.train.dialogues.script import Call, Results, Script, Turn, templates

# quantity: units as people name them (singular, plural, short forms), and usual amounts.
QUANTITIES: dict[str, tuple[list[tuple[str, str, str]], int]] = {
    "length": (
        [
            ("mile", "miles", "mi"),
            ("kilometer", "kilometers", "km"),
            ("kilometre", "kilometres", "km"),
            ("meter", "meters", "m"),
            ("metre", "metres", "m"),
            ("foot", "feet", "ft"),
            ("inch", "inches", "in"),
            ("yard", "yards", "yd"),
            ("centimeter", "centimeters", "cm"),
            ("centimetre", "centimetres", "cm"),
            ("millimeter", "millimeters", "mm"),
        ],
        1000,
    ),
    "mass": (
        [
            ("pound", "pounds", "lb"),
            ("pound", "pounds", "lbs"),
            ("ounce", "ounces", "oz"),
            ("kilogram", "kilograms", "kg"),
            ("kilo", "kilos", "kg"),
            ("gram", "grams", "g"),
            ("stone", "stone", "st"),
            ("tonne", "tonnes", "t"),
            ("milligram", "milligrams", "mg"),
        ],
        500,
    ),
    "volume": (
        [
            ("liter", "liters", "L"),
            ("litre", "litres", "l"),
            ("gallon", "gallons", "gal"),
            ("cup", "cups", "cups"),
            ("tablespoon", "tablespoons", "tbsp"),
            ("teaspoon", "teaspoons", "tsp"),
            ("pint", "pints", "pt"),
            ("quart", "quarts", "qt"),
            ("milliliter", "milliliters", "ml"),
            ("millilitre", "millilitres", "mL"),
            ("fluid ounce", "fluid ounces", "fl oz"),
        ],
        100,
    ),
    "area": (
        [
            ("acre", "acres", "acres"),
            ("hectare", "hectares", "ha"),
            ("square meter", "square meters", "m2"),
            ("square foot", "square feet", "sqft"),
            ("square mile", "square miles", "mi2"),
            ("square kilometer", "square kilometers", "km2"),
        ],
        2000,
    ),
    "speed": (
        [
            ("mph", "mph", "mph"),
            ("mph", "miles per hour", "mph"),
            ("km/h", "km/h", "kmh"),
            ("km/h", "kilometers per hour", "kph"),
            ("knot", "knots", "kn"),
            ("m/s", "meters per second", "m/s"),
        ],
        300,
    ),
    "temperature": (
        [
            ("celsius", "celsius", "C"),
            ("fahrenheit", "fahrenheit", "F"),
            ("celsius", "celsius", "°C"),
            ("fahrenheit", "fahrenheit", "°F"),
            ("kelvin", "kelvin", "K"),
        ],
        400,
    ),
    "data": (
        [
            ("gigabyte", "gigabytes", "GB"),
            ("megabyte", "megabytes", "MB"),
            ("terabyte", "terabytes", "TB"),
            ("kilobyte", "kilobytes", "KB"),
            ("byte", "bytes", "B"),
            ("bit", "bits", "bit"),
        ],
        2000,
    ),
    "time": (
        [
            ("hour", "hours", "h"),
            ("minute", "minutes", "min"),
            ("second", "seconds", "s"),
            ("day", "days", "days"),
            ("week", "weeks", "weeks"),
        ],
        500,
    ),
}
WEIGHTS = (26, 18, 18, 6, 7, 13, 6, 6)


def pair(rng: Random) -> tuple[str, tuple[str, str, str], tuple[str, str, str], int]:
    """A quantity, two of its units that differ, and the largest usual amount."""
    name = rng.choices(list(QUANTITIES), WEIGHTS)[0]
    units, most = QUANTITIES[name]
    first, second = rng.sample(units, 2)
    while not _sensible(name, first[2], second[2]):
        first, second = rng.sample(units, 2)
    return name, first, second, most


@cache
def _sensible(quantity: str, unit: str, other: str) -> bool:
    """Whether people convert one to the other: not bits to gigabytes, nor kg to kilos."""
    if quantity == "temperature":
        return unit.strip("°") != other.strip("°")
    ratio = convert(Fraction(1), unit, other)
    return ratio != 1 and Fraction(1, 100_000) <= ratio <= 100_000


def amount(rng: Random, most: int) -> tuple[str, str]:
    """As it is typed, and as it is passed on."""
    draw = rng.random()
    if draw < 0.08:
        n = rng.randint(2, 40)
        return in_words(n), str(n)
    if draw < 0.22:
        text = f"{integer(rng, min(most, 100), 1)}.{rng.choice((5, 5, 2, 25, 75, 1, 8))}"
    elif draw < 0.27:
        text = rng.choice(("1/2", "3/4", "1/4", "2/3", "1/3"))
    else:
        text = str(integer(rng, most))
    return text, text


def converted(rng: Random, fillers: Fillers, pattern: str) -> Turn:
    """{x} of one unit {u} (plural), {s} (singular), {a} (short) in another: {v}, {t}, {b}."""
    name, first, second, most = pair(rng)
    said, value = amount(rng, most)
    texts = {"x": said, "food": fillers.one(rng, "food").lower(), "name": fillers.one(rng, "name")}
    texts |= {"u": first[1], "s": first[0], "a": first[2]}
    texts |= {"v": second[1], "t": second[0], "b": second[2]}
    wide = name == "temperature" and pattern.count("{u}") and rng.random() < 0.5
    if "{s}" in pattern:  # how many feet in a mile
        value = "1"
    source = next(first[n] for n, key in enumerate(("{s}", "{u}", "{a}")) if key in pattern)
    target = next(second[n] for n, key in enumerate(("{t}", "{v}", "{b}")) if key in pattern)
    says = say(rng, pattern.replace("{x} {u}", "{x} degrees {u}") if wide else pattern, **texts)
    call = Call("units_convert", {"value": value, "from_unit": source, "to_unit": target})
    return Turn(says, partial(told, rng.random(), value, source, target), (call,))


EXACT = (
    "{x} {u} is {v} {t}.",
    "{x} {u} = {v} {t}.",
    "That's {v} {t}.",
    "{v} {t}.",
    "It's {v} {t}.",
    "{x} {u} is {v} {t}.",
)
NEAR = ("{x} {u} is about {v} {t}.", "About {v} {t}.", "That's about {v} {t}.")


def told(draw: float, x: str, u: str, t: str, results: Results) -> str:
    """The result in a sentence: `5 miles = 8.04672 km`."""
    value, exact = converted_value(results[0])
    choices = EXACT if exact else NEAR
    return choices[int(draw * len(choices))].format(x=x, u=u, v=value, t=t)


def converted_value(result: str) -> tuple[str, bool]:
    """The number in `5 miles = 8.04672 km`, and whether it is exact."""
    value, exact = value_of(result)
    return value.split()[0], exact


def compared(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
    """Two quantities: one is put into the other's unit, then the numbers are compared."""
    _, first, second, most = pair(rng)
    a = str(integer(rng, min(most, 200)))
    short = rng.random() < 0.5
    u, v = (first[2], second[2]) if short else (first[1], second[1])
    b = str(max(1, round(convert(Fraction(a), first[2], second[2]) * rng.randint(30, 190) / 100)))
    call = Call("units_convert", {"value": a, "from_unit": u, "to_unit": v})
    more = rng.random() < 0.5

    def reply(results: Results) -> str:
        value, exact = converted_value(results[0])
        about = "" if exact else "about "
        fact = f"{a} {u} is {about}{value} {v}"
        left = float(value.replace(",", ""))
        if left == float(b):
            return f"They are the same: {fact}."
        return f"{'Yes' if (left > float(b)) == more else 'No'}, {fact}."

    than = "more" if more else "less"
    return Turn(say(rng, pattern, x=a, u=u, y=b, v=v, more=than), reply, (call,))


def followed(rng: Random, _fillers: Fillers, pattern: str) -> Script:
    """The same quantity in a third unit, or another amount."""
    _, first, second, most = pair(rng)
    said, value = amount(rng, most)
    u, t = first[1], second[1]
    opening = rng.choice(("{x} {u} in {t}", "convert {x} {u} to {t}", "how many {t} is {x} {u}?"))
    call = Call("units_convert", {"value": value, "from_unit": u, "to_unit": t})
    begin = Turn(
        say(rng, opening, x=said, u=u, t=t), partial(told, rng.random(), value, u, t), (call,)
    )
    if "{x}" in pattern:
        value = str(integer(rng, most))
        then = Call("units_convert", {"value": value, "from_unit": u, "to_unit": t})
        says = say(rng, pattern, x=value, u=u)
    else:
        units = [n for units, _ in QUANTITIES.values() if first in units for n in units]
        t = rng.choice([n[1] for n in units if n[1] not in (u, t)])
        then = Call("units_convert", {"value": value, "from_unit": u, "to_unit": t})
        says = say(rng, pattern, t=t)
    return Script((begin, Turn(says, partial(told, rng.random(), value, u, t), (then,))))


def impossible(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
    """Units of different quantities: the device refuses, and the answer says why."""
    one, other = rng.sample([name for name in QUANTITIES if name not in ("speed", "data")], 2)
    u, t = (rng.choice(QUANTITIES[name][0])[1] for name in (one, other))
    x = str(integer(rng, 200))
    answer = rng.choice(
        (
            f"That doesn't work: {u} measures {one}, and {t} measures {other}.",
            f"I can't convert {u} to {t}: one is {one}, the other {other}.",
            f"{u.capitalize()} can't be turned into {t}: those are {one} and {other}.",
        )
    )
    call = Call("units_convert", {"value": x, "from_unit": u, "to_unit": t}, fails=True)
    return Turn(say(rng, pattern, x=x, u=u, t=t), answer, (call,))


def explained(rng: Random, _fillers: Fillers, pattern: str) -> Turn:
    """No quantity, so no tool."""
    text, _, answers = pattern.partition(" => ")
    return Turn(say(rng, text), rng.choice(answers.split(" / ")))


CONVERT = [
    "convert {x} {u} [to|into] {v}",
    "convert {x} {a} to {b}",
    "convert {x}{a} to {b}",
    "{x} {a} to {b}",
    "{x} {a} in {b}",
    "{x}{a} in {b}?",
    "{x} {u} [to|in|into|as] {v}",
    "{x} {u} in {v}( please)",
    "{x} {u} is how many {v}?",
    "{x} {u} equals how many {v}?",
    "{u} to {v}: {x}",
    "{a} to {b} {x}",
    "{u} to {v} {x}",
    "how many {v} [is|are|in|are in|are there in|make|makes] {x} {u}?",
    "how many {v} do {x} {u} make?",
    "how many {b} is {x} {a}?",
    "how much is {x} {u} in {v}?",
    "how much is {x} {a} in {b}?",
    "[what is|what's|whats] {x} {u} in {v}?",
    "[what is|what's] {x} {a} in {b}?",
    "what's {x}{a} in {b}",
    "[can|could|would] you [convert|change|turn] {x} {u} [to|into] {v}( for me)?",
    "[can|could] you tell me [how many {v} are in {x} {u}|what {x} {u} is in {v}]?",
    "please [convert|change] {x} {u} [to|into] {v}",
    "[change|turn|translate] {x} {u} into {v}",
    "i need {x} {u} in {v}",
    "i have {x} {u}, how [much|many] is that in {v}?",
    "[hey|hi|ok], how many {v} is {x} {u}?",
    "express {x} {u} in {v}",
    "if [i have|there are|something is] {x} {u}, [how many {v} is that|what is that in {v}]?",
    "the recipe [says|calls for|needs] {x} {u}, what's that in {v}?",
    "the sign says {x} {u}, how many {v} is that?",
    "my [friend|cousin|aunt] says it's {x} {u}. [in {v}?|what is that in {v}?]",
    "{name} told me {x} {u}, how much is that in {v}?",
    "do you know what {x} {u} is in {v}?",
    "tell me [how many {v} are in {x} {u}|what {x} {u} is in {v}]",
    "what would {x} {u} be in {v}?",
    "[give me|show me] {x} {u} in {v}",
    "i don't [understand|get|know] {u}, what is {x} {u} in {v}?",
    "number of {v} in {x} {u}",
    "[calculate|work out|figure out] {x} {u} in {v}",
    "{x} {u}? in {v} please",
    "[conversion|units|quick one]: {x} {u} to {v}",
    "[what's the|give me the] {v} [equivalent of|for] {x} {u}",
    "how many {v} [are in|in|make] [a|one] {s}?",
    "how many {v} [are there in|does] a {s}( have)?",
    "[one|a] {s} is how many {v}?",
    "what is [a|one] {s} in {v}?",
    "how many {v} to a {s}?",
    "how big is a {s} in {v}?",
    "number of {v} in a {s}",
]
COMPARE = [
    "is {x} {u} {more} than {y} {v}?",
    "is {x} {u} [really ]{more} than {y} {v}",
    "[are|is] {x} {u} {more} than {y} {v}?",
    "would {x} {u} be {more} than {y} {v}?",
    "{x} {u}, is that {more} than {y} {v}?",
    "tell me if {x} {u} is {more} than {y} {v}",
    "i have {x} {u}. is that {more} than {y} {v}?",
]
FOLLOW = [
    "[and|what about] in {t}?",
    "and {t}?",
    "now in {t}( please)",
    "[sorry|no|oops], i meant {t}",
    "in {t} [instead|rather]",
    "[and|what about|how about] {x} {u}?",
    "[and|what about|how about] {x}?",
    "[sorry|oops|no], {x} {u}",
    "i meant {x}",
]
IMPOSSIBLE = [
    "convert {x} {u} to {t}",
    "how many {t} are in {x} {u}?",
    "what's {x} {u} in {t}?",
    "{x} {u} in {t}",
    "[can|could] you change {x} {u} into {t}",
]
MEANINGS = [
    "what is a kilometer? => A kilometer is a thousand meters. / It's a measure of length: 1,000 meters.",
    "what is a pound? => A pound is a unit of weight.",
    "what does [mph|km/h] mean? => It's a speed: how far something goes in an hour.",
    "(can you )convert [units|something]( for me)? => Sure. What should I convert, and to which unit?",
    "[convert this|convert it] to [miles|grams|inches] => What should I convert?",
    "which [units|unit conversions] [can|do] you [know|do|support]? => Length, weight, volume, area, speed, temperature, data and time.",
    "what is the metric system? => It's a system of units based on meters, kilograms and seconds.",
    "what's the difference between weight and mass? => Mass is how much of something there is; weight is how hard gravity pulls it.",
    "why do americans use [miles|pounds|fahrenheit]? => They kept the old English units when most countries took the metric ones.",
    "what does [celsius|fahrenheit] measure? => It measures temperature.",
    "what is a [liter|litre]? => A liter is a measure of volume: 1,000 cubic centimeters.",
    "what is an acre? => An acre is a measure of land: 43,560 square feet.",
    "what do [kilograms|grams|ounces] measure? => They measure weight.",
    "what do [liters|gallons|cups] measure? => They measure volume.",
    "is a mile longer than a kilometer? => Yes, a mile is about 1.6 kilometers.",
    "what is [mph|a knot]? => It's a unit of speed.",
    "who uses [fahrenheit|inches|gallons]? => The United States, above all.",
    "what kind of unit is a [pint|gallon|quart]? => A unit of volume.",
    "what kind of unit is a [gram|stone|ounce]? => A unit of weight.",
    "what is kelvin for? => It measures temperature, from absolute zero on.",
    "what is a byte? => A byte is 8 bits of data.",
    "are [metres and meters|litres and liters] the same? => Yes, only the spelling differs.",
]

TEMPLATES = [
    *templates("units/convert", converted, CONVERT),
    *templates("units/compare", compared, COMPARE),
    *templates("units/follow", followed, FOLLOW),
    *templates("units/impossible", impossible, IMPOSSIBLE),
    *templates("units/meaning", explained, MEANINGS),
]
