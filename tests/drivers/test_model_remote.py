"""Models behind a web API, OpenAI's and Anthropic's alike; their server behaves, or does not."""

import asyncio
import json
import re
import time
from dataclasses import replace
from typing import Any

import pytest

from cabinos.drivers.model import open_models, remote
from cabinos.drivers.model.anthropic import AnthropicModel
from cabinos.drivers.model.openai import OpenAIModel
from cabinos.drivers.model.remote import Endpoint, RemoteModel, WireNames
from cabinos.kernel.driver import Message, ThinkRequest, Thought, Tool, ToolCall, tool
from cabinos.kernel.errors import ContextOverflow, ModelError
from tests.fixtures.stub_server import Fault, Reply, StubServer

HELLO = ThinkRequest((Message("user", "Hello"),), max_tokens=100)
TEXT = "Hello world, this is a long answer."
KEY = "sk-secret-0123456789"


@tool
async def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


@pytest.fixture(scope="module", params=["openai", "anthropic"])
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "BACKOFF", 0.01)
    monkeypatch.setattr(remote, "LAST_WORDS", 0.2)


def model_at(server: StubServer, provider: str, **options: Any) -> RemoteModel:
    """A model of the stub, by way of the configuration."""
    url = server.url if provider == "openai" else server.root
    table = {"provider": provider, "base_url": url, "model": "stub", "window": 1000, **options}
    (model,) = open_models({"smart": table})
    assert isinstance(model, RemoteModel)
    return model


class Talk:
    """What came of one thought."""

    def __init__(
        self, provider: str, *replies: Reply, request: ThinkRequest = HELLO, **options: Any
    ) -> None:
        self.shown: list[str] = []
        self.thought = Thought("")
        self.error: ModelError | None = None
        with StubServer(replies) as server:
            self._run(model_at(server, provider, **options), request)
            self.requests = server.requests

    def _run(self, model: RemoteModel, request: ThinkRequest) -> None:
        async def think() -> None:
            await model._connect()  # to import an SDK takes its time
            self.started = time.monotonic()
            try:
                self.thought = await model.think(replace(request, emit=self.shown.append))
            except ModelError as error:
                self.error = error
            self.seconds = time.monotonic() - self.started
            await model.close()

        asyncio.run(think())


# ---- answers -------------------------------------------------------------------------------------


def test_text_streams_and_is_accounted(provider: str) -> None:
    talk = Talk(provider, Reply(TEXT, usage=(120, 100, 9)))
    assert talk.thought == Thought(
        TEXT, finish="stop", input_tokens=120, cached_tokens=100, output_tokens=9
    )
    assert talk.shown == [TEXT[n : n + 5] for n in range(0, len(TEXT), 5)]


def test_without_usage_tokens_are_estimated(provider: str) -> None:
    talk = Talk(provider, Reply(TEXT, usage=None))
    assert talk.thought.input_tokens >= 2
    if provider == "openai":  # Anthropic's events always count the output
        assert talk.thought.output_tokens >= 9


def test_calls_are_put_together(provider: str) -> None:
    reply = Reply("Let me.", calls=[("add", {"a": 1, "b": 2}), ("add", '{"a": 1'), ("add", "")])
    talk = Talk(provider, reply, request=replace(HELLO, tools=(add,)))
    assert talk.thought.finish == "calls"
    assert talk.thought.text == "Let me."
    assert talk.thought.calls == (
        ToolCall("call_0", "add", {"a": 1, "b": 2}, '{"a": 1, "b": 2}'),
        ToolCall("call_1", "add", None, '{"a": 1'),
        ToolCall("call_2", "add", {}, ""),
    )


def test_an_answer_that_was_cut_off_says_so(provider: str) -> None:
    cut = "length" if provider == "openai" else "max_tokens"
    assert Talk(provider, Reply("Once", finish=cut)).thought.finish == "length"
    half = Talk(provider, Reply(calls=[("add", '{"a": 1')], finish=cut)).thought
    assert (half.finish, half.calls[0].arguments) == ("length", None)


def test_tools_whose_names_the_api_does_not_allow(provider: str) -> None:
    async def run(**_: Any) -> None: ...

    parameters = {"type": "object", "properties": {}}
    tools = tuple(Tool(name, "?", parameters, run) for name in ("files.read", "files_read"))
    request = replace(HELLO, tools=tools)
    talk = Talk(provider, Reply(calls=[("files_read_2", {}), ("files_read", {})]), request=request)
    assert [call.name for call in talk.thought.calls] == ["files_read", "files.read"]
    assert "files.read" not in json.dumps(talk.requests[0].body)


