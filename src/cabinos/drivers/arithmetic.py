"""Arithmetic as people write it, read into a tree.

    sum    = term (("+" | "-" | "off" | "more than" | "less than") term)*
    term   = part (("*" | "/" | "mod") part)*
    part   = signed ("of" part)*               15% of 80, half of 50
    signed = "-" signed | power
    power  = postfix ("^" signed)?
    postfix = primary ("%" | "!" | "squared" | "cubed")*
    primary = number | "(" sum ")" | function

It is words as well as signs: `two hundred minus 3`, `the square root of 144`, `add 5 to 7`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from cabinos.drivers.numerals import is_number, ordinal, read_numeral
from cabinos.kernel.errors import ToolError

__all__ = ["Apply", "Node", "parse"]

MAX_DEPTH = 50  # of parentheses, signs and exponents
MAX_NUMBER = 40  # digits of a number that is given


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation and what it is applied to. `x` is the variable, applied to nothing."""

    operation: str
    operands: tuple["Fraction | Apply", ...] = ()


Node = Fraction | Apply

# Phrases that are a sign, or a word that stands for them all: replaced in this order.
SIGNS = {
    "+": "plus|added to|and add|increased by|and then add",
    "-": "minus|take away|takeaway|decreased by|reduced by|less(?! than)",
    "*": "times|multiplied by|multiplied with",
    "/": "(?:is )?divided by|divided through|over",
    "^": "(?:raised )?to the power(?: of)?|raised to(?: the)?|\\*\\*",
    "%": "per ?cent(?:age)?(?! change| increase| decrease)|pct",
    "mod": "modulo|mod",
    "!": "factorial",
    "more": "(?:more|greater|higher|larger) than",
    "less": "(?:less|smaller|fewer|lower) than",
    "of": "tip on|tax on|vat on|tip for|on",
    "half of": "half(?= an? )",
    "sqrt": "square root(?: of)?|√",
    "cbrt": "cube root(?: of)?|cubic root(?: of)?|∛",
    "squared": "²|to the second power",
    "cubed": "³",
    "square": "square(?: of)?(?! root)",
    "cube": "cube(?: of)?(?! root)",
    "gcd": "greatest common (?:divisor|factor)|gcf",
    "lcm": "(?:least|lowest) common multiple",
}
CHARACTERS = str.maketrans(
    {"−": "-", "–": "-", "—": "-", "×": "*", "·": "*", "÷": "/", "’": "'", "⁄": "/"}
    | {"½": " 1/2", "¼": " 1/4", "¾": " 3/4"}
    | dict.fromkeys("$€£¥", " ")
)
TOKEN = re.compile(
    r"\s*(?:(?P<ordinal>\d+(?:st|nd|rd|th)\b)"
    r"|(?P<number>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+(?:_\d+)*)(?:\.\d+)?(?:e[-+]?\d{1,2}(?![\d.]))?|\.\d+)"
    r"|(?P<word>[a-z][a-z']*)|(?P<sign>[-+*/^%!(),=?:;.]))"
)
LEAD = frozenset(
    "what what's whats is are how much many does do calculate compute evaluate solve work out find "
    "tell me please can could would you i need give value result answer to equals equal = , ; : "
    "hey hi so and cabin okay ok determine now then if be will of for get to's".split()
)
TRAIL = frozenset("= ? . ! , ; : please equals equal is to make makes get thanks be for me".split())
IGNORED = frozenset(
    "the dollar dollars euro euros buck bucks pounds exactly altogether total? number numbers "
    "tip tax".split()
)
LISTS = {
    "sum": "sum",
    "total": "sum",
    "product": "product",
    "average": "mean",
    "mean": "mean",
    "median": "median",
    "max": "max",
    "maximum": "max",
    "largest": "max",
    "biggest": "max",
    "min": "min",
    "minimum": "min",
    "smallest": "min",
    "gcd": "gcd",
    "lcm": "lcm",
    "difference": "difference",
    "quotient": "quotient",
    "remainder": "mod",
    "ratio": "quotient",
}
FUNCTIONS = {
    "sqrt": "sqrt",
    "cbrt": "cbrt",
    "root": "sqrt",
    "abs": "abs",
    "sin": "sin",
    "cos": "cos",
    "tan": "tan",
    "exp": "exp",
    "log": "log",
    "ln": "log",
}
POWERS = {"squared": 2, "cubed": 3}
POWERS_OF = {"square": 2, "cube": 3}
MULTIPLES = {"double": 2, "twice": 2, "triple": 3, "thrice": 3, "quadruple": 4}
ORDERS: Mapping[str, tuple[str, str]] = {  # verb: what stands between, operation
    "add": ("to and", "+"),
    "subtract": ("from", "from"),
    "multiply": ("by and with", "*"),
    "divide": ("by", "/"),
    "split": ("by between among into", "/"),
    "increase": ("by", "+"),
    "raise": ("by", "+"),
    "decrease": ("by", "-"),
    "reduce": ("by", "-"),
}
LIKE = "write it like 12*3.5, 15% of 80, two hundred minus 3 or square root of 144"


