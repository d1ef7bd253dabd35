"""Arithmetic as people write it: what the calculator is handed as it stands."""

from random import Random

from cabinos.train.dialogues.numbers import (
    in_words,
    integer,
    money,
    number,
    spelled_or_not,
)

__all__ = ["named", "off", "order", "percent", "share_question", "signs", "spoken", "tip"]

TABLE = (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 16, 20, 24, 25, 30, 32, 40, 50, 60, 75, 90, 100)


def signs(rng: Random) -> str:
    """`12*3.5`, `45 + 7 - 3`, `(4+5)*6`."""
    gap = rng.choice(("", " ", " "))
    kind = rng.random()
    operators = [rng.choice("+-*/") for _ in range(3)]
    shown = {"*": rng.choice("***×x"), "/": rng.choice("///÷")}
    a, b, c = (number(rng, 100_000 if n == 0 else 1000) for n in range(3))
    x, y = (shown.get(operator, operator) for operator in operators[:2])
    if "x" in (x, y):
        gap = " "
    if kind < 0.62:
        return f"{a}{gap}{x}{gap}{b}"
    if kind < 0.78:
        return f"{a}{gap}{x}{gap}{b}{gap}{y}{gap}{c}"
    if kind < 0.88:
        return f"({a}{gap}+{gap}{b}){gap}*{gap}{c}"
    if kind < 0.94:
        return f"{integer(rng, 30)}{rng.choice(('^', '**', ' ^ '))}{rng.randint(2, 6)}"
    return f"sqrt({integer(rng, 400) ** rng.choice((1, 2))})"


def spoken(rng: Random) -> str:
    """`twelve times seven`, `100 divided by 8`, `5 plus 3 minus 2`."""
    words = rng.random() < 0.3
    a, b, c = (integer(rng, 100_000 if not words else 999) for _ in range(3))
    shown = in_words if words else str
    operators = ("plus", "minus", "times", "divided by", "times", "multiplied by", "over")
    text = f"{shown(a)} {rng.choice(operators)} {shown(b)}"
    if rng.random() < 0.15:
        text += f" {rng.choice(('plus', 'minus', 'times'))} {shown(c)}"
    return text


def named(rng: Random) -> str:
    """`square root of 144`, `7 squared`, `a third of 90`, `the average of 3, 5 and 9`."""
    a, b = integer(rng, 5000), integer(rng, 100)
    listed = ", ".join(str(integer(rng, 500)) for _ in range(rng.randint(1, 4))) + f" and {a}"
    the = rng.choice(("the ", "the ", ""))
    square = rng.randint(2, 60) ** 2 if rng.random() < 0.7 else a
    return rng.choice(
        (
            f"{the}square root of {square}",
            f"{the}cube root of {rng.randint(2, 20) ** 3}",
            f"{spelled_or_not(rng, rng.randint(2, 99))} squared",
            f"{spelled_or_not(rng, rng.randint(2, 30))} cubed",
            f"{rng.randint(2, 12)} to the power of {rng.randint(2, 10)}",
            f"{rng.randint(2, 12)} to the {rng.choice(('4th', 'fifth', '6th', 'tenth', 'third'))}",
            f"{rng.choice(('half', 'a third', 'a quarter', 'two thirds', '3/4'))} of {12 * b}",
            f"{rng.choice(('double', 'twice', 'triple'))} {a}",
            f"{the}{rng.choice(('sum', 'average', 'product', 'mean', 'sum'))} of {listed}",
            f"{the}difference between {a} and {b}",
            f"{the}remainder of {a} divided by {b}",
            f"{a} mod {b}",
            f"{rng.randint(3, 12)} factorial",
            f"{rng.randint(3, 15)}!",
            f"{the}greatest common divisor of {12 * b} and {8 * rng.choice(TABLE)}",
            f"{the}{rng.choice(('median', 'largest', 'smallest'))} of {listed}",
        )
    )


def order(rng: Random) -> str:
    """`add 5 to 7`, `divide 100 by 8`: the whole of it is the expression."""
    a, b = (spelled_or_not(rng, integer(rng, 10_000)) for _ in range(2))
    percent = rng.choice(TABLE)
    return rng.choice(
        (
            f"add {a} and {b}",
            f"add {a} to {b}",
            f"subtract {a} from {b}",
            f"multiply {a} by {b}",
            f"multiply {a} and {b}",
            f"divide {a} by {b}",
            f"increase {a} by {percent}%",
            f"decrease {a} by {percent}%",
            f"reduce {a} by {percent} percent",
        )
    )


def percent(rng: Random) -> str:
    """`15% of 80`, `20 percent of $45`, `$45 plus 8%`."""
    share = rng.choice((*TABLE, 1, 2.5, 7.5, 12.5, 17.5, 18, 22, 35, 65, 80, 110, 150))
    sign = rng.choice(("%", "%", "%", " percent"))
    whole = rng.choice((money(rng), money(rng, sign="$"), str(integer(rng, 100_000)), number(rng)))
    if rng.random() < 0.1:
        return f"{whole} {rng.choice(('plus', 'minus', '+', '-'))} {share}{sign}"
    if rng.random() < 0.08 and isinstance(share, int) and share < 100:
        return f"{in_words(share)} percent of {whole}"
    return f"{share}{sign} of {whole}"


def share_question(rng: Random) -> str:
    """`what percent of 80 is 20`: the question is the expression."""
    whole = integer(rng, 2000, 5)
    part = rng.randint(1, whole)
    return rng.choice(
        (
            f"what percent of {whole} is {part}",
            f"what percentage of {whole} is {part}",
            f"{part} is what percent of {whole}",
            f"{part} as a percentage of {whole}",
            f"{part} as a percent of {whole}",
        )
    )


def off(rng: Random) -> str:
    """`20% off $45`."""
    sign = rng.choice(("%", "%", " percent"))
    return f"{rng.choice(TABLE[3:-1])}{sign} off {money(rng, sign=rng.choice(('$', '', '$', '€')))}"


def tip(rng: Random) -> str:
    """`20% tip on $48.50`."""
    share = rng.choice((5, 10, 12, 15, 18, 18, 20, 20, 22, 25))
    kind = rng.choice(("tip on", "tip on", "tip for", "tax on"))
    bill = money(rng, 400, rng.choice(("$", "$", "")))
    return f"{share}{rng.choice(('%', ' percent'))} {kind} {bill}"
