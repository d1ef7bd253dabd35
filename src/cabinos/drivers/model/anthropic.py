"""Anthropic's models, through the official SDK: `/v1/messages`."""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from cabinos.drivers.model.remote import (
    CallPart,
    Part,
    RemoteModel,
    WireNames,
    as_unicode,
    pick,
    pick_count,
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
    """One model of Anthropic's API, or of a server that speaks it.

    The API takes neither a seed nor a temperature: both are ignored.
    """

    def _open(self) -> "AsyncAnthropic":
        from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient

        return AsyncAnthropic(**self.connection(DefaultAsyncHttpxClient))

    async def _stream(self, request: ThinkRequest) -> AsyncGenerator[Part]:
        import anthropic
        import httpx2

        names = WireNames(request.tools)
        body = self._body(request, names)
        try:
            async with self.send("/v1/messages", body, anthropic.AsyncStream[object]) as stream:
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
        except (ValueError, RecursionError) as error:
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
            if not request.calls:
                body["tool_choice"] = {"type": "none"}
        for blocks in (system, body.get("tools"), messages[-1]["content"]):
            if blocks:
                blocks[-1]["cache_control"] = CACHED
        if request.schema is not None and _has_free_object(request.schema):
            said = f"Answer with JSON alone that fits this schema: {json.dumps(request.schema)}"
            messages[-1]["content"].append({"type": "text", "text": said})
        elif request.schema is not None:
            body["output_config"] = {
                "format": {"type": "json_schema", "schema": _answer_schema(request.schema)}
            }
        if stops := [stop for stop in request.stop if stop.strip()]:  # nor stops of white space
            body["stop_sequences"] = stops
        return body

    # ---- the answer ------------------------------------------------------------------------------

    def _part(self, event: object, names: WireNames) -> Part | None:
        """One event, of which nothing is taken for granted; None if it says nothing."""
        match pick(event, "type"):
            case "message_start":
                return _usage(pick(event, "message", "usage"))
            case "content_block_start":
                block = pick(event, "content_block")
                if pick(block, "type") == "tool_use":
                    wire = pick(block, "name")
                    name = names.back(wire) if isinstance(wire, str) else wire
                    return self._call(event, call_id=pick(block, "id"), name=name)
                return self._text(event, block, "text")
            case "content_block_delta":
                delta = pick(event, "delta")
                if pick(delta, "type") == "input_json_delta":
                    return self._call(event, arguments=pick(delta, "partial_json"))
                return self._text(event, delta, "text_delta")
            case "message_delta":
                return self._end(event)
            case None:
                raise self.nonsense(f"an event without a type: {event!r}")
        return None

    def _text(self, event: object, holder: object, kind: str) -> Part:
        """Text, or progress of another kind, such as thinking."""
        text = pick(holder, "text") if pick(holder, "type") == kind else ""
        if not isinstance(text, str) or not isinstance(holder, Mapping):
            raise self.nonsense(f"a malformed event: {event!r}")
        return Part(text=text, thinking=not text)

    def _call(self, event: object, **texts: object) -> Part:
        index = pick(event, "index")
        if not isinstance(index, int) or not all(isinstance(t, str) for t in texts.values()):
            raise self.nonsense(f"a malformed tool call: {event!r}")
        known = cast(dict[str, str], texts)
        return Part(
            calls=(
                CallPart(
                    index,
                    known.get("call_id", ""),
                    known.get("name", ""),
                    known.get("arguments", ""),
                ),
            )
        )

    def _end(self, event: object) -> Part:
        reason = pick(event, "delta", "stop_reason")
        if reason == "refusal":
            raise self.nonsense("no answer: the model refused")
        finish = FINISH.get(reason, "stop") if isinstance(reason, str) else ""
        return replace(_usage(pick(event, "usage")), finish=cast(Any, finish))

    def refused(self, status: int, body: object, headers: Mapping[str, str]) -> ModelError:
        """The error for an answer other than 200; here a prompt that is too long may be a 413."""
        error = super().refused(status, body, headers)
        if status == 413 and not isinstance(error, ContextOverflow):
            return ContextOverflow(str(error))
        return error


def _usage(usage: object) -> Part:
    """Token counts. What is read from the cache or written to it is not among `input_tokens`."""
    fresh = pick_count(usage, "input_tokens")
    read = pick_count(usage, "cache_read_input_tokens") or 0
    written = pick_count(usage, "cache_creation_input_tokens") or 0
    return Part(
        input_tokens=None if fresh is None else fresh + read + written,
        cached_tokens=read or None,
        output_tokens=pick_count(usage, "output_tokens"),
    )


def _tool(tool: Tool, names: WireNames) -> Block:
    return {
        "name": names.of(tool.name),
        "description": tool.description,
        "input_schema": dict(tool.parameters),
    }


def _as_wire(messages: Sequence[Message], names: WireNames) -> tuple[list[Block], list[Block]]:
    """The system's blocks, and turns: results of tools come first in a turn of the user."""
    system: list[Block] = []
    turns: list[Block] = []
    for message in messages:
        text = [_text(message.text)] if message.text.strip() else []
        if message.role == "system" and not turns:
            system += text
            continue
        role = "user" if message.role == "tool" else message.role
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


def _has_free_object(schema: Any) -> bool:
    """Whether an object may have any properties: the API would hold it to have none."""
    if isinstance(schema, list):
        return any(map(_has_free_object, schema))
    if not isinstance(schema, Mapping):
        return False
    closed = schema.get("properties") or schema.get("additionalProperties") is False
    free = schema.get("type") == "object" and not closed
    return free or any(map(_has_free_object, schema.values()))


def _status(body: object) -> int:
    """The status of an error inside a stream, which was 200 so far, by its type."""
    kind = pick(body, "error", "type")
    named = {"invalid_request_error": 400, "authentication_error": 401, "rate_limit_error": 429}
    return named.get(str(kind), 529 if kind == "overloaded_error" else 500)
