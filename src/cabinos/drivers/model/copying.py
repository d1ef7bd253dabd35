"""Calls of a small model: what it may write into them is what was said, and numbers that were.

A model of some million parameters knows which tool a request is for, and where in the request the
arguments stand; writing them anew, it slips. So the grammar of its calls takes strings from the
conversation, whole words in a row, and numbers that occur in it, in digits or in words. Choices and
flags stay as their schema says, and so does what a tool marks `x-free`: code, texts to be composed;
what it marks `"x-free": "arithmetic"` may also be operations on numbers that occur.
A string may also be the parameter's default, or one of its `examples`. Of a parameter marked
`"x-copy": "time"`, only what can be read as a time is offered, if anything can; so of others. A
tool with a parameter marked `"x-asked": "memory"` is only for questions about what was told before.

So is an answer that follows a tool's result: its figures are ones that were said, or small counts.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from cabinos.drivers.model.readings import of_memory, readable
from cabinos.drivers.model.statements import statements
from cabinos.drivers.numerals import decimal_of, read_numeral
from cabinos.kernel.driver import Message

__all__ = [
    "MARKS",
    "Sources",
    "callable_with",
    "object_rules",
    "prose",
    "source_rules",
    "sources",
]

NEEDED = ("arithmetic", "counted unit", "other unit", "time")  # no call without one
ASKED = "x-asked"  # in a parameter's schema: "memory": only of questions about what was told
AS = "x-copy"  # in a parameter's schema: what is copied is a time, a unit: see `readings`
FREE = "x-free"  # in a parameter's schema: any value of its type may be written, or "arithmetic"
MARKS = frozenset((ASKED, AS, FREE))  # which no model is shown
LENGTH = 2000  # characters of the conversation, the last ones, that may be copied from
MOST_NUMBERS = 200
COUNTS = "[0-9]|1[0-9]|20"  # what one may count on fingers and toes, and say without a source
BETWEEN = "\x1e"  # ASCII's record separator: no copy goes on from one message into another
WORDS = re.compile(r"[^\W\d_]+|\d+(?:[.,]\d+)*|\s|[^\s\w]|_")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
JSON_NUMBER = re.compile(r"(?:0|[1-9]\d*)(?:\.\d+)?", re.ASCII)
DIGITS = re.compile(r"\d+", re.ASCII)
NUMERALS = re.compile(r"\d[\d,]*(?:\.\d+)?|[a-z]+|\S", re.ASCII)
# Words that no argument begins with, and none ends in.
LOOSE = "(?i:(?:to|and|or|of|that)(?: (?s:.*))?|(?:(?s:.*) )?(?:to|the|a|an|and|or|of|my))"
# Of JSON's text: escapes are one character, and a copy neither begins nor ends with a space.
SOLID = r'(?:[^ \x1e\\]|\\["\\])(?:(?:[^\x1e\\]|\\.)*(?:[^ \x1e\\]|\\["\\]))?'


@dataclass(frozen=True, slots=True)
class Sources:
    """What may be copied: words, and the numbers among them as JSON writes them."""

    words: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()  # runs of digits that an answer may have; none: any
    request: str = ""  # what the user said last
    texts: tuple[str, ...] = ()  # all that words are copied from, the newest last

    def readings(self, kind: str) -> list[str]:
        """The parts of it that are a `kind`, one of `readings`.

        A sum is one of the last request, not of those before, which "and times 3?" goes on with.
        """
        return readable(kind, (self.request,) if kind == "arithmetic" else self.texts)


def sources(messages: Sequence[Message]) -> Sources:
    """The last of what the user said and tools returned."""
    texts: list[str] = []
    left = LENGTH
    for message in reversed(messages):
        if message.role in ("user", "tool") and left > 0:
            texts.insert(0, CONTROL.sub(" ", message.text)[-left:])
            left -= len(texts[0])
    words = [word for text in texts for word in (*WORDS.findall(text), BETWEEN)]
    found = dict.fromkeys(number for text in reversed(texts) for number in _numbers(text))
    figures: dict[str, None] = {}
    if messages and messages[-1].role == "tool":
        figures = dict.fromkeys(run for text in reversed(texts) for run in DIGITS.findall(text))
    request = next((message.text for message in reversed(messages) if message.role == "user"), "")
    return Sources(
        tuple(words),
        tuple(found)[:MOST_NUMBERS],
        tuple(figures)[:MOST_NUMBERS],
        request[-LENGTH:],
        tuple(texts),
    )


def prose(given: Sources | None) -> str:
    """A regular expression for text; with no other figures than those given, if there are any."""
    if given is None or not given.figures:
        return "(?s:.*)"
    figure = f"({'|'.join(given.figures)}|{COUNTS})"
    return f"[^0-9]*({figure}[^0-9]+)*{figure}?"


def _numbers(text: str) -> list[str]:
    """A dozen, 1,250.50 and two hundred as 12, 1250.50 and 200; an hour has a 1."""
    tokens = [token.replace(",", "") for token in NUMERALS.findall(text.lower())]
    found = [token for token in tokens if JSON_NUMBER.fullmatch(token)]
    for at, token in enumerate(tokens):
        value, end = read_numeral(tokens, at)
        if token in ("a", "an"):
            value, end = Fraction(1), at + 1
        if end > at and (exact := decimal_of(value, 10)) is not None:
            found.append(exact)
    return found


def source_rules(given: Sources) -> list[str]:
    """The terminals COPY and ARITHMETIC (strings), NUMBER and INTEGER of what may be copied."""
    number = "|".join(map(re.escape, given.numbers))
    integer = "|".join(n for n in given.numbers if "." not in n)
    term = rf"\(*(?:{number})%?\)*"
    chunks = [word if word == BETWEEN else _escaped(word) for word in given.words]
    quoted = f" | /{number}/" if number else ""
    rules = [
        f"SPAN: %regex {json.dumps({'substring_chunks': chunks})}",
        f'COPY: "\\"" ( ( SPAN & /{SOLID}/ & ~/{LOOSE}/ ){quoted} ) "\\""',
    ]
    if number:
        rules.append(f"NUMBER: /-?({number})/")
        rules.append(f'ARITHMETIC: "\\"" /{term}( ?([-+*\\/^]|off?) ?{term})*/ "\\""')
    if integer:
        rules.append(f"INTEGER: /-?({integer})/")
    return rules


def object_rules(
    name: str,
    schema: Mapping[str, Any],
    given: Sources,
    style: Mapping[str, Any],
) -> list[str] | None:
    """Rules for the arguments of one tool, `name` the first of them; None if they are no list.

    Parameters stand in the order of the schema, those that are not required or left out. `style`
    has the separators that the model's template writes.
    """
    properties: Mapping[str, Any] = schema.get("properties") or {}
    if not all(isinstance(of, Mapping) for of in properties.values()) or _is_open(schema):
        return None
    times = [n for n in schema.get("required", ()) if properties.get(n, {}).get(AS) == "time"]
    if len(times) < 2 or not given.readings("time"):
        return _object(name, schema, given, style)
    # From one time to another, one of which is said: not from today until now.
    rules = [f"{name}: " + " | ".join(f"{name}_v{n}" for n in range(len(times)))]
    for n, said in enumerate(times):
        rules += _object(f"{name}_v{n}", schema, given, style, said)
    return rules


def _object(
    name: str,
    schema: Mapping[str, Any],
    given: Sources,
    style: Mapping[str, Any],
    said: str = "",
) -> list[str]:
    """The rules; the parameter `said` has no value that nobody said."""
    item, key = json.dumps(style["item_separator"]), style["key_separator"]
    required = [*schema.get("required", ())]
    properties: Mapping[str, Any] = {
        n: of
        for n, of in (schema.get("properties") or {}).items()
        if n in required or of.get(AS) != "zone" or given.readings("zone")  # "a time" is no zone
    }
    required += [
        n for n, of in properties.items() if of.get(AS) == "list" and given.readings("list")
    ]
    rules = [f'{name}: "{{" {name}_f0 "}}"']
    # f<n>: from parameter n on, with none before it; r<n>: the same after others
    for n, (parameter, of) in enumerate(properties.items()):
        local = {"$defs": schema["$defs"], **of} if "$defs" in schema else of
        written = json.dumps(_quoted(parameter) + key)
        meant = _statements(properties, given) if of.get(AS) == "statement" else []
        if parameter == said:
            meant = given.readings(str(of[AS]))
        written_as = _one_of(meant) if meant else _value(local, given, style)
        rules.append(f"{name}_p{n}: {written} ( {written_as} )")
        skip = "" if parameter in required else f" | {name}_f{n + 1}"
        rules.append(f"{name}_f{n}: {name}_p{n} {name}_r{n + 1}{skip}")
        optional = "" if parameter in required else "?"
        rules.append(f"{name}_r{n}: ( {item} {name}_p{n} ){optional} {name}_r{n + 1}")
    last = len(properties)
    return [*rules, f'{name}_f{last}: ""', f'{name}_r{last}: ""']


def _is_open(schema: Mapping[str, Any]) -> bool:
    """Whether there may be arguments besides `properties`, or conditions between them."""
    more = {"allOf", "anyOf", "oneOf", "not", "if", "patternProperties", "$ref"} & schema.keys()
    return bool(more) or bool(schema.get("additionalProperties"))


def callable_with(schema: Mapping[str, Any], given: Sources) -> bool:
    """Whether what was said has what a call needs: a time, units, or a sum, where it has to be one.

    Nobody is reminded at "travel", and "my tires" are no sum: such a tool is not what was asked
    for, or the model has to ask back. And what nobody can have told is not to be recalled.
    """
    for name, of in schema.get("properties", {}).items():
        kind = of.get(AS) if isinstance(of, Mapping) else None
        if isinstance(of, Mapping) and of.get(ASKED) == "memory" and not of_memory(given.request):
            return False
        if name not in schema.get("required", ()) or kind not in NEEDED:
            continue
        sums = kind == "arithmetic" and len(given.numbers) > 1  # left to the model
        if not sums and not given.readings(kind):
            return False
    return True


def _statements(properties: Mapping[str, Any], given: Sources) -> list[str]:
    """What may be meant by the parameters that are a "statement".

    A tool that takes a time or a file by itself, and the only one that is said, has it not in the
    statement: "call mom tomorrow at 5pm" is remembered as "call mom".
    """
    kinds = {of.get(AS) for of in properties.values()} & {"time", "file"}
    found = [said for kind in sorted(kinds) for said in given.readings(kind)]
    apart = [said for said in found if not any(said != o and o.endswith(said) for o in found)]
    return statements(given.texts, apart if len(apart) == 1 else ())


def _one_of(texts: Sequence[str]) -> str:
    """One of some strings."""
    return " | ".join(json.dumps(json.dumps(text, ensure_ascii=False)) for text in texts)


def _value(schema: Mapping[str, Any], given: Sources, style: Mapping[str, Any]) -> str:
    """A value as an expression of the grammar."""
    kind = schema.get("type")
    told = [schema[k] for k in ("default",) if k in schema] + list(schema.get("examples", ()))
    readings = given.readings(schema[AS]) if isinstance(schema.get(AS), str) else []
    if schema.get(AS) == "list" and not readings and "list" in given.request.lower():
        readings = [str(schema.get("default", ""))]  # "the list" is the one without a name
    if readings:
        copied = _one_of(readings)
    elif schema.get(FREE) == "arithmetic" and given.words:
        copied = "COPY | ARITHMETIC" if given.numbers else "COPY"
    elif schema.get(FREE) or {"enum", "const", "pattern", "format", "$ref"} & schema.keys():
        copied = ""
    elif "anyOf" in schema:
        kinds = [one for one in schema["anyOf"] if one.get("type") != "null"]
        local = [{"$defs": schema["$defs"], **one} if "$defs" in schema else one for one in kinds]
        copied = " | ".join(dict.fromkeys(_value(one, given, style) for one in local))
    elif kind == "string" and given.words:
        copied = "COPY"
    elif kind == "number" and given.numbers:
        copied = "NUMBER"
    elif kind == "integer" and any("." not in number for number in given.numbers):
        copied = "INTEGER"
    elif kind == "array" and isinstance(schema.get("items"), Mapping):
        one, item = _value(schema["items"], given, style), json.dumps(style["item_separator"])
        copied = f'"[" ( ( {one} ) ( {item} ( {one} ) )* )? "]"'
    else:
        copied = ""
    if not copied:
        return f"%json {json.dumps({**schema, 'x-guidance': style})}"
    plain = [json.dumps(v, ensure_ascii=False) for v in told if isinstance(v, str | int | float)]
    return " | ".join([copied, *(json.dumps(text) for text in dict.fromkeys(plain))])


def _escaped(text: str) -> str:
    """A text inside the quotes of JSON."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _quoted(text: str) -> str:
    return json.dumps(text)
