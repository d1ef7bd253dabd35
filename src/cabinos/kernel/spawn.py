"""Everything a new process can be given."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cabinos.kernel.budget import Budget
from cabinos.kernel.capability import ClientTool, FileGrant
from cabinos.kernel.driver import Message, Tool
from cabinos.kernel.errors import InvalidArguments
from cabinos.kernel.images.chat import MAX_STEPS, Chat
from cabinos.kernel.images.code import Code
from cabinos.store.encode import to_json

__all__ = ["Spawn"]

Schema = Mapping[str, Any] | type | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawn:
    """What a process is to do, with what, and on which terms."""

    request: str = ""
    context: str = ""  # what comes with it and was not typed: untrusted
    code: str = ""  # a program instead of a request
    messages: Sequence[Message] = ()  # what was said before, or instead of a request
    system: str | None = None  # None: the kernel's own
    model: str | None = None  # None: the first one
    tools: Sequence[Tool | str] | None = None  # None: every tool there is
    files: Sequence[FileGrant] = ()
    web: Sequence[str] = ()
    shell: bool = False
    client: Sequence[ClientTool] = ()  # tools that whoever speaks with it runs
    budget: Budget | None = None
    nice: int = 0
    interactive: bool = False
    grants: Sequence[Mapping[str, Any]] = ()  # calls that the request allows: see grants.mint
    plan: bool | None = None  # first; None: where it helps, if the model can (`plan_first`)
    schema: Schema = None  # of the answer: JSON schema, or a type that pydantic knows
    stay: bool = False  # after an answer, wait for the next message
    max_steps: int = MAX_STEPS
    hand_back: bool = False  # calls are not made: they end it, for the client to make them
    whole: bool = False  # nothing is swapped out or shortened; what does not fit is an error
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stop: Sequence[str] = ()
    raw: bool = False  # the request is a text to continue
    inputs: Mapping[str, Any] | None = None  # global names of a program

    @property
    def image(self) -> str:
        """The name of the image that it runs."""
        return "code" if self.code else "chat"

    def state(self) -> dict[str, Any]:
        """The image's first state. Raises InvalidArguments for a bad schema or bad inputs."""
        if self.code:
            return Code.start(source=self.code, inputs=_plain(self.inputs))
        return Chat.start(
            schema=_json_schema(self.schema),
            stay=self.stay,
            max_steps=self.max_steps,
            think=self._thinking(),
            hand_back=self.hand_back,
            whole=self.whole,
            plan=self.plan,
        )

    def _thinking(self) -> dict[str, Any] | None:
        """The options of every thought."""
        options = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed,
            "max_tokens": self.max_tokens,
            "stop": list(self.stop) or None,
            "raw": self.raw or None,
        }
        return {k: v for k, v in options.items() if v is not None} or None


def _plain(inputs: Mapping[str, Any] | None) -> Any:
    """The inputs of a program as JSON holds them."""
    try:
        return None if inputs is None else json.loads(to_json(inputs))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArguments(f"inputs must be what JSON can hold: {error}") from error


def _json_schema(schema: Schema) -> Mapping[str, Any] | None:
    """A JSON schema as it is, or that of a type. Raises InvalidArguments if it is none."""
    if schema is None:
        return None
    if not isinstance(schema, Mapping):
        from pydantic import TypeAdapter

        return TypeAdapter(schema).json_schema()
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    kind = validator_for(schema)
    try:
        kind.check_schema(schema, format_checker=kind.FORMAT_CHECKER)
    except SchemaError as error:
        raise InvalidArguments(f"the schema is not valid: {error.message}") from None
    return schema
