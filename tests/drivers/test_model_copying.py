"""Calls of small models: what they may copy, and that they may do nothing else."""

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from cabinos.drivers import calculate, clock, notes, random_choice
from cabinos.drivers.model import local
from cabinos.drivers.model.copying import LENGTH, LOOSE, callable_with, sources
from cabinos.drivers.model.local import LocalModel, LocalSettings
from cabinos.drivers.model.prompt import IN_WORDS, Prompter
from cabinos.engine.constraints import Constraint
from cabinos.engine.tokenizer import Tokenizer
from cabinos.kernel.driver import Message, ThinkRequest, Thought, Tool, ToolCall, tool
from tests.drivers.conftest import ChatModelMaker
from tests.fixtures.chat_model import CALLS_A_TOOL

Free = Annotated[str, Field(json_schema_extra={"x-free": True})]


@tool
async def convert(value: str | float, unit: str, *, exact: bool = False) -> str:
    """Converts."""
    return unit


@tool
async def move(start: Annotated[str, Field(examples=["now"])], days: int = 0, by: float = 1) -> str:
    """Moves."""
    return start


@tool
async def ring(
    text: Annotated[str, Field(json_schema_extra={"x-copy": "statement"})],
    when: Annotated[str, Field(json_schema_extra={"x-copy": "time"})] = "now",
) -> str:
    """Rings."""
    return text


@tool
async def write(text: Free, kind: Literal["todo", "note"] = "todo") -> str:
    """Writes."""
    return text


@tool
async def reckon(
    of: Annotated[str, Field(json_schema_extra={"x-free": "arithmetic"})],
) -> str:
    """Reckons."""
    return of


@tool
async def gather(names: list[str], numbers: list[int]) -> str:
    """Gathers."""
    return names[0]


TOOLS = [convert, move, write, gather, reckon]
SAID = (
    'how many ounces are in "three" pounds, or 12,500.50 kg? My sister\'s called Ana.\n5km, an hour'
)


@pytest.fixture(scope="module")
def tokenizer(chat_model: ChatModelMaker) -> Tokenizer:
    return Tokenizer.from_gguf(chat_model())


def allows(tokenizer: Tokenizer, constraint: Constraint, name: str, arguments: str) -> bool:
    """Whether a model may write this call, and end there."""
    call = f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'
    return says(tokenizer, constraint, call)


def says(tokenizer: Tokenizer, constraint: Constraint, text: str) -> bool:
    """Whether a model may write this, and end there."""
    state = constraint.compile(tokenizer, tokenizer.vocab_size)
    ids = tokenizer.encode(text, add_special=False, parse_special=True)
    if state.longest_valid(ids) < len(ids):
        return False
    for token in ids:
        state.consume(token)
    return any(state.mask()[end] for end in tokenizer.end_ids)


def constraint(tokenizer: Tokenizer, text: str, tools: Sequence[Tool] = TOOLS) -> Constraint:
    return IN_WORDS.constraint(tools, tokenizer, None, sources([Message("user", text)]))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("convert", '{"value": "three", "unit": "pounds"}'),
        ("convert", '{"value": 3, "unit": "ounces"}'),
        ("convert", '{"value": "3", "unit": "km", "exact": true}'),
        ("convert", '{"value": 12500.50, "unit": "kg"}'),
        ("convert", '{"value": "12,500.50", "unit": "kg"}'),
        ("convert", '{"value": 1, "unit": "hour"}'),
        ("convert", '{"value": "\\"three\\" pounds", "unit": "sister\'s called Ana.\\n5km"}'),
        ("move", '{"start": "now", "days": -3}'),
        ("move", '{"start": "Ana", "days": 5, "by": 12500.5}'),
        ("move", '{"start": "Ana", "days": 0, "by": 1}'),
        ("write", '{"text": "whatever comes to its mind: 99"}'),
        ("write", '{"text": "", "kind": "note"}'),
        ("gather", '{"names": ["Ana", "sister"], "numbers": [3, 5]}'),
        ("gather", '{"names": [], "numbers": []}'),
        ("reckon", '{"of": "12,500.50 kg"}'),
        ("reckon", '{"of": "3"}'),
        ("reckon", '{"of": "(3 + 5) * 12500.5/1"}'),
        ("reckon", '{"of": "5% of 3 - 1^3"}'),
    ],
)
def test_what_was_said_may_be_written(tokenizer: Tokenizer, name: str, arguments: str) -> None:
    assert allows(tokenizer, constraint(tokenizer, SAID), name, arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("convert", '{"value": "four", "unit": "pounds"}'),
        ("convert", '{"value": 4, "unit": "pounds"}'),
        ("convert", '{"value": 3, "unit": "pound"}'),
        ("convert", '{"value": 3, "unit": " pounds"}'),
        ("convert", '{"value": 3, "unit": ""}'),
        ("convert", '{"value": 3, "unit": "ounces pounds"}'),
        ("convert", '{"unit": "pounds", "value": 3}'),
        ("convert", '{"value": 3}'),
        ("move", '{"start": "tomorrow"}'),
        ("move", '{"start": "now", "days": 12500.5}'),
        ("write", '{"text": "x", "kind": "Ana"}'),
        ("gather", '{"names": ["Bob"], "numbers": []}'),
        ("reckon", '{"of": "3 + 4"}'),
        ("reckon", '{"of": "3 5"}'),
        ("reckon", '{"of": "35"}'),
        ("reckon", '{"of": "3 +"}'),
        ("gather", '{"names": ["Ana"], "numbers": [4]}'),
        ("gather", '{"names": ["Ana"], "numbers": [3], "more": 1}'),
    ],
)
def test_nothing_else_may(tokenizer: Tokenizer, name: str, arguments: str) -> None:
    assert not allows(tokenizer, constraint(tokenizer, SAID), name, arguments)


