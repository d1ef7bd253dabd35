"""JSON as it stands in the store's columns."""

import json
from typing import Any

from pydantic_core import PydanticSerializationError
from pydantic_core import to_json as _to_bytes

__all__ = ["to_json"]


def to_json(value: Any) -> str:
    """The value as compact JSON. Text that UTF-8 cannot hold is escaped, never refused."""
    try:
        return _to_bytes(value).decode()
    except PydanticSerializationError:  # half a surrogate pair, as hostile JSON may contain
        return json.dumps(value, separators=(",", ":"))
