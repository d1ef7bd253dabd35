"""What a device is to the kernel: tools with declared effects, and models that think.

A driver is one file under `cabinos.drivers` (or anybody's package, through the entry-point group
`cabinos.drivers`): a function that takes its section of the configuration and returns a `Driver`.
The kernel knows no driver by name; it knows these shapes.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

from cabinos.kernel.errors import InvalidArguments

if TYPE_CHECKING:
    from cabinos.kernel.capability import Capabilities
    from cabinos.kernel.machine import Machine
    from cabinos.store.database import Store

__all__ = [
    "Context",
    "Driver",
    "Effect",
    "Integrity",
    "Labelled",
    "Lease",
    "Message",
    "Model",
    "Outcome",
    "ThinkRequest",
    "Thought",
    "Tool",
    "ToolCall",
    "tool",
]

# What may be done about a call whose result was lost in a crash (docs/kernel.md, "Recovery"):
#   pure   run again: it changes nothing
#   local  run again: it changes only Cabin's own memory or files, atomically
#   keyed  run again with the same idempotency key: the other side does it once
#   raw    never repeated silently: a check function or the human decides
Effect = Literal["pure", "local", "keyed", "raw"]
Integrity = Literal["trusted", "untrusted"]
# What a tool's `check` found out about a call in doubt.
Outcome = Literal["happened", "did not happen", "unknown"]


@dataclass(slots=True)
class Context:
    """What a running tool may know of the process that called it."""

    pid: int
    key: str  # idempotency key: the same for every attempt at this very call
    capabilities: "Capabilities"
    store: "Store"
    label: str = "untrusted"  # of what the process has read so far
    readers: frozenset[str] | None = frozenset()  # who may read what the tool keeps of it


@dataclass(frozen=True, slots=True)
class Labelled:
    """A result whose label is known only when it is there, not by what its tool declares."""

    value: Any
    label: Integrity
    readers: frozenset[str] | None = None  # models and recipients beyond this machine; None: any


@dataclass(frozen=True, slots=True)
class Tool:
    """One operation of a device: a schema, an effect class, and an async function.

    `run(context, **arguments)` is called with arguments that fit `parameters`. Its result is text
    or anything JSON can hold. It raises `ToolError` with a message for the model; whatever else it
    raises is reported as a failure of the tool, never as one of the kernel.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]  # a JSON schema of type "object"
    run: Callable[..., Awaitable[Any]]
    effect: Effect = "raw"
    label: Integrity = "untrusted"  # of what it returns
    egress: bool = False  # its arguments leave this machine
    ask: bool = False  # a human approves each call
    authority: tuple[str, ...] = ()  # arguments that say who or what is acted on
    payload: tuple[str, ...] = ()  # arguments that carry content there
    check: Callable[..., Awaitable[Outcome]] | None = None  # did a lost `raw` call happen?
    validate: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    needs: Literal["", "files", "web", "shell"] = ""  # offered only to who has such a capability
    pinned: str = ""  # hash of a foreign schema (MCP): a change asks again
    foreign: bool = False  # a stranger wrote its description: who is shown it has read it
    reversible: bool = False  # what it does can be undone
    ids: tuple[str, ...] = ()  # fields of its result that it assigns itself; "*": all of it
    hints: str = ""  # words by which people ask for it, for retrieval; no model sees them
    # The result of a call with these arguments as a person is told it; None: as it is.
    says: Callable[[Mapping[str, Any], str], str] | None = None

    @property
    def roles(self) -> tuple[str, ...]:
        """The arguments that say who or what is acted on; undeclared: all that are no payload."""
        names = self.parameters.get("properties", ())
        return self.authority or tuple(name for name in names if name not in self.payload)

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as `run` takes them; raises InvalidArguments, saying which is wrong."""
        if self.validate is not None:
            return self.validate(given)
        properties = self.parameters.get("properties", {})
        missing = [n for n in self.parameters.get("required", ()) if n not in given]
        unknown = [n for n in given if n not in properties]
        if missing or (unknown and not self.parameters.get("additionalProperties", False)):
            problems = [f"missing: {', '.join(missing)}"] if missing else []
            problems += [f"unknown: {', '.join(unknown)}"] if unknown else []
            raise InvalidArguments(f"{self.name}: arguments {'; '.join(problems)}.")
        return dict(given)


@dataclass(frozen=True, slots=True)
class Driver:
    """A device: its tools, its models, and how to close it.

    `observe` is called with the kernel when it starts, and returns what is to be called at its end:
    for devices that only listen to its events. `brief(request, count, most)` returns trusted text
    that a model should read before the request, or ""; at most so many tokens as `count` counts.
    """

    name: str
    tools: Sequence[Tool] = ()
    models: Sequence["Model"] = ()
    close: Callable[[], Awaitable[None]] | None = None
    observe: Callable[["Machine"], Callable[[], None]] | None = None
    brief: Callable[[str, Callable[[str], int], int], str] | None = None


@overload
def tool(function: Callable[..., Awaitable[Any]], /) -> Tool: ...
@overload
def tool(
    *,
    effect: Effect = "raw",
    label: Integrity = "untrusted",
    egress: bool = False,
    ask: bool = False,
    authority: Sequence[str] = (),
    payload: Sequence[str] = (),
    check: Callable[..., Awaitable[Outcome]] | None = None,
    needs: Literal["", "files", "web", "shell"] = "",
    hints: str = "",
    reversible: bool = False,
    ids: Sequence[str] = (),
    says: Callable[[Mapping[str, Any], str], str] | None = None,
    name: str | None = None,
) -> Callable[[Callable[..., Awaitable[Any]]], Tool]: ...
def tool(
    function: Callable[..., Awaitable[Any]] | None = None,
    /,
    *,
    name: str | None = None,
    **declared: Any,
) -> Tool | Callable[[Callable[..., Awaitable[Any]]], Tool]:
    """Makes a Tool of an async function from its types and docstring.

    A parameter `context` gets the `Context`, a parameter `key` the idempotency key; the model sees
    neither. Descriptions of parameters come from `Annotated[..., pydantic.Field(description=...)]`.
    Undeclared effects are the most distrustful: `raw`, and results are `untrusted`.
    """
    if function is None:
        return lambda f: _make_tool(f, name, declared)
    return _make_tool(function, name, declared)


def _make_tool(
    function: Callable[..., Awaitable[Any]], name: str | None, declared: Mapping[str, Any]
) -> Tool:
    from pydantic import ConfigDict, ValidationError, create_model

    name = name or function.__name__
    description = inspect.getdoc(function)
    if not description:
        raise TypeError(f"tool {name!r} needs a docstring: the model reads it")
    signature = inspect.signature(function, eval_str=True)
    fields: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        if parameter.name in ("context", "key"):
            continue
        if parameter.annotation is parameter.empty:
            raise TypeError(f"tool {name!r}: parameter {parameter.name!r} needs a type")
        required = parameter.default is parameter.empty
        fields[parameter.name] = (parameter.annotation, ... if required else parameter.default)
    lists = ("authority", "payload", "ids")
    declared = {k: tuple(v) if k in lists else v for k, v in declared.items()}
    for role in ("authority", "payload"):
        if strangers := set(declared.get(role, ())) - set(fields):
            raise TypeError(f"tool {name!r}: {role} names no parameter: {sorted(strangers)}")
    model = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)

    def validate(given: Mapping[str, Any]) -> dict[str, Any]:
        try:
            checked = model.model_validate(given)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(str(part) for part in e['loc']) or 'arguments'}: {e['msg']}"
                for e in error.errors(include_url=False)
            )
            raise InvalidArguments(f"{name}: {problems}.") from None
        return {field_name: getattr(checked, field_name) for field_name in fields}

    takes_context, takes_key = ("context" in signature.parameters, "key" in signature.parameters)

    async def run(context: Context, **arguments: Any) -> Any:
        if takes_context:
            arguments["context"] = context
        if takes_key:
            arguments["key"] = context.key
        return await function(**arguments)

    schema = model.model_json_schema()
    schema.pop("title", None)
    for shown in schema.get("properties", {}).values():
        shown.pop("title", None)
    return Tool(name, description, schema, run, validate=validate, **declared)


# ---- Models --------------------------------------------------------------------------------------


@dataclass(slots=True)
class ToolCall:
    """A call a model asked for. `arguments` is None if they were not JSON; `raw` has the text."""

    id: str
    name: str
    arguments: dict[str, Any] | None
    raw: str = ""


@dataclass(slots=True)
class Message:
    """One message of a request, in the roles every chat API knows."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    calls: tuple[ToolCall, ...] = ()  # of an assistant
    call_id: str = ""  # of a tool's result: which call it answers
    name: str = ""  # of a tool's result: which tool


