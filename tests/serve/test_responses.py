"""Responses, through the official client: a conversation is a process."""

import json
from pathlib import Path
from typing import Any

import pytest
from openai import APIStatusError, BadRequestError, NotFoundError, OpenAI
from openai.types.responses import FunctionToolParam, Response
from openai.types.responses.response_input_item_param import McpApprovalResponse
from pydantic import BaseModel

from cabinos.kernel.driver import ThinkRequest, Thought, tool
from cabinos.kernel.errors import ModelError
from tests.kernel.models import ScriptedModel, calls
from tests.serve.served import served

WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


def said(model: ScriptedModel, number: int = -1) -> list[tuple[str, str]]:
    """What the model was shown."""
    return [(m.role, m.text) for m in model.requests[number].messages]


def outputs(response: Response, text: str) -> list[Any]:
    """The same result for every call of a response."""
    return [
        {"type": "function_call_output", "call_id": item.call_id, "output": text}
        for item in response.output
        if item.type == "function_call"
    ]


def arguments(response: Response) -> Any:
    """Of the call that comes first."""
    call = response.output[0]
    assert call.type == "function_call"
    return json.loads(call.arguments)


def test_a_conversation_is_a_process(tmp_path: Path) -> None:
    model = ScriptedModel("Good day.", "You said hello.", "Twice.")
    with served(tmp_path, model) as server:
        client = server.client()
        first = client.responses.create(
            model="scripted", input="hello", instructions="Be formal.", max_output_tokens=40
        )
        assert first.output_text == "Good day."
        assert first.usage is not None
        assert (first.status, first.usage.output_tokens) == ("completed", 3)
        second = client.responses.create(
            model="scripted",
            input="what did I say?",
            previous_response_id=first.id,
            instructions="Be brief.",
        )
        assert second.output_text == "You said hello."
        third = client.responses.create(
            model="scripted", input="how often?", previous_response_id=second.id
        )
        assert third.output_text == "Twice."
        assert [p.pid for p in server.kernel.ps()] == [1]
        assert server.kernel.ps()[0].state == "blocked"
    assert said(model, 0) == [("system", "Be formal."), ("user", "hello")]
    assert said(model, 1)[:2] == [("system", "Be brief."), ("user", "hello")]
    assert said(model, 2)[0] == ("user", "hello")  # no instructions this time
    assert said(model, 2)[-1] == ("user", "how often?")
    assert [request.max_tokens for request in model.requests] == [40, 2048, 2048]


def test_going_on_from_an_earlier_response_forks(tmp_path: Path) -> None:
    model = ScriptedModel("a", "b", "c", "d")
    with served(tmp_path, model) as server:
        client = server.client()
        first = client.responses.create(model="scripted", input="one")
        second = client.responses.create(
            model="scripted", input="two", previous_response_id=first.id
        )
        other = client.responses.create(
            model="scripted", input="three", previous_response_id=first.id
        )
        assert other.output_text == "c"
        again = client.responses.create(
            model="scripted", input="four", previous_response_id=second.id
        )
        assert again.output_text == "d"
        assert [(p.pid, p.parent) for p in server.kernel.ps()] == [(1, None), (2, 1)]
        first_pid, other_pid = (r.id.split("_")[1] for r in (first, other))
        assert (first_pid, other_pid) == ("1", "2")
    assert said(model, 2) == [("user", "one"), ("assistant", "a"), ("user", "three")]
    assert [text for _, text in said(model, 3)] == ["one", "a", "two", "b", "four"]


def test_events_of_a_stream(tmp_path: Path) -> None:
    def pieces(request: ThinkRequest) -> str:
        request.emit("one ")
        return "two"

    with served(tmp_path, ScriptedModel(pieces)) as server:
        events = list(
            server.client().responses.create(model="scripted", input="count", stream=True)
        )
    assert [event.type.removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event.sequence_number for event in events] == list(range(10))
    begun, ended = events[0], events[-1]
    assert begun.type == "response.created"
    assert ended.type == "response.completed"
    final = ended.response
    assert final.output_text == "one two"
    assert final.id == begun.response.id
    assert final.usage is not None
    assert final.usage.total_tokens > 0


def test_calls_of_the_clients_tools_wait_for_their_results(tmp_path: Path) -> None:
    model = ScriptedModel(calls(("weather", {"city": "Rome"}), ("weather", {"city": "Oslo"})), "ok")
    with served(tmp_path, model) as server:
        client = server.client()
        first = client.responses.create(model="scripted", input="weather?", tools=[WEATHER])
        assert [item.type for item in first.output] == ["function_call", "function_call"]
        assert arguments(first) == {"city": "Rome"}
        assert server.kernel.ps()[0].waiting == "its client, its client"
        both = outputs(first, "sun")
        for wrong in (both[:1], [*both, {**both[0], "call_id": "call_1_c9-9"}], "and now?"):
            with pytest.raises(BadRequestError):
                client.responses.create(
                    model="scripted", input=wrong, previous_response_id=first.id, tools=[WEATHER]
                )
        second = client.responses.create(
            model="scripted",
            input=[*reversed(both), {"role": "user", "content": "be brief"}],
            previous_response_id=first.id,
        )
        assert second.output_text == "ok"
        # The same results once more: from where the calls were made, in a process of its own.
        again = client.responses.create(
            model="scripted", input=both, previous_response_id=first.id, tools=[WEATHER]
        )
        assert again.id.startswith("resp_2_")
        assert server.kernel.ps()[0].label == "untrusted"
    assert said(model, 1) == [
        ("user", "weather?"),
        ("assistant", ""),
        ("tool", "sun"),
        ("tool", "sun"),
        ("user", "be brief"),
    ]


