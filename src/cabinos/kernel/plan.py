"""Plans: steps with holes, written from clean pages; the kernel fills the holes.

A step is {"tool", "arguments"} and may have "for": an expression, whose items the step is made for,
one after the other, as {"item": null}. An argument is a literal or an expression, an object with
one key:

    {"result": 2}                          what step 2 returned (steps count from 1)
    {"field": [x, "id"]}                   of a record; of a list of records, of each
    {"filter": [x, "size", "gt", 10]}      the records for which it holds; null: items themselves
    {"lookup": [x, "title", "eq", "Yoga"]} the only such record; none or several are an error
    {"max": [x, "size"]}  {"min": …}       the record with the largest; of lists, the longest
    {"tally": [x]}                         [{"value", "count"}], the most frequent first
    {"at": [x, 0]}  {"count": x}           an item; how many there are
    {"add": [x, 2]}  {"sub": …}  {"mul": …}  numbers
    {"text": ["At {}.", x]}                content for people, with values in it

Whoever wrote data can sway which record is found, and what content says; never which tool is
called, nor an argument that is no hole. Only a field that the tool itself assigns (`ids`: a file's
number, not its name) can decide who or what is acted on.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import add, mul, sub
from typing import Any

from cabinos.kernel.errors import InvalidArguments
from cabinos.kernel.grants import texts
from cabinos.kernel.labels import TRUSTED, Label, join
from cabinos.kernel.policy import Origin, Value

__all__ = ["Found", "fill", "proposals", "validate"]

STEPS = 40  # of a plan
DEPTH = 12  # of expressions in one another
TAKES = {"result": 1, "field": 2, "filter": 4, "lookup": 4, "max": 2, "min": 2, "tally": 1, "at": 2,
         "count": 1, "item": 0, "add": 2, "sub": 2, "mul": 2}  # fmt: skip
TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "contains": lambda a, b: any(b in text for text in texts(a)),
    "starts": lambda a, b: str(a).startswith(b),
    "in": lambda a, b: a in b,
    "not in": lambda a, b: a not in b,
}

SUMS: dict[str, Callable[[Any, Any], Any]] = {"add": add, "sub": sub, "mul": mul}


@dataclass(frozen=True, slots=True)
class Found:
    """What a step returned, or an expression made of it."""

    value: Any
    label: Label = TRUSTED
    ids: frozenset[str] = frozenset()  # fields of its records that the tool assigns; "*": itself
    picked: bool = False

    @classmethod
    def of(cls, value: Any, label: Label, ids: Sequence[str] = ()) -> "Found":
        """The result of a tool that assigns the fields `ids`."""
        return cls(value, label, frozenset(ids), "*" in ids)


def validate(steps: Any) -> list[dict[str, Any]]:
    """The steps, if they are a plan; raises InvalidArguments, saying which is wrong and why."""
    if not isinstance(steps, list) or not 1 <= len(steps) <= STEPS:
        raise InvalidArguments(f"a plan is a list of 1 to {STEPS} steps.")
    for number, step in enumerate(steps, 1):
        if not isinstance(step, dict) or step.keys() - {"tool", "arguments", "for", "most"}:
            raise InvalidArguments(f"step {number}: a step is a tool and its arguments.")
        if not isinstance(step.get("tool"), str):
            raise InvalidArguments(f"step {number}: which tool?")
        if not isinstance(step.setdefault("arguments", {}), dict):
            raise InvalidArguments(f"step {number}: arguments are an object.")
        try:
            for part in (step.get("for"), *step["arguments"].values()):
                _check(part, number, "for" in step)
        except InvalidArguments as error:
            raise InvalidArguments(f"step {number}: {error}") from None
    return steps


def _operator(part: Any) -> tuple[str, list[Any]]:
    """(operator, operands) of an expression; ("", []) of a literal."""
    if isinstance(part, dict) and len(part) == 1:
        ((name, operands),) = part.items()
        if name in TAKES or name == "text":
            return name, operands if isinstance(operands, list) else [operands]
    return "", []


def _check(part: Any, number: int, each: bool, depth: int = 0) -> None:
    if depth > DEPTH:
        raise InvalidArguments("expressions are nested too deeply.")
    if isinstance(part, list):
        for item in part:
            _check(item, number, each, depth + 1)
    name, operands = _operator(part)
    if not name:
        return
    if name == "item" and not each:
        raise InvalidArguments("there is no item without a 'for'.")
    if name not in ("text", "item") and len(operands) != TAKES[name]:
        raise InvalidArguments(f"{name} takes {TAKES[name]} operands.")
    if name == "text" and not operands:
        raise InvalidArguments("text takes a text.")
    if name == "result":
        if not isinstance(operands[0], int) or not 1 <= operands[0] < number:
            raise InvalidArguments(f"there is no earlier step {operands[0]!r}.")
        return
    if name in ("filter", "lookup") and operands[2] not in list(TESTS):
        raise InvalidArguments(f"{name} knows no test {operands[2]!r}: {', '.join(TESTS)}.")
    for operand in operands:
        _check(operand, number, each, depth + 1)


def holes(part: Any) -> Iterator[int]:
    """The steps whose results an argument is made of; 0 for the items of a `for`."""
    name, operands = _operator(part)
    if name == "result":
        yield operands[0]
    elif name == "item":
        yield 0
    else:
        for item in operands if name else part if isinstance(part, list) else ():
            yield from holes(item)


def proposals(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each step the grant it needs, as `grants.mint` takes it."""
    made = []
    for step in steps:
        arguments = step["arguments"]
        fixed = {n: part for n, part in arguments.items() if not any(True for _ in holes(part))}
        open_ = sorted(arguments.keys() - fixed.keys())
        read = {n for part in (step.get("for"), *arguments.values()) for n in holes(part) if n}
        grant = {"tool": step["tool"], "fixed": fixed, "open": open_, "picked": open_}
        sources = sorted({steps[number - 1]["tool"] for number in read})
        made.append({**grant, "sources": sources, "uses": step.get("most", 1)})
    return made


