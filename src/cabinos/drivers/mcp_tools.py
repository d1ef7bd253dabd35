"""Foreign tools as Cabin's: what a server says of a tool, cleaned, bounded, pinned and checked.

Names, descriptions and schemas are written by strangers and read by models. What a person cannot
see is taken out of descriptions, and a schema with such characters in it is refused: a model would
read them all the same. Hints about a tool's effect only count where the user said so.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cabinos.drivers.pattern import searcher
from cabinos.kernel.driver import Effect
from cabinos.kernel.errors import InvalidArguments

__all__ = ["Listed", "Unusable", "checker", "clean", "tool_name"]

MAX_NAME = 64  # characters: what the common model APIs take
MAX_DESCRIPTION = 1_000
MAX_SCHEMA = 20_000  # characters of JSON
MAX_REFERENCES = 1_000  # followed for one set of arguments: their number may grow exponentially

# Categories of Unicode that show nothing: control, format, private, surrogate, unassigned.
HIDDEN = ("Cc", "Cf", "Co", "Cs", "Cn")
SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")  # invisible, and can spell bytes


class Unusable(Exception):
    """A tool that is not offered; the message says why."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A tool as its server lists it."""

    name: str
    description: str
    schema: Mapping[str, Any]
    read_only: bool = False  # hints, which anybody can claim
    idempotent: bool = False

    @property
    def pin(self) -> str:
        """SHA-256 of all that a model is told of it, before cleaning, in one canonical form."""
        told = [self.name, self.description, self.schema]
        return hashlib.sha256(_canonical(told).encode("utf-8", "surrogatepass")).hexdigest()

    def parameters(self) -> dict[str, Any]:
        """The schema as a model may see it. Raises Unusable if it must not."""
        if self.schema.get("type") != "object":
            raise Unusable("its schema is not of type object")
        if (size := len(_canonical(self.schema))) > MAX_SCHEMA:
            raise Unusable(f"its schema has {size:,} characters; at most {MAX_SCHEMA:,} are read")
        cleaned = _without_hidden(self.schema)
        assert isinstance(cleaned, dict)
        return cleaned

    def effect(self, *, trusted: bool) -> Effect:
        """raw, or better where the server's hints are trusted."""
        if trusted and self.read_only:
            return "pure"
        return "keyed" if trusted and self.idempotent else "raw"

    def to_json(self) -> dict[str, Any]:
        """For the cache; `from_json` reads it."""
        return {slot: getattr(self, slot) for slot in self.__slots__}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Listed":
        """The inverse of `to_json`. Raises TypeError or KeyError for anything else."""
        listed = cls(**data)
        if not isinstance(listed.name, str) or not isinstance(listed.schema, dict):
            raise TypeError("not a listed tool")
        return listed


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def tool_name(server: str, name: str, taken: Sequence[str] = ()) -> str:
    """`mcp_<server>_<name>` in the characters that every model API takes, and not yet taken.

    What had to be changed or shortened ends in a hash of the name, so that the same tool is called
    the same whatever stands beside it.
    """
    plain = f"mcp_{server}_{name}"
    safe = re.sub(r"[^a-zA-Z0-9_-]", "_", plain)
    if safe == plain and len(safe) <= MAX_NAME and safe not in taken:
        return safe
    return f"{safe[: MAX_NAME - 9]}_{hashlib.sha256(plain.encode()).hexdigest()[:8]}"


def clean(text: str, limit: int = MAX_DESCRIPTION) -> str:
    """The text as a person would see it: no hidden characters, at most `limit` of the others."""
    visible = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in HIDDEN)
    visible = SELECTORS.sub("", visible).strip()
    return visible if len(visible) <= limit else f"{visible[: limit - 1]}…"


def _without_hidden(schema: Any) -> Any:
    """A schema with clean descriptions. Raises Unusable where hidden characters are elsewhere."""
    if isinstance(schema, dict):
        kept: dict[str, Any] = {}
        for key, value in schema.items():
            if key in ("$comment", "examples") and not isinstance(value, dict):
                continue
            is_words = key in ("description", "title") and isinstance(value, str)
            kept[_visible(key)] = clean(value) if is_words else _without_hidden(value)
        return kept
    if isinstance(schema, list):
        return [_without_hidden(item) for item in schema]
    return _visible(schema) if isinstance(schema, str) else schema


def _visible(text: str) -> str:
    if clean(text, len(text) + 1) != text.strip():
        raise Unusable(f"there are hidden characters in its schema, at {clean(text, 60)!r}")
    return text


# ---- Arguments against a schema ------------------------------------------------------------------


def checker(name: str, schema: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """A function that checks arguments against a foreign schema, in bounded time.

    It raises InvalidArguments, saying what is wrong where. What cannot be checked safely (patterns
    beyond linear time, references to other documents) is left to the server.
    """
    validator: Any = None
    followed = 0

    def count(step: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            nonlocal followed
            followed += 1
            if followed > MAX_REFERENCES:
                raise RecursionError
            return step(*arguments)

        return counted

    def check(given: Mapping[str, Any]) -> dict[str, Any]:
        nonlocal validator, followed
        from jsonschema import exceptions
        from referencing.exceptions import Unresolvable

        followed = 0
        try:
            if validator is None:
                validator = _validator(schema, count)
            error = exceptions.best_match(validator.iter_errors(dict(given)))
        except (Unresolvable, exceptions.SchemaError):
            return dict(given)
        except RecursionError:
            raise InvalidArguments(f"{name}: its schema is too entangled to be checked.") from None
        if error is not None:
            where = "".join(f"[{p!r}]" if isinstance(p, int) else f".{p}" for p in error.path)
            message = clean(error.message, 300)
            raise InvalidArguments(f"{name}: {where.lstrip('.') or 'arguments'}: {message}.")
        return dict(given)

    return check


def _validator(
    schema: Mapping[str, Any], count: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Any:
    """A jsonschema validator that follows no address and gives no foreign pattern to `re`."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError
    from jsonschema.validators import extend
    from referencing import Registry

    ordinary = Draft202012Validator.VALIDATORS

    def pattern(_: Any, wanted: str, instance: Any, __: Any) -> Any:
        if isinstance(instance, str):
            try:
                fits = searcher(wanted)(instance)
            except InvalidArguments:
                return
            if not fits:
                yield ValidationError(f"{instance[:80]!r} does not match {wanted!r}")

    def additional(validator: Any, allowed: Any, instance: Any, around: Any) -> Any:
        if "patternProperties" not in around:  # which would be matched by `re`
            yield from ordinary["additionalProperties"](validator, allowed, instance, around)

    def unchecked(*_: Any) -> Any:
        return iter(())

    careful = extend(
        Draft202012Validator,
        {
            "pattern": pattern,
            "patternProperties": unchecked,
            "additionalProperties": additional,
            "unevaluatedProperties": unchecked,
            "unevaluatedItems": unchecked,
            "$ref": count(ordinary["$ref"]),
            "$dynamicRef": unchecked,
        },
    )
    Draft202012Validator.check_schema(schema)
    return careful(schema, registry=Registry())
