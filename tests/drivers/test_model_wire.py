"""What goes over the wire: messages, tools and schemas in OpenAI's form and in Anthropic's."""

import json
from dataclasses import replace
from typing import Any

import pytest

from cabinos.drivers.model import openai as openai_module
from cabinos.drivers.model.anthropic import AnthropicModel
from cabinos.drivers.model.openai import OPENAI_URL, OpenAIModel
from cabinos.drivers.model.remote import Endpoint, ServerError, WireNames
from cabinos.kernel.driver import Message, ThinkRequest, ToolCall, tool
from tests.drivers.test_model_remote import Talk
from tests.fixtures.stub_server import Reply

CALLS = (
    ToolCall("a", "add", {"a": 1, "b": 2}, '{"a": 1, "b": 2}'),
    ToolCall("b", "", None, "add(1, 2)"),
)
DIALOGUE = (
    Message("system", "Be brief."),
    Message("user", "Add."),
    Message("assistant", "Sure.", CALLS),
    Message("tool", "3", call_id="a", name="add"),
    Message("tool", "not JSON", call_id="b"),
    Message("system", "Time is short."),
    Message("user", "Go on."),
)
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"],
          "additionalProperties": False}  # fmt: skip


@tool
async def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


@tool
async def sub(a: int, b: int) -> int:
    """Subtracts."""
    return a - b


REQUEST = ThinkRequest(DIALOGUE, (add, sub), max_tokens=77)


def sent(provider: str, request: ThinkRequest) -> Any:
    return Talk(provider, Reply("ok"), request=request).requests[0].body


# ---- OpenAI --------------------------------------------------------------------------------------


def test_a_dialogue_in_openais_form() -> None:
    body = sent("openai", REQUEST)
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Add."},
        {
            "role": "assistant",
            "content": "Sure.",
            "tool_calls": [
                {
                    "id": "a",
                    "type": "function",
                    "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'},
                },
                {
                    "id": "b",
                    "type": "function",
                    "function": {"name": "unknown", "arguments": '{"invalid": "add(1, 2)"}'},
                },
            ],
        },
        {"role": "tool", "content": "3", "tool_call_id": "a"},
        {"role": "tool", "content": "not JSON", "tool_call_id": "b"},
        {"role": "system", "content": "Time is short."},
        {"role": "user", "content": "Go on."},
    ]
    assert body["tools"][0] == {
        "type": "function",
        "function": {"name": "add", "description": "Adds.", "parameters": add.parameters},
    }
    rest = {name: value for name, value in body.items() if name not in ("messages", "tools")}
    assert rest == {
        "model": "stub",
        "max_tokens": 77,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_options_in_openais_form() -> None:
    options: Any = {"temperature": 0.0, "seed": 0, "stop": ("\n", "END"), "schema": SCHEMA}
    body = sent("openai", replace(REQUEST, tools=(), **options))
    assert (body["temperature"], body["seed"], body["stop"]) == (0.0, 0, ["\n", "END"])
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
    }
    assert "tools" not in body


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (SCHEMA, True),
        ({**SCHEMA, "required": []}, False),
        ({**SCHEMA, "additionalProperties": True}, False),
        ({**SCHEMA, "properties": {"x": {"type": "object"}}}, False),
        ({**SCHEMA, "properties": {"x": {"anyOf": [SCHEMA, {"type": "null"}]}}}, True),
        ({"$defs": {"y": {"type": "object", "properties": {}}}, **SCHEMA}, False),
    ],
)
def test_a_schema_is_strict_if_openai_would_take_it_so(
    schema: dict[str, Any], strict: bool
) -> None:
    assert openai_module._is_strict(schema) == strict


@pytest.mark.parametrize(("api", "choice"), [("openai", "none"), ("anthropic", {"type": "none"})])
def test_tools_that_are_only_shown(api: str, choice: object) -> None:
    assert "tool_choice" not in sent(api, REQUEST)
    body = sent(api, replace(REQUEST, calls=False))
    assert body["tool_choice"] == choice
    assert len(body["tools"]) == len(REQUEST.tools)
    assert "tool_choice" not in sent(api, replace(REQUEST, calls=False, tools=()))


def test_openai_itself_has_another_name_for_max_tokens() -> None:
    endpoint = Endpoint("smart", "gpt", OPENAI_URL, 1000)
    body = OpenAIModel(endpoint)._body(REQUEST, WireNames(()))
    assert body["max_completion_tokens"] == 77
    assert "max_tokens" not in body


