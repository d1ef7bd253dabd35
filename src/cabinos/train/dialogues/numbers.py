"""Numbers as people type them."""

from random import Random

__all__ = ["decimal", "in_words", "integer", "money", "spelled_or_not", "value_of"]

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
MAGNITUDES = (10, 20, 100, 100, 1000, 1000, 10_000, 1_000_000)


def integer(rng: Random, most: int = 10**9, least: int = 2) -> int:
    """Of varied magnitude: small ones are commoner; some are round."""
    number = rng.randint(least, max(least, min(most, rng.choice(MAGNITUDES))))
    if number > 30 and rng.random() < 0.3:
        return number // 10 * 10
    return number


def decimal(rng: Random, most: int = 1000) -> str:
    """A number with one or two decimals."""
    places = rng.choice((1, 1, 2))
    return f"{integer(rng, most, 0)}.{rng.randint(1, 10**places - 1):0{places}d}"


def number(rng: Random, most: int = 10**6) -> str:
    """Digits: an integer, sometimes with commas, or a decimal."""
    if rng.random() < 0.2:
        return decimal(rng, most)
    whole = integer(rng, most)
    return f"{whole:,}" if whole >= 1000 and rng.random() < 0.3 else str(whole)


def money(rng: Random, most: int = 2000, sign: str = "") -> str:
    """A price: 45, 48.50, 1,200."""
    whole = integer(rng, most, 3)
    text = f"{whole:,}" if rng.random() < 0.3 else str(whole)
    return (
        sign
        + text
        + (
            f".{rng.choice((99, 95, 50, 25, 75, rng.randint(1, 99))):02d}"
            if rng.random() < 0.4
            else ""
        )
    )


def in_words(number: int) -> str:
    """An integer below a million in words: `two hundred and five`, `twenty-three`."""
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10 - 2] + (f"-{ONES[number % 10]}" if number % 10 else "")
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = number % size
            joined = f" {in_words(rest)}" if rest >= 100 else f" and {in_words(rest)}"
            return f"{in_words(number // size)} {name}" + (joined if rest else "")
    raise AssertionError(number)


def spelled_or_not(rng: Random, number: int) -> str:
    """Digits mostly, words now and then."""
    return in_words(number) if number < 1000 and rng.random() < 0.25 else str(number)


def value_of(result: str) -> tuple[str, bool]:
    """(the value, whether it is exact) of `12*3 = 36` and of `1/3 ≈ 0.333333`."""
    for sign in (" = ", " ≈ "):
        if sign in result:
            return result.rpartition(sign)[2], sign == " = "
    return result, True
