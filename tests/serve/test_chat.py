"""Chat completions, through the official client."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import APIStatusError, BadRequestError, NotFoundError, RateLimitError
from pydantic import BaseModel

from cabinos.kernel.driver import ThinkRequest, Thought, tool
from cabinos.kernel.errors import ContextOverflow, ModelError
from tests.kernel.models import ScriptedModel, calls
from tests.serve.served import Served, served


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server for requests that never reach a model."""
    with served(tmp_path_factory.mktemp("strict"), ScriptedModel()) as server:
        yield server
        assert not server.kernel.ps(exited=True)


HELLO = [{"role": "user", "content": "hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def test_an_answer_with_usage(tmp_path: Path) -> None:
    model = ScriptedModel("Good day.")
    with served(tmp_path, model) as server:
        answer = server.client().chat.completions.create(
            model="scripted",
            messages=[{"role": "system", "content": "Be formal."}, *HELLO],
            temperature=0.5,
            top_p=0.9,
            max_tokens=50,
            seed=7,
            stop=["END"],
        )
        (choice,) = answer.choices
        assert (choice.message.role, choice.message.content) == ("assistant", "Good day.")
        assert choice.finish_reason == "stop"
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + 3
    (asked,) = model.requests
    assert [(m.role, m.text) for m in asked.messages] == [
        ("system", "Be formal."),
        ("user", "hello"),
    ]
    assert (asked.temperature, asked.top_p, asked.max_tokens) == (0.5, 0.9, 50)
    assert (asked.seed, asked.stop, asked.tools) == (7, ("END",), ())


def test_a_stream_brings_text_as_it_comes(tmp_path: Path) -> None:
    def pieces(request: ThinkRequest) -> str:
        for piece in ("one ", "two "):
            request.emit(piece)
        return "three"

    with served(tmp_path, ScriptedModel(pieces)) as server:
        chunks = list(
            server.client().chat.completions.create(
                model="scripted",
                messages=HELLO,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    assert chunks[0].choices[0].delta.role == "assistant"
    texts = [c.choices[0].delta.content for c in chunks[:-1] if c.choices[0].delta.content]
    assert texts == ["one ", "two ", "three"]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert not chunks[-1].choices
    assert chunks[-1].usage.completion_tokens == 2
    assert {c.id for c in chunks} == {chunks[0].id}


def test_calls_of_the_clients_tools_make_a_round_trip(tmp_path: Path) -> None:
    model = ScriptedModel(calls(("weather", {"city": "Rome"}), ("weather", {"city": "Oslo"})), "ok")
    with served(tmp_path, model) as server:
        client = server.client()
        first = client.chat.completions.create(model="scripted", messages=HELLO, tools=[WEATHER])
        (choice,) = first.choices
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content is None
        made = choice.message.tool_calls
        assert [json.loads(call.function.arguments)["city"] for call in made] == ["Rome", "Oslo"]
        assert made[0].id != made[1].id
        results = [{"role": "tool", "tool_call_id": c.id, "content": "sun"} for c in made]
        second = client.chat.completions.create(
            model="scripted", messages=[*HELLO, choice.message, *results], tools=[WEATHER]
        )
        assert second.choices[0].message.content == "ok"
        assert {p.state for p in server.kernel.ps(exited=True)} == {"exited"}
        labels = {p.pid: p.label for p in server.kernel.ps(exited=True)}
        assert labels == {1: "trusted", 2: "untrusted"}
    shown = model.requests[1]
    assert [t.name for t in shown.tools] == ["weather"]
    assert [m.role for m in shown.messages] == ["user", "assistant", "tool", "tool"]
    assert shown.messages[2].name == "weather"
    assert shown.messages[1].calls[0].arguments == {"city": "Rome"}


def test_calls_in_a_stream(tmp_path: Path) -> None:
    model = ScriptedModel(calls(("weather", {"city": "Rome"}), text="Let me see."))
    with (
        served(tmp_path, model) as server,
        server.client().chat.completions.stream(
            model="scripted", messages=HELLO, tools=[WEATHER]
        ) as stream,
    ):
        for _ in stream:
            pass
        message = stream.get_final_completion().choices[0].message
    assert message.content == "Let me see."
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": "Rome"}


class City(BaseModel):
    name: str
    people: int


def test_structured_output_is_parsed_and_tried_again_if_it_does_not_fit(tmp_path: Path) -> None:
    model = ScriptedModel("not JSON", '{"name": "Rome", "people": 2800000}')
    with served(tmp_path, model) as server:
        client = server.client()
        answer = client.chat.completions.parse(
            model="scripted", messages=HELLO, response_format=City
        )
        assert answer.choices[0].message.parsed == City(name="Rome", people=2_800_000)
        assert model.requests[0].schema["properties"]["people"]["type"] == "integer"
        free = client.chat.completions.create(
            model="scripted",
            messages=HELLO,
            response_format={"type": "json_object"},
            stream=True,
        )
        text = "".join(c.choices[0].delta.content or "" for c in free)
    assert json.loads(text)["name"] == "Rome"


def test_several_choices_with_seeds_of_their_own(tmp_path: Path) -> None:
    model = ScriptedModel(lambda request: f"seed {request.seed}")
    with served(tmp_path, model) as server:
        client = server.client()
        answer = client.chat.completions.create(model="scripted", messages=HELLO, n=3, seed=5)
        texts = [choice.message.content for choice in answer.choices]
        assert texts == ["seed 5", "seed 6", "seed 7"]
        streamed = client.chat.completions.create(
            model="scripted", messages=HELLO, n=2, seed=1, stream=True
        )
        said = {0: "", 1: ""}
        for chunk in streamed:
            for choice in chunk.choices:
                said[choice.index] += choice.delta.content or ""
    assert said == {0: "seed 1", 1: "seed 2"}


def test_cabin_names_give_cabins_own_tools(tmp_path: Path) -> None:
    @tool(effect="pure", label="trusted")
    async def double(n: int) -> int:
        """Doubles a number."""
        return 2 * n

    model = ScriptedModel(calls(("double", {"n": 21}), text="I double it."), "It is 42.")
    with served(tmp_path, model, tools=[double]) as server:
        client = server.client()
        answer = client.chat.completions.create(model="cabin/scripted", messages=HELLO)
        assert answer.choices[0].message.content == "I double it.\n\nIt is 42."
        with pytest.raises(BadRequestError, match="/v1/responses"):
            client.chat.completions.create(model="cabin", messages=HELLO, tools=[WEATHER])
    assert model.requests[1].messages[-1].text == "42"
    assert "Cabin" in model.requests[0].messages[0].text


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_can_be_required(tmp_path: Path, stream: bool) -> None:
    named = {"type": "function", "function": {"name": "weather"}}
    other = {"type": "function", "function": {"name": "other", "parameters": {"type": "object"}}}
    good = '{"name": "weather", "arguments": {"city": "Rome"}}'
    model = ScriptedModel("Certainly!", good)
    with served(tmp_path, model) as server:
        client = server.client()
        for choice in (named, "required"):
            options = {
                "model": "scripted",
                "messages": HELLO,
                "tools": [other, WEATHER],
                "tool_choice": choice,
            }
            if stream:
                with client.chat.completions.stream(**options) as chunks:
                    for _ in chunks:
                        pass
                    message = chunks.get_final_completion().choices[0].message
            else:
                message = client.chat.completions.create(**options).choices[0].message
            assert not message.content
            (call,) = message.tool_calls
            assert call.function.name == "weather"
            assert json.loads(call.function.arguments) == {"city": "Rome"}
        with pytest.raises(BadRequestError, match="no such tool"):
            client.chat.completions.create(**options | {"tools": [other], "tool_choice": named})
    one, *_, both = model.requests
    assert one.schema["properties"]["name"] == {"const": "weather"}
    assert len(both.schema["anyOf"]) == 2
    assert "weather of a city" in one.messages[-1].text


def test_a_cut_answer_says_so(tmp_path: Path) -> None:
    with served(tmp_path, ScriptedModel(Thought("And so", finish="length"))) as server:
        answer = server.client().chat.completions.create(model="scripted", messages=HELLO)
    assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"logprobs": True}, "logprobs"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 100}, "n"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"extra_body": {"top_k": 4}}, "top_k"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": 7}}}},
            "response_format",
        ),
        ({"tools": [WEATHER, WEATHER]}, "tools"),
    ],
)
def test_what_would_change_the_answer_is_never_ignored(
    strict: Served, parameters: dict, param: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        strict.client().chat.completions.create(model="scripted", messages=HELLO, **parameters)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


def test_parameters_without_influence_or_that_ask_for_nothing_are_taken(tmp_path: Path) -> None:
    with served(tmp_path, ScriptedModel("yes")) as server:
        answer = server.client().chat.completions.create(
            model="scripted",
            messages=HELLO,
            user="me",
            metadata={"a": "b"},
            store=True,
            frequency_penalty=0,
            logit_bias={},
            logprobs=False,
            tool_choice="none",
            tools=[WEATHER],
            parallel_tool_calls=True,
        )
    assert answer.choices[0].message.content == "yes"


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
        [{"role": "tool", "tool_call_id": "nobody", "content": "x"}],
        [{"role": "wizard", "content": "x"}],
        [{"role": "user", "content": 7}],
        [*HELLO, {"role": "assistant", "content": "I was"}],
        [
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
            *HELLO,
        ],
    ],
)
def test_messages_that_make_no_sense(strict: Served, messages: list) -> None:
    with pytest.raises(BadRequestError) as caught:
        strict.client().chat.completions.create(model="scripted", messages=messages)
    assert caught.value.type == "invalid_request_error"