def parse(text: str, *, variable: bool = False) -> Node:
    """The tree of an expression. `variable`: an `x` is the variable, not a sign of multiplication.

    Raises ToolError, naming what was not understood.
    """
    return _Parser(text, variable).whole()


def _tokens(text: str, variable: bool) -> list[str]:
    words = " ".join(text.lower().translate(CHARACTERS).split())
    words = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", words)
    for sign, phrases in SIGNS.items():
        words = re.sub(rf"(?<![a-z])(?:{phrases})(?![a-z])", f" {sign} ", words)
    words = words.rstrip()
    tokens: list[str] = []
    at = 0
    while at < len(words):
        found = TOKEN.match(words, at)
        if found is None:
            raise _unclear(words[at:].split()[0], text)
        at = found.end()
        piece = found[0].strip()
        if found["number"]:
            piece = piece.replace(",", "").replace("_", "")
            piece = f"0{piece}" if piece[0] == "." else piece
            if len(piece) > MAX_NUMBER:
                raise ToolError(f"numbers have at most {MAX_NUMBER} digits.")
        if piece not in IGNORED:
            tokens.append("*" if piece == "x" and not variable else piece)
    return tokens


def _unclear(token: str, text: str) -> ToolError:
    return ToolError(f"{token[:40]!r} is not understood in {text[:100]!r}; {LIKE}.")


