"""Numbers as people write them, and exact numbers written out.

`3`, `1,250.75`, `twenty-three`, `two hundred and five`, `1.5 million`, `two and a half`, `three
quarters`, `three point one four`, `a dozen`.
"""

import re
from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction

__all__ = ["FRACTIONS", "decimal_of", "is_number", "numeral", "ordinal", "read_numeral", "rounded"]

F = Fraction
DIGITS = re.compile(r"\d+(?:\.\d+)?(?:e[-+]?\d{1,2})?", re.ASCII)
SMALL = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen".split()
    )
}
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
SMALL |= {word: 20 + 10 * n for n, word in enumerate(TENS)} | {"fourty": 40}
SCALES = {"thousand": 10**3, "k": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
GROUPS = {"dozen": 12, "dozens": 12, "hundred": 100, **SCALES}
ORDINALS = {
    word: number
    for number, word in enumerate(
        "third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split(), 3
    )
}
FRACTIONS = {
    "half": F(1, 2),
    "halves": F(1, 2),
    "quarter": F(1, 4),
    "quarters": F(1, 4),
    **{word: F(1, number) for word, number in ORDINALS.items()},
    **{f"{word}s": F(1, number) for word, number in ORDINALS.items()},
    "hundredth": F(1, 100),
    "hundredths": F(1, 100),
}


def is_number(token: str) -> bool:
    """Whether a token is digits, or a word that begins a number."""
    return token[:1].isdigit() or token in SMALL or token in GROUPS or token in FRACTIONS


def ordinal(token: str) -> int | None:
    """10 for `10th` or `tenth`; None for what is no ordinal."""
    if token[:1].isdigit() and token[-2:] in ("st", "nd", "rd", "th"):
        return int(token[:-2])
    return ORDINALS.get(token)


def read_numeral(tokens: Sequence[str], at: int) -> tuple[Fraction, int]:
    """The number that begins at a token, and where it ends.

    Where there is none, that is the same place. Digits come as one token without commas.
    """
    value, end = _integer(tokens, at)
    word = _token(tokens, end)
    if word in FRACTIONS and _token(tokens, end + 1) not in ("root", "power"):
        return (value if end > at else F(1)) * FRACTIONS[word], end + 1
    if end == at:
        return value, end
    if word == "and":  # two and a half, two and three quarters
        count, after = _integer(tokens, end + 1)
        if _token(tokens, end + 1) in ("a", "an"):
            count, after = F(1), end + 2
        if after > end + 1 and _token(tokens, after) in FRACTIONS:
            return value + count * FRACTIONS[_token(tokens, after)], after + 1
    if word == "point":
        return _after_point(value, tokens, end)
    if value.denominator == 1 and _is_fraction(tokens, end):  # 2 1/2
        return value + F(int(tokens[end]), int(tokens[end + 2])), end + 3
    return value, end


def numeral(text: str) -> Fraction | None:
    """The number that a text is, and nothing else: `two and a half`, `1,500`, `a dozen`."""
    words = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text.lower())
    tokens = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", words).replace("/", " / ").split()
    if tokens[:1] in (["a"], ["an"]):
        del tokens[0]
    number, end = read_numeral(tokens, 0)
    return number if tokens and end == len(tokens) else None


def _token(tokens: Sequence[str], at: int) -> str:
    return tokens[at] if at < len(tokens) else ""


def _is_fraction(tokens: Sequence[str], at: int) -> bool:
    above, slash, below = (_token(tokens, at + n) for n in range(3))
    return above.isdecimal() and slash == "/" and below.isdecimal() and 0 < int(above) < int(below)


def _integer(tokens: Sequence[str], at: int) -> tuple[Fraction, int]:
    """Digits or words, with hundreds, thousands and millions."""
    total, scale, end = F(0), 10**15, at
    part: Fraction | None = None  # below the present scale
    while word := _token(tokens, end):
        if DIGITS.fullmatch(word) and end == at:
            part = F(word)
        elif word in SMALL and (part is None or _fits(part, SMALL[word])):
            part = (part or 0) + F(SMALL[word])
        elif word == "hundred" and (part is None or 0 < part < 100):
            part = (part or 1) * F(100)
        elif word in SCALES and SCALES[word] < scale and (part is not None or end == at):
            scale = SCALES[word]
            total, part = total + (part if part is not None else 1) * scale, None
        elif word in ("dozen", "dozens") and (part is not None or end == at):
            return total + (part if part is not None else 1) * 12, end + 1
        elif word == "and" and (total or (part or 0) >= 100) and SMALL.get(_token(tokens, end + 1)):
            if part is not None and part % 100:
                break
            if _token(tokens, end + 2) in FRACTIONS:
                break
        else:
            break
        end += 1
    return total + (part or 0), end


def _fits(part: Fraction, more: int) -> bool:
    """Whether `more` goes on with a number: hundred five, twenty three."""
    if part.denominator != 1:
        return False
    return (part % 100 == 0 and part > 0 and more < 100) or (
        part % 10 == 0 and part % 100 >= 20 and 0 < more < 10
    )


def _after_point(value: Fraction, tokens: Sequence[str], at: int) -> tuple[Fraction, int]:
    digits, end = "", at + 1
    while (word := _token(tokens, end)) and (word.isdecimal() or SMALL.get(word, 10) < 10):
        digits += word if word.isdecimal() else str(SMALL[word])
        end += 1
    return (value + F(f"0.{digits}"), end) if digits else (value, at)


# ---- Writing -------------------------------------------------------------------------------------


def decimal_of(exact: Fraction, most: int) -> str | None:
    """All decimals of a fraction, or None if they do not end within `most` places."""
    rest, places = exact.denominator, 0
    while rest % 10 == 0:
        rest, places = rest // 10, places + 1
    for prime in (2, 5):
        while rest % prime == 0:
            rest, places = rest // prime, places + 1
    if rest != 1 or places > most:
        return None
    digits = str(abs(exact.numerator) * 10**places // exact.denominator).rjust(places + 1, "0")
    whole, decimals = digits[: len(digits) - places], digits[len(digits) - places :].rstrip("0")
    sign = "-" if exact < 0 else ""
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"


def rounded(value: Fraction, places: int, digits: int) -> str:
    """A number to so many decimals; if it is below 1, to so many significant digits.

    Beyond 10**21 and below 10**-9: as `1.5e+30`.
    """
    if value == 0 or F(1, 10**9) <= abs(value) < 10**21:
        if abs(value) < 1:
            while value and abs(value) * 10 ** (places - digits + 1) < 1:
                places += 1
        scaled = round(value * 10**places)
        return decimal_of(F(scaled, 10**places), places) or "0"
    with localcontext() as context:
        context.prec = digits + 1
        return f"{Decimal(value.numerator) / Decimal(value.denominator):.{digits - 1}e}"
