"""Anthropic's models, through the official SDK: `/v1/messages`."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from cabinos.drivers.model.remote import (
    CallPart,
    Part,
    RemoteModel,
    WireNames,
    as_unicode,
    integer,
)
from cabinos.kernel.driver import Message, ThinkRequest, Tool
from cabinos.kernel.errors import ContextOverflow, ModelError

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

__all__ = ["ANTHROPIC_URL", "AnthropicModel"]

ANTHROPIC_URL = "https://api.anthropic.com"
FINISH = {"max_tokens": "length", "model_context_window_exceeded": "length", "tool_use": "calls"}

# Marks the end of a prefix that the next request will have as well: tools, system, all messages.
CACHED = {"type": "ephemeral"}

Block = dict[str, Any]


class AnthropicModel(RemoteModel):
    """One model of Anthropic's API, or of a server that speaks it."""

    def _open(self) -> "AsyncAnthropic":
        import httpx2
        from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient

        endpoint = self.endpoint
        timeout = httpx2.Timeout(None, connect=endpoint.connect_timeout)
        return AsyncAnthropic(
            base_url=endpoint.base_url,
            api_key=endpoint.api_key() or "none",  # or the SDK would look for one by itself
            max_retries=0,
            timeout=timeout,
            http_client=DefaultAsyncHttpxClient(timeout=timeout, trust_env=not endpoint.loopback),
        )

    async def _stream(self, request: ThinkRequest) -> AsyncGenerator[Part]:
        import anthropic
        import httpx2

        client: AsyncAnthropic = self._client
        names = WireNames(request.tools)
        body = self._body(request, names)
        try:
            async with await client.messages.create(**body) as stream:
                kind = stream.response.headers.get("content-type", "nothing").partition(";")[0]
                if kind != "text/event-stream":
                    raise self.nonsense(f"{kind} where an event stream was due; is base_url right?")
                async for event in stream:
                    if (part := self._part(event, names)) is not None:
                        yield part
        except anthropic.APIStatusError as error:
            status = error.status_code if error.status_code >= 400 else _status(error.body)
            raise self.refused(status, error.body, error.response.headers) from None
        except (anthropic.APIConnectionError, httpx2.HTTPError) as error:
            raise self.lost(error) from None
        except anthropic.APIError as error:
            raise self.nonsense(f"an error: {error}") from None
        except (ValueError, RecursionError, AttributeError, TypeError) as error:
            raise self.nonsense(f"what is not a message ({error})") from None

    # ---- the request -----------------------------------------------------------------------------

    def _body(self, request: ThinkRequest, names: WireNames) -> dict[str, Any]:
        system, messages = _as_wire(request.messages, names)
        body: dict[str, Any] = {
            "model": self.endpoint.model,
            "max_tokens": request.max_tokens,
            "messages": messages,
            "stream": True,
        }
        if system:
            body["system"] = system
        if request.tools:
            body["tools"] = [_tool(tool, names) for tool in request.tools]
        for blocks in (system, body.get("tools"), messages[-1]["content"]):
            if blocks:
                blocks[-1]["cache_control"] = CACHED
        if request.schema is not None:
            body["output_config"] = {
                "format": {"type": "json_schema", "schema": _answer_schema(request.schema)}
            }
        if request.temperature is not None:
            body["temperature"] = min(request.temperature, 1.0)  # the API knows no more
        if request.top_p is not None:
            body["top_p"] = request.top_p
        if stops := [stop for stop in request.stop if stop.strip()]:  # nor stops of white space
            body["stop_sequences"] = stops
        return body

    # ---- the answer ------------------------------------------------------------------------------

    def _part(self, event: Any, names: WireNames) -> Part | None:
        """One event, of which nothing is taken for granted; None if it says nothing."""
        match getattr(event, "type", None):
            case "message_start":
                return _usage(getattr(event.message, "usage", None))
            case "content_block_start":
                block = event.content_block
                if block.type == "tool_use":
                    return self._call(event.index, block.id, names.back(block.name))
                return Part(text=getattr(block, "text", None) or "", thinking=block.type != "text")
            case "content_block_delta":
                delta = event.delta
                if delta.type == "input_json_delta":
                    return self._call(event.index, arguments=delta.partial_json)
                text = delta.text if delta.type == "text_delta" else ""
                if not isinstance(text, str):
                    raise self.nonsense(f"a malformed delta: {event!r}")
                return Part(text=text, thinking=delta.type != "text_delta")
            case "message_delta":
                return self._end(event)
            case None:
                raise self.nonsense(f"an event without a type: {event!r}")
        return None

    def _call(self, index: object, *texts: object, arguments: object = "") -> Part:
        given = (*texts, *("",) * (2 - len(texts)), arguments)
        if not isinstance(index, int) or not all(isinstance(text, str) for text in given):
            raise self.nonsense(f"a malformed tool call: {given!r}")
        return Part(calls=(CallPart(index, *cast(tuple[str, str, str], given)),))

    def _end(self, event: Any) -> Part:
        reason = event.delta.stop_reason
        if reason == "refusal":
            raise self.nonsense("no answer: the model refused")
        usage = _usage(event.usage)
        finish = FINISH.get(reason, "stop") if isinstance(reason, str) else ""
        return Part(
            finish=cast(Any, finish),
            input_tokens=usage.input_tokens,
            cached_tokens=usage.cached_tokens,
            output_tokens=usage.output_tokens,
        )

    def refused(self, status: int, body: object, headers: Mapping[str, str]) -> ModelError:
        """The error for an answer other than 200; here a prompt that is too long may be a 413."""
        error = super().refused(status, body, headers)
        if status == 413 and not isinstance(error, ContextOverflow):
            return ContextOverflow(str(error))
        return error