class _Parser:
    def __init__(self, text: str, variable: bool) -> None:
        self._text = text
        self._variable = variable
        self._tokens = _tokens(text, variable)
        self._at = 0
        self._depth = 0
        self._listing = 0  # in a list, where `and` stands between its items

    # ---- the whole -------------------------------------------------------------------------------

    def whole(self) -> Node:
        tokens = self._tokens
        question = _percent_question(tokens)
        if question:
            return self._asked(*question)
        while tokens and tokens[0] in LEAD:
            del tokens[0]
        while tokens and tokens[-1] in TRAIL and not self._is_factorial():
            del tokens[-1]
        if not tokens:
            raise ToolError(f"there is nothing to calculate in {self._text[:100]!r}; {LIKE}.")
        found = self._sum()
        if self._at < len(tokens):
            raise _unclear(self._next(), self._text)
        return found

    def _is_factorial(self) -> bool:
        return self._tokens[-1] == "!" and len(self._tokens) > 1

    def _asked(self, part: list[str], whole: list[str]) -> Node:
        operands = []
        for tokens in (part, whole):
            inner = _Parser(self._text, self._variable)
            inner._tokens = tokens
            operands.append(inner.whole())
        return Apply("percentage", tuple(operands))

    def _next(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else ""

    def _take(self, *tokens: str) -> str:
        """The next token if it is one of these."""
        token = self._next()
        if token and token in tokens:
            self._at += 1
            return token
        return ""

    # ---- operators -------------------------------------------------------------------------------

    def _sum(self) -> Node:
        left = self._term()
        while sign := self._take("+", "-", "off", "more", "less", "from"):
            right = self._term()
            if sign in ("off", "more", "less", "from"):
                left = _changed({"more": "+"}.get(sign, "-"), right, left)
            else:
                left = _changed(sign, left, right)
        return left

    def _term(self) -> Node:
        left = self._part()
        while sign := self._take("*", "/", "mod"):
            left = Apply(sign, (left, self._part()))
        return left

    def _part(self) -> Node:
        left = self._fraction() or self._signed()
        if self._take("of"):
            self._deeper()
            left = Apply("*", (left, self._part()))
            self._depth -= 1
        return left

    def _fraction(self) -> Node | None:
        """`3/4 of`: the fraction comes first, whatever binds tighter otherwise."""
        above, slash, below, of = (self._next(n) for n in range(4))
        if slash == "/" and of == "of" and above.isdecimal() and below.isdecimal() and int(below):
            self._at += 3
            return Fraction(int(above), int(below))
        return None

    def _signed(self) -> Node:
        if not self._take("-", "negative"):
            if self._take("+"):
                return self._signed()
            return self._power()
        self._deeper()
        operand = self._signed()
        self._depth -= 1
        return Apply("negative", (operand,))

    def _power(self) -> Node:
        base = self._postfix()
        self._deeper()
        if self._take("^"):
            exponent = ordinal(self._next())
            if exponent is not None:
                self._at += 1
                self._take("power")
                base = Apply("^", (base, Fraction(exponent)))
            else:
                base = Apply("^", (base, self._signed()))
        elif self._next() == "to" and (exponent := ordinal(self._next(1))) is not None:
            self._at += 2
            self._take("power")
            base = Apply("^", (base, Fraction(exponent)))
        self._depth -= 1
        return base

    def _postfix(self) -> Node:
        found = self._primary()
        while True:
            if self._take("%"):
                found = Apply("percent", (found,))
            elif self._take("!"):
                found = Apply("factorial", (found,))
            elif power := self._take(*POWERS):
                found = Apply("^", (found, Fraction(POWERS[power])))
            elif self._next() == "(" or (self._variable and self._juxtaposed()):
                found = Apply("*", (found, self._power()))
            else:
                return found

    def _juxtaposed(self) -> bool:
        """`2x`, `3 sin x`, `x(x+1)`."""
        return self._next() in ("x", "pi", "e") or self._next() in FUNCTIONS

    # ---- operands --------------------------------------------------------------------------------

    def _primary(self) -> Node:
        token = self._next()
        self._deeper()
        try:
            return self._operand(token)
        finally:
            self._depth -= 1

    def _operand(self, token: str) -> Node:
        if self._take("("):
            listing, self._listing = self._listing, 0
            inner = self._sum()
            self._listing = listing
            if not self._take(")"):
                raise ToolError(f"a closing parenthesis is missing in {self._text[:100]!r}.")
            return inner
        if token in ("a", "an") and is_number(self._next(1)):
            self._at += 1
        number, end = read_numeral(self._tokens, self._at)
        if end > self._at:
            self._at = end
            return number
        if self._variable and self._take("x"):
            return Apply("x")
        if token in ("pi", "e"):
            self._at += 1
            return Apply(token)
        return self._named(token)

    def _named(self, token: str) -> Node:
        """A function, a list, or an order."""
        if token in ORDERS and self._at == 0:
            return self._order(*ORDERS[token])
        self._at += 1
        if token in LISTS:
            return self._list(LISTS[token])
        if token in FUNCTIONS:
            self._take("of")
            return Apply(FUNCTIONS[token], (self._argument(),))
        if token in POWERS_OF:
            return Apply("^", (self._argument(), Fraction(POWERS_OF[token])))
        if token in MULTIPLES:
            self._take("of")
            return Apply("*", (Fraction(MULTIPLES[token]), self._signed()))
        degree = ordinal(token)
        if degree is not None and self._take("root"):
            self._take("of")
            return Apply("^", (self._argument(), Fraction(1, degree or 1)))
        if not token:
            raise ToolError(f"something is missing at the end of {self._text[:100]!r}; {LIKE}.")
        raise _unclear(token, self._text)

    def _argument(self) -> Node:
        """`sin 2x` is of all that follows, `sin(x)^2` only of what is in parentheses."""
        return self._primary() if self._next() == "(" else self._signed()

    def _list(self, operation: str) -> Node:
        """`sum of 3, 4 and 5`, `difference between 10 and 4`, `max(3, 4)`."""
        self._take("of", "between", "when")
        closes = self._next() == "(" and bool(self._take("("))
        items = [self._sum()]
        while self._take(",", "and") or is_number(self._next()):
            self._take("and")
            items.append(self._sum())
        if operation == "mod" and len(items) == 1 and isinstance(items[0], Apply):
            inner = items[0]  # the remainder of 17 divided by 5
            if inner.operation == "/":
                return Apply("mod", inner.operands)
        if closes and not self._take(")"):
            raise ToolError(f"a closing parenthesis is missing in {self._text[:100]!r}.")
        if operation in ("difference", "quotient", "mod") and len(items) != 2:
            raise ToolError(f"a {operation} is of two numbers, not of {len(items)}.")
        return Apply(operation, tuple(items))

    def _order(self, between: str, operation: str) -> Node:
        """`add 5 to 7`, `subtract 5 from 12`, `multiply 6 by 7`."""
        self._at += 1
        first = self._term()
        if not self._take(*between.split()):
            if self._at < len(self._tokens):
                raise _unclear(self._next(), self._text)
            if operation == "from":
                return Apply("negative", (first,))
            raise ToolError(f"something is missing at the end of {self._text[:100]!r}; {LIKE}.")
        second = self._term()
        if operation == "from":
            return _changed("-", second, first)
        if operation == "+" and _is_percent(first):  # add 15% to 80
            first, second = second, first
        return _changed(operation, first, second)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ToolError(f"the expression is nested too deeply: {self._text[:40]!r}….")


def _is_percent(node: Node) -> bool:
    return isinstance(node, Apply) and node.operation == "percent"


def _changed(sign: str, base: Node, change: Node) -> Node:
    """`base` more or less by a number, or by a percentage of itself."""
    if sign in "+-" and _is_percent(change) and not _is_percent(base):
        change = Apply("*", (change, base))
    return Apply(sign, (base, change))


def _percent_question(tokens: list[str]) -> tuple[list[str], list[str]] | None:
    """(part, whole) of `what percent of 80 is 20` and `20 is what percent of 80`."""
    words = [word for word in tokens if word != "?"]
    for at in range(len(words) - 2):
        if words[at : at + 3] == ["what", "%", "of"]:
            rest = words[at + 3 :]
            if "is" in rest:
                cut = rest.index("is")
                return rest[cut + 1 :], rest[:cut]
            if at and words[at - 1] == "is":
                return words[: at - 1], rest
        if words[at : at + 3] == ["what", "%", "is"] and "of" in words[at + 3 :]:
            cut = words.index("of", at)
            return words[at + 3 : cut], words[cut + 1 :]
    for at in range(len(words) - 3):
        if words[at : at + 2] == ["as", "a"] and words[at + 2 : at + 4] == ["%", "of"]:
            return words[:at], words[at + 4 :]
    return None