def test_parts_of_text_and_names(tmp_path: Path) -> None:
    model = ScriptedModel("ok")
    with served(tmp_path, model) as server:
        parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
        server.client().chat.completions.create(
            model="scripted",
            messages=[
                {"role": "developer", "content": parts},
                {"role": "user", "name": "Ann", "content": "hello"},
            ],
        )
    assert [m.text for m in model.requests[0].messages] == ["one\ntwo", "Ann: hello"]


def test_a_conversation_longer_than_the_window_is_an_error_not_an_excerpt(tmp_path: Path) -> None:
    model = ScriptedModel("ok", window=1000)
    with served(tmp_path, model) as server:
        client = server.client()
        half = [{"role": "user", "content": "word " * 400}]  # half of the window in one message
        assert client.chat.completions.create(model="scripted", messages=half)
        assert model.requests[0].messages[0].text == half[0]["content"]
        with pytest.raises(BadRequestError) as caught:
            client.chat.completions.create(model="scripted", messages=half * 2)
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ContextOverflow("too long after all"), 400, "context_length_exceeded"),
        (ModelError("its server is gone"), 502, "model_error"),
        (RuntimeError("a bug"), 502, "model_error"),
    ],
)
def test_errors_of_models_keep_their_status(
    tmp_path: Path, error: Exception, status: int, code: str, stream: bool
) -> None:
    with served(tmp_path, ScriptedModel(error)) as server:
        with pytest.raises(APIStatusError) as caught:
            server.client().chat.completions.create(model="scripted", messages=HELLO, stream=stream)
        assert (caught.value.status_code, caught.value.code) == (status, code)
        server.until(lambda: not server.kernel.ps())  # nothing is left behind


def test_an_unknown_model(tmp_path: Path) -> None:
    with served(tmp_path, ScriptedModel()) as server:
        client = server.client()
        with pytest.raises(NotFoundError) as caught:
            client.chat.completions.create(model="gpt-nothing", messages=HELLO)
        assert caught.value.code == "model_not_found"
        names = [model.id for model in client.models.list()]
        assert names == ["scripted", "cabin/scripted"]
        assert client.models.retrieve("cabin/scripted").id == "cabin/scripted"


def test_too_many_at_once(tmp_path: Path) -> None:
    model = ScriptedModel("x", slots=1)
    with served(tmp_path, model, waiting=1) as server:
        with pytest.raises(RateLimitError) as caught:
            server.client().chat.completions.create(model="scripted", messages=HELLO, n=3)
        assert caught.value.response.headers["retry-after"] == "1"
        assert server.client().chat.completions.create(model="scripted", messages=HELLO, n=2)