def test_names_on_the_wire_are_allowed_distinct_and_come_back() -> None:
    names = WireNames([])
    given = ["a.b", "a b", "a_b", "é" * 100, "x" * 70, "x" * 71, ""]
    wire = [names.of(name) for name in given]
    assert len(set(wire)) == len(given)
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", name) for name in wire)
    assert [names.back(name) for name in wire] == given
    assert [names.of(name) for name in given] == wire
    assert names.back("unknown") == "unknown"


def test_many_at_once(provider: str) -> None:
    async def run(model: RemoteModel) -> None:
        thoughts = await asyncio.gather(*(model.think(HELLO) for _ in range(20)))
        assert {thought.text for thought in thoughts} == {TEXT}
        await model.close()

    with StubServer([Reply(TEXT)], latency=0.05) as server:
        asyncio.run(run(model_at(server, provider)))
        assert len(server.requests) == 20


def test_lone_surrogates_do_not_break_a_request(provider: str) -> None:
    request = replace(HELLO, messages=(Message("user", "a\ud800b"),))
    talk = Talk(provider, Reply("ok"), request=request)
    assert talk.error is None
    assert "a\ufffdb" in json.dumps(talk.requests[0].body, ensure_ascii=False)


# ---- servers that fail ---------------------------------------------------------------------------

RETRYABLE: dict[Fault, str] = {
    "hang before headers": "sent nothing for 1 s (not even a beginning)",
    "die before headers": "no connection to http://127.0.0.1",
    "hang mid-stream": "sent nothing for 1 s (",
    "die mid-stream": "or it broke: ",
    "no end": "broke off its answer (after ",
    "nothing for ever": "sent nothing for 1 s (not even a beginning)",
}
NONSENSE: dict[Fault, str] = {
    "invalid UTF-8": "sent what is not a ",
    "not JSON": "sent what is not a ",
    "wrong types": "sent a ",
    "half a call": "sent half a tool call, without a name",
}


@pytest.mark.parametrize(("fault", "message"), (RETRYABLE | NONSENSE).items())
def test_each_failure_is_one_clear_error_in_bounded_time(
    provider: str, fault: Fault, message: str
) -> None:
    patience = 1 if "sent nothing" in message else 60
    talk = Talk(provider, Reply(TEXT, fault=fault), idle_timeout=patience, retries=1)
    assert talk.error is not None
    assert message in str(talk.error)
    assert str(talk.error).startswith("smart: ")
    assert type(talk.error) is ModelError
    assert talk.error.retryable == (fault in RETRYABLE)
    assert talk.seconds < 30
    assert TEXT.startswith("".join(talk.shown))


def test_a_connection_left_open_does_not_lose_the_answer(provider: str) -> None:
    talk = Talk(provider, Reply(TEXT, fault="never closes"), idle_timeout=60)
    assert talk.thought.text == TEXT
    assert talk.seconds < 30


def test_nobody_is_there(provider: str) -> None:
    with StubServer() as server:
        model = model_at(server, provider, retries=1)

    async def think() -> None:
        with pytest.raises(ModelError, match="no connection to http://127.0.0.1") as error:
            await model.think(HELLO)
        assert error.value.retryable
        await model.close()

    asyncio.run(think())


def test_what_failed_before_anything_was_shown_is_tried_again(provider: str) -> None:
    replies = [
        Reply.error(500, "oops"),
        Reply(TEXT, fault="die before headers"),
        Reply(calls=[("add", {"a": 1, "b": 2})], fault="die mid-stream"),
        Reply(TEXT),
    ]
    talk = Talk(provider, *replies)
    assert talk.thought.text == TEXT
    assert "".join(talk.shown) == TEXT
    assert len(talk.requests) == 4


def test_what_was_shown_is_not_said_again(provider: str) -> None:
    talk = Talk(provider, Reply(TEXT, fault="die mid-stream"), Reply(TEXT))
    assert talk.error is not None
    assert talk.error.retryable
    assert len(talk.requests) == 1
    assert talk.shown


def test_retries_end(provider: str) -> None:
    talk = Talk(provider, Reply.error(503, "too busy"), retries=2)
    assert "answered 503: too busy" in str(talk.error)
    assert len(talk.requests) == 3
    assert Talk(provider, Reply.error(503, "too busy"), Reply("ok"), retries=0).error is not None


def test_retry_after_is_honoured(provider: str) -> None:
    talk = Talk(provider, Reply.busy("0.4"), Reply("ok"))
    assert talk.thought.text == "ok"
    assert talk.requests[1].at - talk.requests[0].at >= 0.4


