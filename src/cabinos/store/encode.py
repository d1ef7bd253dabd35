"""Text and JSON as they stand in the store's columns."""

import json
from typing import Any, TypeVar

from pydantic_core import PydanticSerializationError, from_json
from pydantic_core import to_json as _to_bytes

__all__ = ["clean_text", "read_json", "to_json"]

T = TypeVar("T")


def to_json(value: Any) -> str:
    """The value as compact JSON. What UTF-8 cannot hold becomes "?", as in texts."""
    try:
        return _to_bytes(value).decode()
    except PydanticSerializationError:  # half a surrogate pair, as hostile JSON may contain
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return clean_text(text)


def read_json(text: str) -> Any:
    """What `to_json` wrote."""
    try:
        return from_json(text)
    except ValueError:  # half a surrogate pair, which only the slower parser takes
        return json.loads(text)


def clean_text(value: T) -> T:
    """A text as UTF-8 can hold it: half surrogate pairs become "?". Anything else as it is."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-8", "replace").decode()  # type: ignore[return-value] # a str
    return value
