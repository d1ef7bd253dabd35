"""What both of OpenAI's APIs share: parts of content, tools, formats, limits of sampling."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from cabinos.kernel.capability import ClientTool
from cabinos.serve.body import Body
from cabinos.serve.errors import ApiError

__all__ = [
    "Count",
    "Format",
    "Function",
    "Seed",
    "Stop",
    "StreamOptions",
    "Temperature",
    "TopP",
    "client_tools",
    "content_text",
    "schema_of",
    "unsupported",
]

Temperature = Annotated[float, Field(ge=0, le=2)] | None
TopP = Annotated[float, Field(gt=0, le=1)] | None
Count = Annotated[int, Field(ge=1)] | None
Seed = Annotated[int, Field(ge=0, lt=2**53)] | None
Stop = str | Annotated[list[str], Field(max_length=16)] | None
ANY_OBJECT = {"type": "object"}


class Function(Body):
    """A tool of the client."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Format(Body):
    """How a structured answer is asked for."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class StreamOptions(Body):
    """What a stream holds beside the answer."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


def unsupported(what: str, param: str) -> ApiError:
    """The error for a value of a kind that is not served."""
    return ApiError(400, f"{what} is not supported.", code="unsupported_value", param=param)


def content_text(content: object, param: str) -> str:
    """The text of a message: a string, or parts of text."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ApiError(400, f"{param} must be text or a list of parts.", param=param)
    texts = []
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if "image" in str(kind):
            message = "images are not supported: the models here read text."
            where = f"{param}.{number}"
            raise ApiError(400, message, code="unsupported_value", param=where)
        if kind not in ("text", "input_text", "output_text"):
            raise unsupported(f"content of type {kind!r}", f"{param}.{number}")
        text = part.get("text")
        if not isinstance(text, str):
            raise ApiError(400, f"{param}.{number}.text must be text.", param=f"{param}.{number}")
        texts.append(text)
    return "\n".join(texts)


def client_tools(functions: Sequence[Function]) -> tuple[ClientTool, ...]:
    """The client's tools as the kernel takes them."""
    names = [function.name for function in functions]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ApiError(400, f"there are two tools called {twice[0]!r}.", param="tools")
    return tuple(
        ClientTool(f.name, f.description or "", json.dumps(f.parameters or ANY_OBJECT))
        for f in functions
    )


def schema_of(wanted: Format | None, param: str) -> dict[str, Any] | None:
    """The JSON schema of the answer; None: it is free."""
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return ANY_OBJECT
    if wanted.schema_ is None:
        raise ApiError(400, f"{param}: a json_schema needs its schema.", param=param)
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(wanted.schema_).check_schema(wanted.schema_)
    except SchemaError as error:
        message = f"{param}: not a JSON schema: {error.message}."
        raise ApiError(400, message, code="invalid_schema", param=param) from None
    return wanted.schema_