def test_calls_in_a_stream(tmp_path: Path) -> None:
    with served(tmp_path, ScriptedModel(calls(("weather", {"city": "Rome"})))) as server:
        client = server.client()
        with client.responses.stream(model="scripted", input="x", tools=[WEATHER]) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_response()
    assert "response.function_call_arguments.done" in kinds
    assert arguments(final) == {"city": "Rome"}


def test_without_store_the_client_holds_everything(tmp_path: Path) -> None:
    model = ScriptedModel(calls(("weather", {"city": "Rome"})), "sunny")
    with served(tmp_path, model) as server:
        client = server.client()
        items: list[Any] = [{"role": "user", "content": "weather?"}]
        first = client.responses.create(model="scripted", input=items, tools=[WEATHER], store=False)
        items += [*first.output, *outputs(first, "22 degrees")]
        second = client.responses.create(
            model="scripted", input=items, tools=[WEATHER], store=False
        )
        assert second.output_text == "sunny"
        assert not server.kernel.ps()  # both have ended
        with pytest.raises(BadRequestError, match="store: false"):
            client.responses.create(model="scripted", input="more", previous_response_id=second.id)
    assert [role for role, _ in said(model)] == ["user", "assistant", "tool"]
    assert model.requests[1].messages[2].name == "weather"


class City(BaseModel):
    name: str
    people: int


def test_structured_output(tmp_path: Path) -> None:
    model = ScriptedModel("no", '{"name": "Rome", "people": 3}', "free text")
    with served(tmp_path, model) as server:
        client = server.client()
        answer = client.responses.parse(model="scripted", input="Rome", text_format=City)
        assert answer.output_parsed == City(name="Rome", people=3)
        assert len(answer.output) == 1  # what did not fit is not shown
        free = client.responses.create(
            model="scripted", input="and now?", previous_response_id=answer.id
        )
        assert free.output_text == "free text"
    assert model.requests[2].schema is None


@tool(effect="raw", label="trusted", ask=True)
async def send_mail(to: str) -> str:
    """Sends a mail."""
    return f"sent to {to}"


def test_cabins_tools_run_beside_the_clients(tmp_path: Path) -> None:
    @tool(effect="pure", label="trusted")
    async def double(n: int) -> int:
        """Doubles a number."""
        return 2 * n

    model = ScriptedModel(calls(("double", {"n": 21}), ("weather", {})), "42, and sun")
    with served(tmp_path, model, tools=[double]) as server:
        client = server.client()
        first = client.responses.create(model="cabin/scripted", input="x", tools=[WEATHER])
        own, theirs = first.output
        assert own.type == "mcp_call"
        assert (own.name, own.output, own.status) == ("double", "42", "completed")
        assert theirs.type == "function_call"
        second = client.responses.create(
            model="cabin/scripted", input=outputs(first, "sun"), previous_response_id=first.id
        )
        assert second.output_text == "42, and sun"
    assert {t.name for t in model.requests[0].tools} >= {"double", "weather", "recall"}


@pytest.mark.parametrize(("approve", "result"), [(True, "sent to ann"), (False, "refused")])
def test_an_approval_is_asked_for_and_given(tmp_path: Path, approve: bool, result: str) -> None:
    model = ScriptedModel(calls(("send_mail", {"to": "ann"})), "done")
    with served(tmp_path, model, tools=[send_mail]) as server:
        client = server.client()
        first = client.responses.create(model="cabin/scripted", input="mail ann")
        call, request = first.output
        assert call.type == "mcp_call"
        assert call.status == "in_progress"
        assert request.type == "mcp_approval_request"
        assert (request.name, json.loads(request.arguments)) == ("send_mail", {"to": "ann"})
        response: McpApprovalResponse = {
            "type": "mcp_approval_response",
            "approval_request_id": request.id,
            "approve": approve,
        }
        second = client.responses.create(
            model="cabin/scripted", input=[response], previous_response_id=first.id
        )
        assert second.output_text == "done"
        with pytest.raises(BadRequestError):  # an approval is good once
            client.responses.create(
                model="cabin/scripted", input=[response], previous_response_id=second.id
            )
    assert result in said(model)[-1][1]