def test_calls_left_in_the_text_are_found_if_so_configured() -> None:
    text = 'So.\n<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>'
    talk = Talk("openai", Reply(text), request=REQUEST, text_calls=True)
    assert (talk.thought.text, talk.thought.finish) == ("So.", "calls")
    assert talk.thought.calls[0].arguments == {"a": 1, "b": 2}
    assert "".join(talk.shown) == "So."
    assert Talk("openai", Reply(text), request=REQUEST).thought.text == text


def chunks(*deltas: dict[str, Any], finish: str = "tool_calls") -> Reply:
    """A stream of just these deltas."""
    ends: list[str | None] = [*(None for _ in deltas), finish]
    events = [
        f"data: {json.dumps({'choices': [{'delta': delta, 'finish_reason': end}]})}\n\n"
        for delta, end in zip([*deltas, {}], ends, strict=True)
    ]
    body = "".join([*events, "data: [DONE]\n\n"]).encode()
    return Reply(headers={"Content-Type": "text/event-stream; charset=utf-8"}, body=body)


def test_servers_that_give_calls_without_an_index() -> None:
    one: Any = {"id": "1", "function": {"name": "add", "arguments": '{"a": 1}'}}
    other = {"id": "2", "function": {"name": "sub", "arguments": "{}"}}
    talk = Talk("openai", chunks({"tool_calls": [one, other]}), request=REQUEST)
    assert [(call.id, call.name) for call in talk.thought.calls] == [("1", "add"), ("2", "sub")]


def test_servers_that_repeat_the_name_or_give_no_id() -> None:
    first: Any = {"index": 0, "function": {"name": "add", "arguments": '{"a"'}}
    second = {"index": 0, "function": {"name": "add", "arguments": ": 1}"}}
    talk = Talk(
        "openai", chunks({"tool_calls": [first]}, {"tool_calls": [second]}), request=REQUEST
    )
    (call,) = talk.thought.calls
    assert (call.name, call.arguments) == ("add", {"a": 1})
    assert call.id


def test_reasoning_is_progress_but_not_text() -> None:
    reply = chunks(
        {"reasoning_content": "hm"}, {"reasoning": "hm"}, {"content": "Yes"}, finish="stop"
    )
    talk = Talk("openai", reply)
    assert (talk.thought.text, talk.shown) == ("Yes", ["Yes"])


@pytest.mark.parametrize(
    "chunk",
    [
        "{}",
        "[]",
        "7",
        '"text"',
        '{"choices": null}',
        '{"choices": {}}',
        '{"choices": [7]}',
        '{"choices": [{}]}',
        '{"choices": [{"delta": 7}]}',
        '{"choices": [{"delta": {"content": ["x"]}}]}',
        '{"choices": [{"delta": {"tool_calls": 7}}]}',
        '{"choices": [{"delta": {"tool_calls": [7]}}]}',
        '{"choices": [{"delta": {"tool_calls": [{"index": "x", "function": {"name": "add"}}]}}]}',
        '{"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"name": 7}}]}}]}',
    ],
)
def test_chunks_that_are_none_are_a_clear_error(chunk: str) -> None:
    body = f"data: {chunk}\n\ndata: [DONE]\n\n".encode()
    reply = Reply(headers={"Content-Type": "text/event-stream"}, body=body)
    talk = Talk("openai", reply, retries=0)
    assert talk.error is not None
    assert "sent " in str(talk.error) or "broke off" in str(talk.error)
    assert "object at 0x" not in str(talk.error)


def test_an_error_inside_the_stream() -> None:
    said = {"error": {"message": "maximum context length exceeded", "code": 400}}
    body = f"data: {json.dumps(said)}\n\n".encode()
    talk = Talk("openai", Reply(headers={"Content-Type": "text/event-stream"}, body=body))
    assert "answered 400: maximum context length exceeded" in str(talk.error)
    assert type(talk.error).__name__ == "ContextOverflow"


def test_a_filtered_answer_is_an_error() -> None:
    talk = Talk("openai", chunks({"content": "x"}, finish="content_filter"))
    assert "content filter" in str(talk.error)


# ---- Anthropic -----------------------------------------------------------------------------------


def test_a_dialogue_in_anthropics_form() -> None:
    body = sent("anthropic", REQUEST)
    cached = {"type": "ephemeral"}
    assert body["system"] == [{"type": "text", "text": "Be brief.", "cache_control": cached}]
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Add."}]},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Sure."},
                {"type": "tool_use", "id": "a", "name": "add", "input": {"a": 1, "b": 2}},
                {
                    "type": "tool_use",
                    "id": "b",
                    "name": "unknown",
                    "input": {"invalid": "add(1, 2)"},
                },
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "3"},
                {"type": "tool_result", "tool_use_id": "b", "content": "not JSON"},
            ],
        },
        {"role": "system", "content": [{"type": "text", "text": "Time is short."}]},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Go on.", "cache_control": cached}],
        },
    ]
    assert body["tools"][0] == {
        "name": "add",
        "description": "Adds.",
        "input_schema": add.parameters,
    }
    assert body["tools"][1]["cache_control"] == cached
    assert (body["model"], body["max_tokens"], body["stream"]) == ("stub", 77, True)


