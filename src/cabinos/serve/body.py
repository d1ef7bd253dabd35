"""Reading requests: sizes, JSON, types, and parameters that must not be ignored in silence.

Every parameter is one of three: honoured; without influence on the answer, so that it may be
ignored; or refused, because an answer without it would be another one. docs/serve.md lists them.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request

from cabinos.serve.errors import ApiError

__all__ = ["MAX_BODY", "Body", "read_body", "read_json"]

# Why some parameters are not supported, and what to do instead.
WHY = {
    "background": "the answer comes while you wait; POST /v1/processes begins what goes on without",
    "image": "the models here read and write text",
}
MAX_BODY = 16 << 20  # bytes

B = TypeVar("B", bound="Body")


class Body(BaseModel):
    """A request. Subclasses name the parameters that are honoured."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


async def read_json(request: Request) -> dict[str, Any]:
    """The JSON object that was sent. Raises ApiError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, f"Content-Type must be application/json, not {kind or 'missing'!r}.")
    too_large = ApiError(413, f"the body is larger than {MAX_BODY} bytes.", code="body_too_large")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > MAX_BODY:
        raise too_large
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY:
            raise too_large
    return _decode(bytes(data))


def _decode(data: bytes) -> dict[str, Any]:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ApiError(400, f"the body is not UTF-8 (byte {error.start}).") from None
    try:
        value = json.loads(text, parse_constant=_no_constant)
        if "\\ud" in text or "\\uD" in text:  # perhaps half a surrogate pair: UTF-8 cannot hold it
            whole = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
            value = json.loads(whole)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ApiError(400, f"the body is not JSON: {why}.") from None
    if not isinstance(value, dict):
        raise ApiError(400, "the body must be a JSON object.")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def read_body(
    body: type[B],
    data: Mapping[str, Any],
    *,
    ignored: frozenset[str],
    refused: Mapping[str, tuple[Any, ...]],
) -> B:
    """The parameters that count.

    `refused` names those that are not supported, each with the values that ask for nothing. Raises
    ApiError for these, for unknown ones, and for wrong types.
    """
    kept = dict(data)
    for name, neutral in refused.items():
        if name in kept and kept.pop(name) not in (None, *neutral):
            why = WHY.get(name, "ignoring it would change the answer: leave it out")
            raise ApiError(
                400,
                f"{name} is not supported: {why}.",
                code="unsupported_parameter",
                param=name,
            )
    kept = {name: value for name, value in kept.items() if name not in ignored}
    try:
        return body.model_validate(kept)
    except ValidationError as error:
        raise _problem(error) from None


def _problem(error: ValidationError) -> ApiError:
    details = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in details["loc"])
    if details["type"] == "extra_forbidden":
        message, code = f"there is no parameter {place!r}.", "unknown_parameter"
    elif details["type"] == "missing":
        message, code = f"{place} is missing.", "missing_required_parameter"
    else:
        message, code = f"{place}: {details['msg']}.", "invalid_value"
    return ApiError(400, message, code=code, param=place)