class Lease(Protocol):
    """A process's turn at a model. A driver that can pause a decode offers to."""

    def over(self, tokens: int) -> bool:
        """Counts tokens just decoded; True if the quantum is spent and somebody else waits."""

    async def give_way(self) -> None:
        """Gives the slot up and returns when it is this process's turn again."""


@dataclass(slots=True)
class ThinkRequest:
    """One thought asked of a model."""

    messages: Sequence[Message]
    tools: Sequence[Tool] = ()
    max_tokens: int = 1024
    temperature: float | None = None  # None: the model's own
    top_p: float | None = None  # None: the model's own
    seed: int | None = None
    schema: Mapping[str, Any] | None = None  # the answer must be JSON that fits this
    stop: Sequence[str] = ()
    raw: bool = False  # the only message is a text to continue; for models with a true `raw`
    pid: int = 0  # a hint for caches: requests of one process share their beginning
    emit: Callable[[str], object] = len  # called with text as it comes; nobody listens by default
    lease: Lease | None = None
    calls: bool = True  # False: tools are shown, but none may be called


@dataclass(slots=True)
class Thought:
    """A model's answer: text, calls, and what it cost."""

    text: str
    calls: tuple[ToolCall, ...] = ()
    finish: Literal["stop", "calls", "length"] = "stop"
    input_tokens: int = 0
    cached_tokens: int = 0  # of the input: read from a prefix cache
    output_tokens: int = 0


class Model(Protocol):
    """A model as the kernel drives it. Attributes are plain facts and do not change.

    A model may also have a true `raw`: it can go on with a text, without a chat. And
    `async embed(texts)`: a vector of length 1 for each. A small one may have `tools_shown`, how
    many tools it wants to see at a time (None: all), with `tool_tokens(tool)`, how many tokens one
    takes; and a true `assistant`: it was trained to be Cabin's and needs no instructions. A large
    one may have a true `plans`: it can write a plan (`images/plan.py`), and is asked for one where
    that helps. One that is `built_in` is the default only where there is no other.
    """

    name: str
    window: int  # tokens of prompt and answer together
    slots: int  # thoughts it can have at once
    local: bool  # pages shown to it stay on this machine
    price: tuple[float, float]  # dollars for a million tokens of input, of output

    def count(self, text: str) -> int:
        """How many tokens the text takes; never fewer than the model will find."""

    async def think(self, request: ThinkRequest) -> Thought:
        """Answers. Raises ModelError if it cannot, ContextOverflow if the request is too long."""
