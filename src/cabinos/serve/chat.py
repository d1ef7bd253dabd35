"""POST /v1/chat/completions.

The client holds the conversation: each request is a new process that is told all of it. It answers
once; calls of the client's tools are its answer. For "cabin/NAME" it has Cabin's own tools, and
works with them until there is an answer.
"""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from cabinos.kernel.driver import Message
from cabinos.kernel.kernel import Spawn
from cabinos.serve.body import Body, read_body, read_json
from cabinos.serve.chat_messages import WireMessage, kernel_messages
from cabinos.serve.choices import Choice, complete, merged
from cabinos.serve.encode import Json
from cabinos.serve.errors import ApiError
from cabinos.serve.forced import chosen_functions, instruction, schema_of_calls
from cabinos.serve.service import Chosen, Service, service_of, unless_gone
from cabinos.serve.sse import DONE, KEEP_ALIVE, EventStream, sse, with_first
from cabinos.serve.turn import Called, Turn
from cabinos.serve.wire import (
    Count,
    Format,
    Function,
    Seed,
    Stop,
    StreamOptions,
    Temperature,
    TopP,
    client_tools,
    schema_of,
)

__all__ = ["IGNORED", "REFUSED", "chat_completions"]

# Without influence on the answer.
IGNORED = frozenset(
    "metadata moderation prompt_cache_key prompt_cache_options prompt_cache_retention "
    "safety_identifier service_tier store user".split()
)
# Not supported, with the values that ask for nothing.
REFUSED: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "parallel_tool_calls": (True,),
    "prediction": (),
    "presence_penalty": (0,),
    "reasoning_effort": ("none",),
    "top_logprobs": (0,),
    "verbosity": ("medium",),
    "web_search_options": (),
}


class Tool(Body):
    """A tool of the client."""

    type: Literal["function"]
    function: Function


