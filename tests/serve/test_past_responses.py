"""Responses read again, and taken back, through the official client."""

from pathlib import Path

import pytest
from openai import NotFoundError, OpenAI
from openai.types.responses import Response
from openai.types.responses.response_input_item_param import McpApprovalResponse

from cabinos.kernel.driver import Thought, tool
from tests.kernel.models import ScriptedModel, calls
from tests.security.test_plan_first import Planning
from tests.serve.served import served
from tests.serve.test_responses import WEATHER, outputs


def same(client: OpenAI, response: Response) -> bool:
    """Whether the response is read again as it was given."""
    again = client.responses.retrieve(response.id)
    assert abs(again.created_at - response.created_at) <= 5
    kept, given = (r.model_dump(exclude={"created_at"}) for r in (again, response))
    assert kept == given
    return True


def test_a_response_is_read_again_after_others_and_after_a_restart(tmp_path: Path) -> None:
    @tool(effect="pure", label="trusted")
    async def dice(sides: int) -> str:
        """Throws dice."""
        if sides < 2:
            raise ValueError("no such dice")
        return f"{sides - 1} of {sides}"

    cut = Thought("half a", finish="length")
    model = ScriptedModel(
        calls(("dice", {"sides": 6}), ("dice", {"sides": 1}), text="I throw."), "Five.",
        calls(("weather", {"city": "Bern"})), "Sun.", cut, '{"n": "x"}', '{"n": 1}',
    )  # fmt: skip
    form = {
        "type": "json_schema",
        "name": "n",
        "schema": {"properties": {"n": {"type": "integer"}}},
    }
    with served(tmp_path, model, tools=[dice]) as server:
        client, given = server.client(), []
        given.append(client.responses.create(model="cabin", input="throw", metadata={"a": "b"}))
        for said, more in (
            ("weather?", {"tools": [WEATHER], "instructions": "Be brief."}),
            ("", {"temperature": 0.0}),
            ("tell", {"max_output_tokens": 16, "top_p": 0.5}),
            ("a number", {"text": {"format": form}}),
        ):
            last = given[-1]
            heard = said or outputs(last, "sunny")
            given.append(
                client.responses.create(
                    model="cabin", input=heard, previous_response_id=last.id, **more
                )
            )
            assert all(same(client, response) for response in given)
        assert given[3].status == "incomplete"
        assert given[4].output_text == '{"n": 1}'
    with served(tmp_path, model, tools=[dice]) as server:
        assert all(same(server.client(), response) for response in given)


def test_a_question_to_a_person_is_read_again(tmp_path: Path) -> None:
    @tool(effect="raw", ask=True)
    async def fire(what: str) -> str:
        """Fires."""
        return f"fired {what}"

    model = ScriptedModel(calls(("fire", {"what": "x"})), "done")
    with served(tmp_path, model, tools=[fire]) as server:
        client = server.client()
        first = client.responses.create(model="cabin", input="fire")
        ask = first.output[-1]
        assert ask.type == "mcp_approval_request"
        assert same(client, first)
        answer: McpApprovalResponse = {
            "type": "mcp_approval_response",
            "approval_request_id": ask.id,
            "approve": True,
        }
        second = client.responses.create(
            model="cabin", input=[answer], previous_response_id=first.id
        )
        assert second.output_text == "done"
        assert same(client, first)


@pytest.mark.parametrize("comes", [True, False])
def test_a_plan_is_no_part_of_the_answer(tmp_path: Path, comes: bool) -> None:
    """The calls that it took the place of have failed; without one they are made."""
    told: list[str] = []

    @tool(effect="pure")
    async def look() -> str:
        """Looks."""
        return "seen"

    @tool(effect="raw", label="trusted")
    async def tell(whom: str) -> str:
        """Tells somebody."""
        told.append(whom)
        return "told"

    plan = '{"steps": [{"tool": "look"}, {"tool": "tell", "arguments": {"whom": "bob"}}]}'
    model = Planning(plan if comes else "", calls(("look", {})), "done", "done")
    with served(tmp_path, model, tools=[look, tell]) as server:
        client = server.client()
        first = client.responses.create(model="cabin", input="Tell bob what there is.")
        assert first.output_text == "done"
        [call, _] = first.output
        assert call.type == "mcp_call"
        assert (call.status, call.output) == (("failed", None) if comes else ("completed", "seen"))
        assert first.usage is not None
        assert first.usage.output_tokens >= 50  # the plan's are among them
        assert same(client, first)
        stream = client.chat.completions.create(
            model="cabin", messages=[{"role": "user", "content": "Tell bob."}], stream=True
        )
        assert "".join(c.choices[0].delta.content or "" for c in stream if c.choices) == "done"
    assert told == (["bob"] if comes else [])


def test_a_response_that_was_taken_back_is_gone(tmp_path: Path) -> None:
    model = ScriptedModel("a", "b", "c")
    with served(tmp_path, model) as server:
        client = server.client()
        first = client.responses.create(model="scripted", input="one")
        second = client.responses.create(
            model="scripted", input="two", previous_response_id=first.id
        )
        client.responses.delete(first.id)
        for use in (
            lambda: client.responses.retrieve(first.id),
            lambda: client.responses.delete(first.id),
            lambda: client.responses.create(
                model="scripted", input="x", previous_response_id=first.id
            ),
        ):
            with pytest.raises(NotFoundError):
                use()
        assert same(client, second)
        assert server.kernel.ps()[0].state == "blocked"
        client.responses.delete(second.id)
        assert server.kernel.ps() == []


def test_what_was_not_to_be_stored_is_not_read_again(tmp_path: Path) -> None:
    with served(tmp_path, ScriptedModel("a")) as server:
        client = server.client()
        gone = client.responses.create(model="scripted", input="one", store=False)
        for name in (gone.id, "resp_1_7_ab", "resp_9_1_ab", "nonsense"):
            with pytest.raises(NotFoundError):
                client.responses.retrieve(name)
