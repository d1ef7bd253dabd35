"""POST /v1/responses: a conversation is a process, and a response is one of its turns.

With "cabin/NAME" the process has Cabin's tools as well as the client's. What its own tools did is
shown as calls of an MCP server called "cabin", and an approval that it needs as a request of that
server, since official clients know both and answer the latter.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response

from cabinos.kernel.kernel import Spawn
from cabinos.serve.body import Body, read_body, read_json
from cabinos.serve.conversation import begin, go_on
from cabinos.serve.encode import Json
from cabinos.serve.errors import ApiError
from cabinos.serve.response_items import Input, read_input
from cabinos.serve.response_stream import ResponseStream
from cabinos.serve.service import Chosen, Service, service_of, unless_gone
from cabinos.serve.sse import EventStream
from cabinos.serve.turn import Turn
from cabinos.serve.wire import (
    Count,
    Format,
    Function,
    Temperature,
    TopP,
    client_tools,
    schema_of,
    unsupported,
)

__all__ = ["IGNORED", "REFUSED", "create_response"]

# Without influence on the answer.
IGNORED = frozenset(
    "access_programs include moderation prompt_cache_key prompt_cache_options "
    "prompt_cache_retention safety_identifier service_tier stream_options user".split()
)
# Not supported, with the values that ask for nothing.
REFUSED: dict[str, tuple[Any, ...]] = {
    "background": (False,),
    "background_options": (),
    "context_management": ([],),
    "conversation": (),
    "image": (),
    "max_tool_calls": (),
    "parallel_tool_calls": (True,),
    "prompt": (),
    "reasoning": ({}, {"effort": None}, {"effort": "none"}),
    "top_logprobs": (0,),
}


class Tool(Function):
    """A tool of the client."""

    type: Literal["function"]
    defer_loading: None = None
    output_schema: None = None


class Text(Body):
    """The form of the answer."""

    format: Format | None = None
    verbosity: Literal["medium"] | None = None


class ResponseRequest(Body):
    """The parameters that are honoured."""

    model: str
    input: str | list[Any]
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    stream: bool | None = None
    temperature: Temperature = None
    top_p: TopP = None
    max_output_tokens: Count = None
    text: Text | None = None
    tools: list[Tool] | None = None
    tool_choice: Any = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: dict[str, str] | None = None


async def create_response(request: Request) -> Response:
    """Begins a conversation, or goes on with one."""
    service = service_of(request)
    data = await read_json(request)
    asked = read_body(ResponseRequest, data, ignored=IGNORED, refused=REFUSED)
    chosen = service.choose(asked.model)
    said = read_input(asked.input)
    spawn, echo = _spawn(service, chosen, asked, said), _echo(chosen, asked)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(service.place(chosen.name))
        if asked.previous_response_id:
            begun = await unless_gone(
                request, go_on(service, asked.previous_response_id, said, spawn, echo)
            )
        else:
            begun = await begin(service, spawn, echo)
        stack.callback(begun.turn.leave)
        held, usage = spawn.schema is not None, begun.turn.usage
        stream = ResponseStream(begun.id, begun.handle, usage, echo, held=held)
        if asked.stream:
            return EventStream(stream.events(begun.turn), stack.pop_all())
        return Json(await unless_gone(request, _whole(stream, begun.turn)))


async def _whole(stream: ResponseStream, turn: Turn) -> dict[str, Any]:
    events: AsyncGenerator[str] = stream.events(turn)
    async for _ in events:
        pass
    if stream.error is not None:
        raise stream.error
    return stream.response()


def _spawn(service: Service, chosen: Chosen, asked: ResponseRequest, said: Input) -> Spawn:
    """The terms of the turn; for a new conversation, what is said as well."""
    store = asked.store is not False
    tools = [] if asked.tool_choice == "none" else asked.tools or []
    if tools and asked.tool_choice not in (None, "auto"):
        raise unsupported("a tool_choice other than 'auto' and 'none'", "tool_choice")
    if not store and asked.previous_response_id:
        raise ApiError(
            400,
            "a conversation that goes on is stored: store: false needs all of its items as input.",
            param="store",
        )
    if not store and tools and chosen.cabin:
        raise ApiError(400, f"{chosen.asked} with tools of yours needs store: true.", param="store")
    if not asked.previous_response_id:
        if said.results or said.approvals:
            raise ApiError(
                400, "an output without its call; see previous_response_id.", param="input"
            )
        if not said.messages:
            raise ApiError(400, "the input is empty.", param="input")
    window = service.kernel.model(chosen.name).window
    limit = asked.max_output_tokens
    return Spawn(
        messages=said.messages,
        model=chosen.name,
        system=asked.instructions or (None if chosen.cabin else ""),
        **service.allowed(chosen),
        client=client_tools(tools),
        stay=store,
        hand_back=not store and not chosen.cabin,
        whole=not chosen.cabin and asked.truncation != "auto",
        interactive=bool(asked.stream),
        schema=schema_of(asked.text.format if asked.text else None, "text.format"),
        temperature=asked.temperature,
        top_p=asked.top_p,
        max_tokens=limit if chosen.cabin else min(limit or window, window // 4),
    )


def _echo(chosen: Chosen, asked: ResponseRequest) -> dict[str, Any]:
    """What a response repeats of its request."""
    form = asked.text.format if asked.text else None
    form_json = form.model_dump(by_alias=True, exclude_none=True) if form else {"type": "text"}
    return {
        "model": chosen.asked,
        "instructions": asked.instructions,
        "previous_response_id": asked.previous_response_id,
        "store": asked.store is not False,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "max_output_tokens": asked.max_output_tokens,
        "text": {"format": form_json},
        "tools": [
            {"strict": False, **tool.model_dump(exclude_none=True)} for tool in asked.tools or ()
        ],
        "tool_choice": asked.tool_choice or "auto",
        "parallel_tool_calls": True,
        "truncation": asked.truncation or "disabled",
        "metadata": asked.metadata or {},
    }