CALL_MOM = "remind me to call mom tomorrow at 5pm"


@pytest.mark.parametrize(
    ("said", "arguments", "fits"),
    [
        (CALL_MOM, '{"text": "call mom", "when": "tomorrow at 5pm"}', True),
        (CALL_MOM, '{"text": "call mom"}', True),
        (CALL_MOM, '{"text": "call mom", "when": "tomorrow"}', False),
        (CALL_MOM, '{"text": "call mom tomorrow"}', False),
        (CALL_MOM, '{"text": "to call mom"}', False),
        (CALL_MOM, '{"text": "mom"}', False),
        ("remind me to call the plumber", '{"text": "call the"}', False),
        ("call mom", '{"text": "call mom", "when": "call mom"}', True),  # no time is said
        ("at 5pm or at 6pm, call mom", '{"text": "call mom", "when": "at 6pm"}', True),
        ("at 5pm", '{"text": "5pm", "when": "at 5pm"}', True),  # there is nothing else to copy
    ],
)  # fmt: skip
def test_what_can_be_read_is_copied_whole_and_apart(
    tokenizer: Tokenizer, said: str, arguments: str, fits: bool
) -> None:
    assert allows(tokenizer, constraint(tokenizer, said, [ring]), "ring", arguments) is fits


@pytest.mark.parametrize(
    ("said", "fits"),
    [
        ("remind me at 5pm", True),
        ("are there any travel alerts", False),
        ("", False),
    ],
)
def test_who_needs_a_time_is_called_where_one_is_said(said: str, fits: bool) -> None:
    [timed] = [tool for tool in notes.driver({}).tools if tool.name == "notes_remind"]
    assert callable_with(timed.parameters, sources([Message("user", said)])) is fits


@pytest.mark.parametrize(
    ("arguments", "fits"),
    [
        ('{"start": "today", "end": "until christmas"}', True),
        ('{"start": "until christmas", "end": "now"}', True),
        ('{"start": "today", "end": "now"}', False),
    ],
)
def test_from_one_time_to_another_one_is_said(
    tokenizer: Tokenizer, arguments: str, fits: bool
) -> None:
    tools = clock.driver({}).tools
    until = constraint(tokenizer, "how many days until christmas?", tools)
    assert allows(tokenizer, until, "clock_between", arguments) is fits


@pytest.mark.parametrize(
    ("said", "fits"),
    [
        ("what is 12 * 3", True),
        ("square root of nine", True),
        ("a $8 bill and a 15% tip", True),  # a sum that the model has to make
        ("the best of 2019", False),
        ("move over", False),
    ],
)
def test_what_has_no_sum_is_not_calculated(said: str, fits: bool) -> None:
    given = sources([Message("user", said)])
    assert callable_with(calculate.calculate.parameters, given) is fits


@pytest.mark.parametrize(
    ("said", "fits"),
    [
        ("what did i say about the boiler?", True),
        ("where are my keys", True),
        ("where does Ana live?", True),
        ("where does ana live", True),
        ("what is Ana's number", True),
        ("what gate does KX1258 leave from", False),
        ("how long is it to the station?", False),
        ("why is the sky blue", False),
        ("what's the capital of the country", False),
    ],
)
def test_what_nobody_can_have_told_is_not_recalled(said: str, fits: bool) -> None:
    recall = next(t for t in notes.driver({"zone": "UTC"}).tools if t.name == "notes_recall")
    assert callable_with(recall.parameters, sources([Message("user", said)])) is fits