def test_a_question_of_the_model_is_answered_by_the_next_message(tmp_path: Path) -> None:
    model = ScriptedModel(calls(("ask", {"question": "Which one?"})), "The red one.")
    with served(tmp_path, model) as server:
        client = server.client()
        first = client.responses.create(model="cabin/scripted", input="take one")
        assert first.output_text == "Which one?"
        second = client.responses.create(
            model="cabin/scripted", input="the red", previous_response_id=first.id
        )
        assert second.output_text == "The red one."
    assert said(model)[-1] == ("tool", "the red")


def failed(client: OpenAI, status: int, **parameters: Any) -> APIStatusError:
    with pytest.raises(APIStatusError) as caught:
        client.responses.create(**{"model": "scripted", "input": "x", **parameters})
    assert caught.value.status_code == status
    return caught.value


def test_a_failed_turn_can_be_gone_on_with(tmp_path: Path) -> None:
    model = ScriptedModel("one", ModelError("no power"), "two", "three")
    with served(tmp_path, model) as server:
        client = server.client()
        first = client.responses.create(model="scripted", input="a")
        assert failed(client, 502, previous_response_id=first.id).code == "model_error"
        retried = client.responses.create(
            model="scripted", input="b", previous_response_id=first.id
        )
        assert retried.output_text == "two"  # in a fork that knows nothing of the failure
        pid = int(first.id.split("_")[1])
        lost = first.id.replace(f"resp_{pid}_1", f"resp_{pid}_2")
        on = client.responses.create(model="scripted", input="c", previous_response_id=lost)
        assert on.output_text == "three"
    assert [text for _, text in said(model, 2)] == ["a", "one", "b"]
    assert [text for _, text in said(model, 3)] == ["a", "one", "x\n\nc"]


def test_a_failure_in_a_stream_is_its_last_event(tmp_path: Path) -> None:
    with served(tmp_path, ScriptedModel(ModelError("no power"))) as server:
        stream = server.client().responses.create(model="scripted", input="a", stream=True)
        last = list(stream)[-1]
    assert last.type == "response.failed"
    assert last.response.status == "failed"
    assert last.response.error is not None
    assert last.response.error.message == "no power"


def test_an_answer_that_was_cut_is_incomplete(tmp_path: Path) -> None:
    with served(tmp_path, ScriptedModel(Thought("And so", finish="length"))) as server:
        response = server.client().responses.create(model="scripted", input="a")
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


def test_what_is_refused(tmp_path: Path) -> None:
    with served(tmp_path, ScriptedModel("ok")) as server:
        client = server.client()
        refused: list[dict[str, Any]] = [
            {"background": True},
            {"conversation": "conv_1"},
            {"reasoning": {"effort": "high"}},
            {"tools": [{"type": "web_search"}]},
            {"tool_choice": "required", "tools": [WEATHER]},
            {"input": []},
            {"input": [{"type": "item_reference", "id": "x"}]},
            {"input": [{"type": "function_call_output", "call_id": "x", "output": "y"}]},
            {"input": [{"type": "function_call", "call_id": "x", "name": "f", "arguments": "{}"}]},
            {"store": False, "model": "cabin", "tools": [WEATHER]},
        ]
        for parameters in refused:
            failed(client, 400, **parameters)
        first = client.responses.create(model="scripted", input="x")
        pid, _, store = first.id.removeprefix("resp_").split("_")
        for wrong in (
            "resp_1",
            f"resp_9_1_{store}",
            f"resp_{pid}_7_{store}",
            f"resp_1_1_{'0' * 12}",
        ):
            assert failed(client, 404, previous_response_id=wrong).param == "previous_response_id"
        failed(client, 404, model="nothing")
        failed(client, 400, previous_response_id=first.id, store=False)
        assert isinstance(failed(client, 404, previous_response_id="7"), NotFoundError)


def test_the_window_is_the_clients_to_mind_unless_it_says_auto(tmp_path: Path) -> None:
    model = ScriptedModel("ok", window=1000)
    with served(tmp_path, model) as server:
        client = server.client()
        first = client.responses.create(model="scripted", input="early " * 300)
        error = failed(client, 400, input="late " * 240, previous_response_id=first.id)
        assert error.code == "context_length_exceeded"
        second = client.responses.create(
            model="scripted",
            input=[{"role": "user", "content": "late " * 100}] * 3,
            previous_response_id=first.id,
            truncation="auto",
        )
        assert second.output_text == "ok"
    assert "swapped out" in said(model)[0][1]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"background": True}, "background is not supported: the answer comes while you wait"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "images are not supported: the models here read text.",
        ),
    ],
)
def test_images_and_background_are_refused_with_a_reason(
    tmp_path: Path, wrong: dict[str, Any], message: str
) -> None:
    with (
        served(tmp_path, ScriptedModel("a")) as server,
        pytest.raises(BadRequestError, match=message),
    ):
        server.client().responses.create(**{"model": "scripted", "input": "x", **wrong})
