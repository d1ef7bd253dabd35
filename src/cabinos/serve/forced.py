"""Calls that must be made: `tool_choice` "required", or one function by name.

A model can be held to a JSON schema, so the call is asked for as a structured answer that names one
of the functions and gives its arguments.
"""

import json
from collections.abc import Sequence
from typing import Any

from cabinos.serve.errors import ApiError
from cabinos.serve.turn import Called
from cabinos.serve.wire import Function, unsupported

__all__ = ["call_of", "chosen_functions", "instruction", "schema_of_calls"]


def chosen_functions(choice: object, functions: Sequence[Function]) -> list[Function]:
    """Those of which one must be called; none if the model is free. Raises ApiError."""
    if choice in (None, "auto", "none"):
        return []
    named = choice.get("function") if isinstance(choice, dict) else None
    if choice == "required":
        wanted = list(functions)
    elif isinstance(named, dict) and choice.get("type") == "function":  # type: ignore[attr-defined]
        wanted = [function for function in functions if function.name == named.get("name")]
    else:
        raise unsupported("this tool_choice", "tool_choice")
    if not wanted:
        raise ApiError(400, "tool_choice: there is no such tool.", param="tool_choice")
    return wanted


def schema_of_calls(functions: Sequence[Function]) -> dict[str, Any]:
    """The JSON schema of a call of one of them. Raises ApiError if their definitions collide."""
    definitions: dict[str, Any] = {}
    calls = []
    for function in functions:
        parameters = dict(function.parameters or {"type": "object"})
        for name, definition in parameters.pop("$defs", {}).items():
            if definitions.setdefault(name, definition) != definition:
                raise ApiError(400, f"two tools define {name!r} differently.", param="tools")
        properties = {"name": {"const": function.name}, "arguments": parameters}
        calls.append(
            {
                "type": "object",
                "properties": properties,
                "required": list(properties),
                "additionalProperties": False,
            }
        )
    schema: dict[str, Any] = calls[0] if len(calls) == 1 else {"anyOf": calls}
    return {**schema, "$defs": definitions} if definitions else schema


def instruction(functions: Sequence[Function]) -> str:
    """What the model is told."""
    described = "\n".join(
        json.dumps(function.model_dump(exclude_none=True, exclude={"strict"}))
        for function in functions
    )
    return (
        f"Answer with a call of one of these functions, and nothing else:\n{described}\n"
        f'Its form is {{"name": NAME, "arguments": {{…}}}}.'
    )


def call_of(pid: int, text: str) -> Called:
    """The call in an answer that fits the schema."""
    call = json.loads(text)
    arguments = json.dumps(call["arguments"], ensure_ascii=False)
    return Called(f"call_{pid}_forced", call["name"], arguments)