def test_a_zone_that_cannot_be_read_is_left_out(tokenizer: Tokenizer) -> None:
    now = next(t for t in clock.driver({"zone": "UTC"}).tools if t.name == "clock_now")
    for said, may in (("the time in Oslo?", "Oslo"), ("is UA 894 on time?", None)):
        made = constraint(tokenizer, said, [now])
        assert allows(tokenizer, made, "clock_now", "{}")
        for zone in ("Oslo", "UA 894", "time"):
            written = json.dumps({"zone": zone})
            assert allows(tokenizer, made, "clock_now", written) is (zone == may)


def test_no_copy_goes_from_one_message_into_another(tokenizer: Tokenizer) -> None:
    said = [Message("user", "call Ana"), Message("assistant", "Bob?"), Message("tool", "Bob 5")]
    of = IN_WORDS.constraint([move], tokenizer, None, sources(said))
    assert allows(tokenizer, of, "move", '{"start": "call Ana"}')
    assert allows(tokenizer, of, "move", '{"start": "Bob", "days": 5}')
    assert not allows(tokenizer, of, "move", '{"start": "Ana Bob"}')
    assert not allows(tokenizer, of, "move", '{"start": "Bob?"}')  # its own words


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("Your code is 4471.", True),
        ("4471", True),
        ("It was 20:05 on 2026-11-24: 2 notes.", True),
        ("Your code is 471.", False),
        ("Your code is 44711.", False),
        ("Your code is 4471 4471.", True),
        ("Your code is 07.", False),
        ("99", False),
        ("No figures at all.\n", True),
    ],
)
def test_an_answer_to_a_result_has_no_other_figures(
    tokenizer: Tokenizer, text: str, *, allowed: bool
) -> None:
    said = [Message("user", "my code?"), Message("tool", "1 (2026-11-24 20:05): my code is 4471")]
    assert says(tokenizer, IN_WORDS.constraint([move], tokenizer, None, sources(said)), text) is (
        allowed
    )
    asked = IN_WORDS.constraint([move], tokenizer, None, sources(said[:1]))
    assert says(tokenizer, asked, text)  # nothing was looked up: it may know


def test_only_the_last_of_a_long_conversation_is_copied_from() -> None:
    given = sources([Message("user", "7 " * 5000), Message("user", "12 last")])
    assert len(given.words) < LENGTH + 10
    assert given.words[-4:-1] == ("12", " ", "last")
    assert set(given.numbers) == {"12", "7"}
    assert sources([]) == sources([Message("assistant", "5 words")])


def test_without_anything_to_copy_the_schema_holds(tokenizer: Tokenizer) -> None:
    of = IN_WORDS.constraint([convert, move], tokenizer, None, sources([]))
    assert allows(tokenizer, of, "convert", '{"value": 7, "unit": "miles"}')
    assert not allows(tokenizer, of, "convert", '{"value": 7}')


WORDS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(WORDS, st.data())
def test_any_run_of_words_can_be_copied(
    chat_model: ChatModelMaker, words: list[str], data: st.DataObject
) -> None:
    tokenizer = Tokenizer.from_gguf(chat_model())
    given = sources([Message("user", " ".join(words))])
    solid = [n for n, word in enumerate(given.words) if not word.isspace() and word != "\x1e"]
    if not solid:
        return
    first, last = sorted(data.draw(st.sampled_from(solid)) for _ in range(2))
    text = "".join(given.words[first : last + 1])
    written = tokenizer.decode(tokenizer.encode(text, add_special=False))
    if re.fullmatch(LOOSE, text) or written != text:  # some characters have two spellings
        return
    span = json.dumps(text, ensure_ascii=False)
    of = IN_WORDS.constraint([move], tokenizer, None, given)
    assert allows(tokenizer, of, "move", f'{{"start": {span}}}')


# ---- a model -------------------------------------------------------------------------------------


def answers(path: Any, *requests: ThinkRequest, **options: Any) -> list[Thought]:
    async def run() -> list[Thought]:
        model = LocalModel("tiny", LocalSettings(path, threads=1, **options))
        try:
            return [await model.think(request) for request in requests]
        finally:
            await model.close()

    return asyncio.run(run())


