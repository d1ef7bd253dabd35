"""Any OpenAI-compatible server as a model, through the official SDK: `/v1/chat/completions`."""

import json
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any, cast

from cabinos.drivers.model.call_format import as_function
from cabinos.drivers.model.remote import (
    CallPart,
    Part,
    RemoteModel,
    WireNames,
    as_unicode,
    pick,
    pick_count,
)
from cabinos.kernel.driver import Message, ThinkRequest

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["OPENAI_URL", "OpenAIModel"]

OPENAI_URL = "https://api.openai.com/v1"
FINISH = {"stop": "stop", "length": "length", "tool_calls": "calls", "function_call": "calls"}


class OpenAIModel(RemoteModel):
    """One model of one server."""

    def _open(self) -> "AsyncOpenAI":
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        return AsyncOpenAI(**self.connection(DefaultAsyncHttpxClient))

    async def _stream(self, request: ThinkRequest) -> AsyncGenerator[Part]:
        import httpx2
        import openai

        names = WireNames(request.tools)
        body = self._body(request, names)
        try:
            async with self.send("/chat/completions", body, openai.AsyncStream[object]) as stream:
                async for chunk in stream:
                    yield self._part(chunk, names)
        except openai.APIStatusError as error:
            raise self.refused(error.status_code, error.body, error.response.headers) from None
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            raise self.lost(error) from None
        except openai.APIError as error:  # an error inside the stream
            raise self.refused(_status(error.body), error.body or error.message, {}) from None
        except (ValueError, RecursionError) as error:
            raise self.nonsense(f"what is not a chat completion ({error})") from None

    # ---- the request -----------------------------------------------------------------------------

    def _body(self, request: ThinkRequest, names: WireNames) -> dict[str, Any]:
        new = self.endpoint.base_url.rstrip("/") == OPENAI_URL
        body: dict[str, Any] = {
            "model": self.endpoint.model,
            "messages": [_as_wire(message, names) for message in request.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_completion_tokens" if new else "max_tokens": request.max_tokens,
        }
        if request.tools:
            body["tools"] = [as_function(tool) for tool in request.tools]
            for described in body["tools"]:
                described["function"]["name"] = names.of(described["function"]["name"])
            if not request.calls:
                body["tool_choice"] = "none"
        if request.schema is not None:
            wanted = {
                "name": "answer",
                "schema": dict(request.schema),
                "strict": _is_strict(request.schema),
            }
            body["response_format"] = {"type": "json_schema", "json_schema": wanted}
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.top_p is not None:
            body["top_p"] = request.top_p
        if request.seed is not None:
            body["seed"] = request.seed
        if request.stop:
            body["stop"] = list(request.stop)
        return body

    # ---- the answer ------------------------------------------------------------------------------

    def _part(self, chunk: object, names: WireNames) -> Part:
        """One chunk, of which nothing is taken for granted."""
        choices = pick(chunk, "choices")
        if not isinstance(choices, list):
            raise self.nonsense(f"a chunk without choices: {chunk!r}")
        part: dict[str, Any] = {
            "input_tokens": pick_count(chunk, "usage", "prompt_tokens"),
            "output_tokens": pick_count(chunk, "usage", "completion_tokens"),
            "cached_tokens": pick_count(chunk, "usage", "prompt_tokens_details", "cached_tokens"),
        }
        if not choices:
            return Part(**part)
        delta = pick(choices[0], "delta")
        content = pick(delta, "content") or ""
        calls = pick(delta, "tool_calls") or []
        finish = pick(choices[0], "finish_reason")
        well = isinstance(content, str) and isinstance(calls, list)
        if not well or not isinstance(delta, Mapping) or not isinstance(finish, str | None):
            raise self.nonsense(f"a malformed chunk: {chunk!r}")
        if finish == "content_filter":
            raise self.nonsense("no answer: its content filter stopped it")
        return Part(
            text=content,
            calls=tuple(self._call(call, number, names) for number, call in enumerate(calls)),
            finish=cast(Any, FINISH.get(finish, "stop") if finish else ""),
            thinking=bool(delta.get("reasoning_content") or delta.get("reasoning")),
            **part,
        )

    def _call(self, call: object, number: int, names: WireNames) -> CallPart:
        """A piece of a call, which is the `number`-th one in its chunk."""
        index = pick(call, "index")
        texts = (
            pick(call, "id") or "",
            pick(call, "function", "name") or "",
            pick(call, "function", "arguments") or "",
        )
        well = all(isinstance(text, str) for text in texts) and isinstance(call, Mapping)
        if not well or not isinstance(index, int | None):
            raise self.nonsense(f"a malformed tool call: {call!r}")
        call_id, name, arguments = texts
        return CallPart(number if index is None else index, call_id, names.back(name), arguments)


def _as_wire(message: Message, names: WireNames) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": as_unicode(message.text)}
    if message.role == "tool":
        wire["tool_call_id"] = message.call_id
    if message.calls:
        wire["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": names.of(call.name or "unknown"),
                    # What is not JSON makes some servers fail on the next request.
                    "arguments": json.dumps(
                        {"invalid": call.raw} if call.arguments is None else call.arguments
                    ),
                },
            }
            for call in message.calls
        ]
    return wire


def _is_strict(schema: Any) -> bool:
    """Whether the schema is one that OpenAI takes as strict: every property required, no others."""
    if isinstance(schema, list):
        return all(map(_is_strict, schema))
    if not isinstance(schema, Mapping):
        return True
    properties = schema.get("properties")
    if schema.get("type") == "object" or properties is not None:
        closed = schema.get("additionalProperties") is False
        if not closed or set(properties or ()) != set(schema.get("required", ())):
            return False
    return all(map(_is_strict, schema.values()))


def _status(body: object) -> int:
    """The status of an error inside a stream, which was 200 so far; some servers say."""
    code = pick(body, "code")
    return code if isinstance(code, int) and 400 <= code < 600 else 500