def fill(
    arguments: Mapping[str, Any], results: Sequence[Found], item: Found | None = None
) -> dict[str, Value]:
    """The arguments with their holes filled. Raises InvalidArguments if the data do not fit."""
    filled = {}
    for name, part in arguments.items():
        found = evaluate(part, results, item)
        literal = not any(True for _ in holes(part))
        origin: Origin = "typed" if literal else "picked" if found.picked else "model"
        filled[name] = Value(found.value, found.label, origin)
    return filled


def evaluate(part: Any, results: Sequence[Found], item: Found | None = None) -> Found:
    """What an expression comes to. Raises InvalidArguments if the data do not fit."""
    name, operands = _operator(part)
    try:
        if name == "result":
            number: int = operands[0]
            return results[number - 1]
        if name == "item":
            assert item is not None
            return item
        if not name:
            return _literal(part, results, item)
        given = [evaluate(operand, results, item) for operand in operands]
        label = join(one.label for one in given)
        return replace(_apply(name, given), label=label)
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        kind = type(error).__name__
        raise InvalidArguments(f"{name}: the data do not fit ({kind}: {error}).") from None


def _literal(part: Any, results: Sequence[Found], item: Found | None) -> Found:
    if not isinstance(part, list) or not any(True for _ in holes(part)):
        return Found(part)
    given = [evaluate(one, results, item) for one in part]
    picked = all(one.picked or one.label.trusted for one in given)
    return Found([one.value for one in given], join(one.label for one in given), picked=picked)


def _apply(name: str, given: list[Found]) -> Found:
    """An operator on its operands; the label is the caller's."""
    x = given[0]
    if name == "field":
        return _field(x, given[1].value)
    if name in ("filter", "lookup"):
        key, test, other = given[1].value, TESTS[given[2].value], given[3].value
        kept = [one for one in x.value if test(one if key is None else one[key], other)]
        if name == "filter":
            return replace(x, value=kept)
        if len(kept) != 1:
            raise InvalidArguments(f"{len(kept)} records have {key} {given[2].value} {other!r}.")
        return replace(x, value=kept[0])
    if name in ("max", "min"):
        best = (max if name == "max" else min)(x.value, key=_key(given[1].value), default=None)
        if best is None:
            raise InvalidArguments(f"{name}: there are no records.")
        return replace(x, value=best)
    if name == "at":
        return replace(x, value=x.value[given[1].value])
    if name == "tally":
        counts = sorted(Counter(x.value).items(), key=lambda pair: (-pair[1], str(pair[0])))
        told = [{"value": value, "count": count} for value, count in counts]
        return Found(told, ids=frozenset(("value",)) if x.picked else frozenset())
    return Found(len(x.value)) if name == "count" else _computed(name, given)


def _computed(name: str, given: list[Found]) -> Found:
    """Numbers and text."""
    x = given[0]
    if name in SUMS:
        if not all(isinstance(one.value, int | float) for one in given):
            raise InvalidArguments(f"{name} takes numbers.")
        picked = all(one.picked or one.label.trusted for one in given)
        return Found(SUMS[name](x.value, given[1].value), picked=picked)
    parts = x.value.split("{}")
    if len(parts) != len(given):
        raise InvalidArguments(f"text: {len(parts) - 1} places for {len(given) - 1} values.")
    told = (f"{one.value}{part}" for one, part in zip(given[1:], parts[1:], strict=True))
    return Found(parts[0] + "".join(told))


def _field(x: Found, name: str) -> Found:
    if isinstance(x.value, list):
        values = [one[name] for one in x.value]
        if all(isinstance(value, list) for value in values):
            values = [inner for value in values for inner in value]
    else:
        values = x.value[name]
    return replace(x, value=values, picked=name in x.ids)


def _key(name: str) -> Callable[[Any], Any]:
    def key(record: Any) -> Any:
        value = record[name]
        return len(value) if isinstance(value, list) else value

    return key