def test_a_small_model_copies_whatever_its_weights_say(chat_model: ChatModelMaker) -> None:
    path = chat_model(follows=CALLS_A_TOOL, metadata={"cabin.tools_shown": 2})
    said = (Message("user", "convert 3 pounds"),)
    requests = [
        ThinkRequest(said, [convert], max_tokens=80, temperature=1.5, seed=seed)
        for seed in range(8)
    ]
    written = [call for thought in answers(path, *requests) for call in thought.calls]
    assert len(written) == 8
    assert {call.arguments is None for call in written} == {False}
    for call in written:
        assert isinstance(call, ToolCall)
        assert call.arguments is not None
        assert call.arguments["unit"] in "convert 3 pounds"
        assert str(call.arguments["value"]).lstrip("-") in "convert 3 pounds"


def test_where_copies_cannot_be_compiled_the_schema_holds(
    chat_model: ChatModelMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cabinos.drivers.model import copying

    monkeypatch.setattr(copying, "SOLID", "(")  # no regular expression
    path = chat_model(follows=CALLS_A_TOOL)
    request = ThinkRequest((Message("user", "x"),), [convert], max_tokens=80, temperature=0)
    (thought,) = answers(path, request, tools_shown=1)
    assert [call.name for call in thought.calls] == ["convert"]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, (False, None, local.TEMPERATURE)),
        ({"cabin.assistant": True, "cabin.tools_shown": 4}, (True, 4, 0.0)),
        ({"cabin.assistant": True, "cabin.temperature": 0.5}, (True, None, 0.5)),
        ({"cabin.temperature": 0.25}, (False, None, 0.25)),
        ({"cabin.tools_shown": 0, "cabin.temperature": -1.0}, (False, None, local.TEMPERATURE)),
        ({"cabin.tools_shown": "four", "cabin.assistant": "yes"}, (False, None, local.TEMPERATURE)),
    ],
)
def test_what_a_file_says_of_its_model(
    chat_model: ChatModelMaker, metadata: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    model = LocalModel("tiny", LocalSettings(chat_model(metadata=metadata), threads=1))
    assert (model.assistant, model.tools_shown, model.temperature) == expected
    own = LocalSettings(chat_model(metadata=metadata), tools_shown=7, temperature=0.125)
    model = LocalModel("tiny", own)
    assert (model.tools_shown, model.temperature) == (7, 0.125)


@pytest.mark.parametrize(
    ("metadata", "bias"),
    [({}, 0.0), ({"cabin.call_margin": 2.0}, -2.0), ({"cabin.call_margin": -1.0}, 0.0)],
)
def test_a_file_may_ask_for_calls_to_be_surer(
    chat_model: ChatModelMaker, metadata: dict[str, Any], bias: float
) -> None:
    prompter = Prompter(chat_model(metadata=metadata), thinking=False)
    asked = [Message("user", "Hello")]
    assert sum(prompter.reserve(asked).values()) == bias
    assert prompter.reserve([*asked, Message("tool", "Hi", call_id="1", name="x")]) == {}


def test_an_answer_to_a_result_may_stand_for_it(chat_model: ChatModelMaker) -> None:
    path = chat_model(metadata={"cabin.tells_results": True, "cabin.tools_shown": 2})
    messages = (
        Message("user", "roll"),
        Message("assistant", "", (ToolCall("1", "random_roll", {}),)),
        Message("tool", "4", call_id="1", name="random_roll"),
    )
    tools = [tool for tool in random_choice.driver({}).tools if tool.name == "random_roll"]
    prompter = Prompter(path, thinking=False)
    of = prompter.constraint(tools, None, messages)
    assert of is not None
    assert says(prompter.tokenizer, of, "<tool_response>")
    assert not says(prompter.tokenizer, of, "It is 5.")


def test_a_tools_tokens_are_those_it_takes(chat_model: ChatModelMaker) -> None:
    model = LocalModel("tiny", LocalSettings(chat_model(), threads=1))
    said = (Message("user", "Hello"),)
    both = model.measure(said, [convert, move]) - model.measure(said)
    assert both <= model.tool_tokens(convert) + model.tool_tokens(move)


def test_without_tools_a_small_model_calls_none(chat_model: ChatModelMaker) -> None:
    prompter = Prompter(chat_model(), thinking=False)
    said = [Message("user", "hello")]
    of = prompter.constraint((), None, said)
    assert of is not None
    mark = prompter.tokenizer.special_tokens.get("<tool_call>")
    state = of.compile(prompter.tokenizer, prompter.tokenizer.vocab_size)
    assert mark is not None
    assert not state.mask()[mark]
    assert says(prompter.tokenizer, of, "Hello. I am 99.")
    assert prompter.constraint((), None) is None