def _usage(usage: object) -> Part:
    """Token counts. What is read from the cache or written to it is not among `input_tokens`."""
    fresh = integer(getattr(usage, "input_tokens", None))
    read = integer(getattr(usage, "cache_read_input_tokens", None)) or 0
    written = integer(getattr(usage, "cache_creation_input_tokens", None)) or 0
    return Part(
        input_tokens=None if fresh is None else fresh + read + written,
        cached_tokens=read or None,
        output_tokens=integer(getattr(usage, "output_tokens", None)),
    )


def _tool(tool: Tool, names: WireNames) -> Block:
    return {
        "name": names.of(tool.name),
        "description": tool.description,
        "input_schema": dict(tool.parameters),
    }


def _as_wire(messages: Sequence[Message], names: WireNames) -> tuple[list[Block], list[Block]]:
    """The system's blocks, and turns of user and assistant.

    Results of tools are part of the user's turn, before anything else in it. What the system says
    later on is part of the user's turn as well, between tags.
    """
    system: list[Block] = []
    turns: list[Block] = []
    for message in messages:
        text = [_text(message.text)] if message.text.strip() else []
        if message.role == "system" and not turns:
            system += text
            continue
        if message.role == "system":
            text = [_text(f"<system>\n{message.text}\n</system>")]
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [_result(message)] if message.role == "tool" else text
        for call in message.calls:
            arguments = {"invalid": call.raw} if call.arguments is None else call.arguments
            name = names.of(call.name or "unknown")
            blocks.append({"type": "tool_use", "id": call.id, "name": name, "input": arguments})
        if not blocks:
            continue
        if not turns and role == "assistant":
            turns.append({"role": "user", "content": [_text("(go on)")]})
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    if not turns:
        turns.append({"role": "user", "content": [_text("(go on)")]})
    for turn in turns:
        turn["content"].sort(key=lambda block: block["type"] != "tool_result")
    return system, turns


def _text(text: str) -> Block:
    return {"type": "text", "text": as_unicode(text)}


def _result(message: Message) -> Block:
    content = as_unicode(message.text)
    return {"type": "tool_result", "tool_use_id": message.call_id, "content": content}


def _answer_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with only what the API can hold an answer to; the rest becomes description."""
    from anthropic import transform_schema

    try:
        return dict(transform_schema(dict(schema)))
    except (ValueError, TypeError, KeyError, AssertionError):
        return dict(schema)


def _status(body: object) -> int:
    """The status of an error inside a stream, which was 200 so far, by its type."""
    error = body.get("error") if isinstance(body, Mapping) else None
    kind = error.get("type") if isinstance(error, Mapping) else None
    named = {"invalid_request_error": 400, "authentication_error": 401, "rate_limit_error": 429}
    return named.get(str(kind), 529 if kind == "overloaded_error" else 500)