def test_options_in_anthropics_form() -> None:
    options: Any = {"temperature": 1.7, "seed": 3, "stop": ("\n", "END"), "schema": SCHEMA}
    body = sent("anthropic", replace(REQUEST, tools=(), **options))
    assert body["stop_sequences"] == ["END"]
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert not {"tools", "seed", "temperature"} & set(body)  # the API has none


@pytest.mark.parametrize("messages", [(), (Message("assistant", "I"),), (Message("system", "S"),)])
def test_the_user_always_speaks_first(messages: tuple[Message, ...]) -> None:
    body = sent("anthropic", ThinkRequest(messages))
    assert body["messages"][0]["role"] == "user"
    assert body["messages"][0]["content"]


def test_empty_texts_are_left_out() -> None:
    messages = (Message("user", "Hi"), Message("assistant", " "), Message("user", "Hi?"))
    body = sent("anthropic", ThinkRequest(messages))
    assert [len(turn["content"]) for turn in body["messages"]] == [2]


def test_anthropics_cached_tokens_are_part_of_the_input() -> None:
    thought = Talk("anthropic", Reply("ok", usage=(100, 80, 5))).thought
    assert (thought.input_tokens, thought.cached_tokens, thought.output_tokens) == (100, 80, 5)


def events(*given: dict[str, Any]) -> Reply:
    lines = [f"event: {event.get('type', 'x')}\ndata: {json.dumps(event)}\n\n" for event in given]
    headers = {"Content-Type": "text/event-stream"}
    return Reply(headers=headers, body="".join(lines).encode())


def test_an_overloaded_server_inside_the_stream_is_tried_again() -> None:
    busy = events({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}})
    talk = Talk("anthropic", busy, Reply("ok"))
    assert talk.thought.text == "ok"
    assert len(talk.requests) == 2


def test_a_refusal_is_an_error() -> None:
    end = {"type": "message_delta", "delta": {"stop_reason": "refusal"}, "usage": {}}
    talk = Talk("anthropic", events(end))
    assert "the model refused" in str(talk.error)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "content_block_delta", "index": 0, "delta": 7},
        {"type": "content_block_delta", "index": 0},
        {"type": "content_block_start", "index": 0},
        {"type": "content_block_start", "index": "x",
         "content_block": {"type": "tool_use", "id": "a", "name": "add", "input": {}}},
        {"type": "content_block_start", "index": 0,
         "content_block": {"type": "tool_use", "id": "a", "name": 7, "input": {}}},
        {"type": "content_block_delta", "index": 0,
         "delta": {"type": "input_json_delta", "partial_json": {}}},
        {"type": "message_start"},
        {"type": "message_delta"},
        {},
    ],
)  # fmt: skip
def test_events_that_are_none_are_a_clear_error(event: dict[str, Any]) -> None:
    talk = Talk("anthropic", events(event), retries=0)
    assert talk.error is not None
    assert "sent " in str(talk.error) or "broke off" in str(talk.error)


def test_a_schema_that_anthropic_would_not_take_is_made_to_fit() -> None:
    loose = {"type": "object", "properties": {"x": {"type": "integer", "minimum": 3}}}
    body = AnthropicModel(Endpoint("a", "m", "http://127.0.0.1:1", 1))._body(
        replace(REQUEST, schema=loose), WireNames(())
    )
    schema = body["output_config"]["format"]["schema"]
    assert schema["additionalProperties"] is False
    assert "minimum" not in schema["properties"]["x"]


@pytest.mark.parametrize("free", [{"type": "object"}, {"type": "object", "properties": {}}])
def test_a_schema_that_anthropic_would_hold_to_nothing_is_said_in_words(free: Any) -> None:
    for schema in (free, {"type": "array", "items": free}, {**SCHEMA, "properties": {"x": free}}):
        body = sent("anthropic", replace(REQUEST, schema=schema))
        assert "output_config" not in body
        said = body["messages"][-1]["content"][-1]["text"]
        assert json.dumps(schema) in said
    closed = {"type": "object", "additionalProperties": False}
    assert "output_config" in sent("anthropic", replace(REQUEST, schema=closed))


def test_a_server_error_is_a_model_error() -> None:
    error = ServerError("x", retryable=True, again=True, after=2.0)
    assert (error.retryable, error.again, error.after) == (True, True, 2.0)