def test_a_wait_that_is_too_long_is_left_to_the_caller(provider: str) -> None:
    talk = Talk(provider, Reply.busy("3600"), Reply("ok"))
    assert "answered 429: slow down (it asks to wait 3600 s)" in str(talk.error)
    assert talk.error is not None
    assert talk.error.retryable
    assert len(talk.requests) == 1


def test_retry_after_may_be_a_date_or_nonsense() -> None:
    assert remote._retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert remote._retry_after({"retry-after": "Sat, 21 Oct 2090 07:28:00 GMT"}) > 1e6
    assert remote._retry_after({"retry-after": "soon"}) == 0
    assert remote._retry_after({"retry-after": "-5"}) == 0
    assert remote._retry_after({}) == 0


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_refusal_is_not_tried_again(provider: str, status: int) -> None:
    talk = Talk(provider, Reply.error(status, "no such model: stub"))
    assert f"answered {status}: no such model: stub" in str(talk.error)
    assert talk.error is not None
    assert not talk.error.retryable
    assert len(talk.requests) == 1


def test_a_web_page_is_no_answer(provider: str) -> None:
    talk = Talk(provider, Reply.html())
    assert "sent text/html where an event stream was due; is base_url right?" in str(talk.error)
    bad = Talk(provider, Reply.html(502), retries=0)
    assert "answered 502: <!doctype html>" in str(bad.error)


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",
        "the request exceeds the available context size (4096 tokens), try increasing it",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 199000 + 8000 > 200000",
    ],
)
def test_a_prompt_that_is_too_long_is_an_overflow(provider: str, message: str) -> None:
    talk = Talk(provider, Reply.error(400, message))
    assert isinstance(talk.error, ContextOverflow)
    assert message[:40] in str(talk.error)
    assert "the window is set to 1000 tokens" in str(talk.error)
    assert len(talk.requests) == 1


def test_cancelling_closes_the_connection(provider: str) -> None:
    async def run(model: RemoteModel) -> None:
        started = asyncio.Event()
        request = replace(HELLO, emit=lambda _: started.set())
        thought = asyncio.create_task(model.think(request))
        await started.wait()
        thought.cancel()
        with pytest.raises(asyncio.CancelledError):
            await thought
        await model.close()

    with StubServer([Reply(TEXT, fault="hang mid-stream")]) as server:
        asyncio.run(run(model_at(server, provider)))
        deadline = time.monotonic() + 10
        while server.connections and time.monotonic() < deadline:
            time.sleep(0.005)
        assert server.connections == 0


# ---- keys ----------------------------------------------------------------------------------------


def test_the_key_comes_from_the_environment_and_goes_nowhere_else(
    provider: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level("DEBUG")
    talk = Talk(provider, Reply.error(401, f"bad key {KEY}!"), api_key_env="MY_KEY")
    assert talk.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert "answered 401: bad key ***! (check the key in MY_KEY)" in str(talk.error)
    assert KEY not in caplog.text
    error: BaseException | None = talk.error
    while error is not None:
        assert KEY not in repr(error)
        error = error.__cause__


def test_a_missing_key_is_named(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)

    async def think() -> None:
        model = model_at(server, provider, api_key_env="MY_KEY")
        with pytest.raises(ModelError, match="smart: the environment variable MY_KEY is not set"):
            await model.think(HELLO)

    with StubServer() as server:
        asyncio.run(think())


def test_keys_meant_for_others_are_not_sent(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.setenv(name, KEY)
    talk = Talk(provider, Reply("ok"))
    assert talk.thought.text == "ok"
    assert not any(KEY in value for value in talk.requests[0].headers.values())


# ---- facts ---------------------------------------------------------------------------------------


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint("smart", "stub", "http://127.0.0.1:1/v1", 500, slots=3, price=(1.0, 2.0))


def test_facts_are_those_of_the_configuration(endpoint: Endpoint) -> None:
    for model in (OpenAIModel(endpoint), AnthropicModel(endpoint)):
        assert (model.name, model.window, model.slots, model.price) == ("smart", 500, 3, (1.0, 2.0))
        assert not model.local  # not even on a loopback address, unless somebody says so


def test_measure_adds_up_texts_calls_and_tools(endpoint: Endpoint) -> None:
    model = OpenAIModel(endpoint)
    one = model.measure([Message("user", "Hello")])
    assert one == model.count("Hello") + model.overhead
    calling = Message("assistant", "", (ToolCall("c", "add", {"a": 1}),))
    assert model.measure([Message("user", "Hello"), calling]) > one + model.overhead
    assert model.measure([Message("user", "Hello")], [add]) > one + 20