class ResponseFormat(Body):
    """The form of the answer; here the schema lies one level deeper than in responses."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = None


class ChatRequest(Body):
    """The parameters that are honoured."""

    model: str
    messages: list[WireMessage]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Temperature = None
    top_p: TopP = None
    max_tokens: Count = None
    max_completion_tokens: Count = None
    n: Annotated[int, Field(ge=1, le=16)] | None = None
    seed: Seed = None
    stop: Stop = None
    tools: list[Tool] | None = None
    tool_choice: Any = None
    response_format: ResponseFormat | None = None


async def chat_completions(request: Request) -> Response:
    """Answers a chat."""
    service = service_of(request)
    data = await read_json(request)
    asked = read_body(ChatRequest, data, ignored=IGNORED, refused=REFUSED)
    chosen = service.choose(asked.model)
    spawns = [_spawn(service, chosen, asked, number) for number in range(asked.n or 1)]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(service.place(chosen.name, len(spawns)))
        handles = await service.kernel.spawn_many(spawns)
        turns = [Turn(service, handle, stays=False) for handle in handles]
        for turn in turns:
            stack.callback(turn.leave)
        forced = bool(_forced(asked))
        answer = _Answer(chosen.asked, turns, held=spawns[0].schema is not None, forced=forced)
        if not asked.stream:
            return Json(await unless_gone(request, answer.whole()))
        usage = asked.stream_options is not None and bool(asked.stream_options.include_usage)
        chunks = answer.chunks(usage)
        first = await unless_gone(request, anext(chunks))  # an error before it has its own status
        return EventStream(with_first(first, chunks), stack.pop_all())


def _spawn(service: Service, chosen: Chosen, asked: ChatRequest, number: int) -> Spawn:
    """The process of one choice."""
    tools = [tool.function for tool in asked.tools or ()] if asked.tool_choice != "none" else []
    forced = _forced(asked)
    messages = kernel_messages(asked.messages)
    if forced:
        messages.append(Message("system", instruction(forced)))
    if tools and chosen.cabin:
        raise ApiError(
            400,
            f"{chosen.asked} works with Cabin's tools; yours can join them in /v1/responses.",
            param="tools",
        )
    stop = [asked.stop] if isinstance(asked.stop, str) else asked.stop
    window = service.kernel.model(chosen.name).window
    wanted = asked.max_completion_tokens or asked.max_tokens
    return Spawn(
        messages=messages,
        model=chosen.name,
        system=None if chosen.cabin else "",
        **service.allowed(chosen),
        client=() if forced else client_tools(tools),
        hand_back=not chosen.cabin,
        whole=not chosen.cabin,
        interactive=bool(asked.stream),
        schema=schema_of_calls(forced) if forced else _schema(asked.response_format),
        temperature=asked.temperature,
        top_p=asked.top_p,
        seed=None if asked.seed is None else asked.seed + number,
        max_tokens=wanted if chosen.cabin else min(wanted or window, window // 4),
        stop=stop or (),
    )


def _forced(asked: ChatRequest) -> list[Function]:
    """The functions of which one must be called."""
    return chosen_functions(asked.tool_choice, [tool.function for tool in asked.tools or ()])


def _schema(wanted: ResponseFormat | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    inner = {"type": wanted.type, **(wanted.json_schema or {})}
    flat = read_body(Format, inner, ignored=frozenset(), refused={})
    return schema_of(flat, "response_format")


class _Answer:
    """One completion of one or more choices."""

    def __init__(self, model: str, turns: Sequence[Turn], *, held: bool, forced: bool) -> None:
        self._turns = turns
        self._choices = [Choice(turn, held=held, forced=forced) for turn in turns]
        self._shared = {
            "id": f"chatcmpl-{turns[0].pid}",
            "created": int(time.time()),
            "model": model,
        }

    async def whole(self) -> dict[str, Any]:
        """All of it at once."""
        await complete(self._turns, self._choices)
        choices = []
        for index, choice in enumerate(self._choices):
            message: dict[str, Any] = {
                "role": "assistant",
                "content": choice.text or (None if choice.calls else ""),
                "refusal": None,
            }
            if choice.provenance:
                message["provenance"] = choice.provenance
            if choice.calls:
                message["tool_calls"] = [_wire_call(call) for call in choice.calls]
            choices.append(
                {
                    "index": index,
                    "message": message,
                    "logprobs": None,
                    "finish_reason": choice.finish_reason,
                }
            )
        shared = {**self._shared, "object": "chat.completion"}
        return {**shared, "choices": choices, "usage": self._usage()}

    async def chunks(self, usage: bool) -> AsyncGenerator[str]:
        """All of it as server-sent events."""
        begun: set[int] = set()
        async with aclosing(merged(self._turns)) as events:
            async for index, event in events:
                text = self._choices[index].take(event) if event is not None else ""
                if text and index not in begun:
                    begun.add(index)
                    yield self._chunk(index, {"role": "assistant", "content": ""}, usage)
                if text:
                    yield self._chunk(index, {"content": text}, usage)
                elif event is None and begun:
                    yield KEEP_ALIVE
        for index, choice in enumerate(self._choices):
            rest = choice.held_text()
            if index not in begun:
                yield self._chunk(index, {"role": "assistant", "content": rest}, usage)
            elif rest:
                yield self._chunk(index, {"content": rest}, usage)
            for number, call in enumerate(choice.calls):
                delta = {"tool_calls": [{"index": number, **_wire_call(call)}]}
                yield self._chunk(index, delta, usage)
            last = {"provenance": choice.provenance} if choice.provenance else {}
            yield self._chunk(index, last, usage, choice.finish_reason)
        if usage:
            shared = {**self._shared, "object": "chat.completion.chunk"}
            yield sse({**shared, "choices": [], "usage": self._usage()})
        yield DONE

    def _chunk(
        self, index: int, delta: dict[str, Any], usage: bool, finish: str | None = None
    ) -> str:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk: dict[str, Any] = {
            **self._shared,
            "object": "chat.completion.chunk",
            "choices": [choice],
        }
        if usage:
            chunk["usage"] = None
        return sse(chunk)

    def _usage(self) -> dict[str, Any]:
        """Tokens; those of the prompt once, however many choices read it."""
        prompt = self._turns[0].usage
        output = sum(turn.usage.output for turn in self._turns)
        return {
            "prompt_tokens": prompt.input,
            "completion_tokens": output,
            "total_tokens": prompt.input + output,
            "prompt_tokens_details": {"cached_tokens": prompt.cached},
        }


def _wire_call(call: Called) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}
