"""JSON as it is sent: in ASCII.

So half a surrogate pair that a model made up can be sent, and no line separator of Unicode ends an
event where a client splits lines. What is not a number is null.
"""

import json
from typing import Any

from pydantic_core import from_json
from pydantic_core import to_json as to_bytes
from starlette.responses import JSONResponse

__all__ = ["Json", "to_ascii"]


def to_ascii(value: Any) -> str:
    """The value as compact JSON."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(from_json(to_bytes(value, inf_nan_mode="null")), separators=(",", ":"))


class Json(JSONResponse):
    """An answer in JSON."""

    def render(self, content: Any) -> bytes:
        """See Starlette."""
        return to_ascii(content).encode()
