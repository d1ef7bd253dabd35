"""Tool calls in text: each family, what is broken, what is no call, and any cut of the stream."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.drivers.model.tool_calls import (
    BARE,
    FENCE,
    HERMES,
    MARKS,
    MISTRAL,
    PYTHON_TAG,
    Splitter,
    parse_json,
    split,
)

OFFERED = ("add", "read_file")
ADD = '{"name": "add", "arguments": {"a": 1}}'
ADD_LLAMA = '{"name": "add", "parameters": {"a": 1}}'


def found(text: str) -> tuple[str, list[tuple[str, Any]]]:
    """What is said, and (name, arguments) of each call; of a broken one (name, raw text)."""
    said, calls = split(text, OFFERED)
    assert [call.id for call in calls] == [f"call_{n}" for n in range(len(calls))]
    return said, [
        (call.name, call.raw if call.arguments is None else call.arguments) for call in calls
    ]


@pytest.mark.parametrize(
    ("text", "said", "calls"),
    [
        (f"<tool_call>\n{ADD}\n</tool_call>", "", [("add", {"a": 1})]),
        (f"<tool_call>{ADD}</tool_call>", "", [("add", {"a": 1})]),
        (f"I add.\n<tool_call>\n{ADD}\n</tool_call>", "I add.", [("add", {"a": 1})]),
        (f"<tool_call>{ADD}</tool_call>\nDone.", "Done.", [("add", {"a": 1})]),
        (f"A\n<tool_call>{ADD}</tool_call>\nB", "A\nB", [("add", {"a": 1})]),
        (f"<tool_call>{ADD}</tool_call>\n<tool_call>{ADD}</tool_call>", "",
         [("add", {"a": 1})] * 2),
        (f"<tool_call>[{ADD}, {ADD}]</tool_call>", "", [("add", {"a": 1})] * 2),
        (f"<tool_call>{ADD}", "", [("add", {"a": 1})]),  # no end
        (f"<tool_call>{ADD}</tool", "", [("add", {"a": 1})]),  # half an end
        (f"<tool_call>{ADD} and so on", "and so on", [("add", {"a": 1})]),
        (f"<tool_call>{ADD_LLAMA}</tool_call>", "", [("add", {"a": 1})]),
        ('<tool_call>{"name": "add", "arguments": "{\\"a\\": 1}"}</tool_call>', "",
         [("add", {"a": 1})]),
        ('<tool_call>{"name": "add", "arguments": {"a": "</tool_call>}"}}</tool_call>', "",
         [("add", {"a": "</tool_call>}"})]),
        ('<tool_call>{"name": "add", "arguments": {"a": "x\ny"}}</tool_call>', "",
         [("add", {"a": "x\ny"})]),
        ('<tool_call>{"function": {"name": "add", "arguments": {}}}</tool_call>', "",
         [("add", {})]),
        ('<tool_call>{"name": "strange", "arguments": {}}</tool_call>', "", [("strange", {})]),
        (ADD_LLAMA, "", [("add", {"a": 1})]),
        (f"\n {ADD_LLAMA}\n", "", [("add", {"a": 1})]),
        (f"{ADD_LLAMA}; {ADD_LLAMA}", "", [("add", {"a": 1})] * 2),
        ('{"type": "function", "name": "add", "parameters": {}}', "", [("add", {})]),
        (f"<|python_tag|>{ADD_LLAMA}", "", [("add", {"a": 1})]),
        (f"Well. <|python_tag|>{ADD_LLAMA}; {ADD_LLAMA}", "Well.", [("add", {"a": 1})] * 2),
        (f"[TOOL_CALLS] [{ADD}]", "", [("add", {"a": 1})]),
        (f"[TOOL_CALLS][{ADD}, {ADD}]", "", [("add", {"a": 1})] * 2),
        ('[TOOL_CALLS]add[ARGS]{"a": 1}', "", [("add", {"a": 1})]),
        ('[TOOL_CALLS]add{"a": 1}', "", [("add", {"a": 1})]),
        ('[TOOL_CALLS]add[CALL_ID]Xy1[ARGS]{"a": 1}[TOOL_CALLS]read_file{"p": "/"}', "",
         [("add", {"a": 1}), ("read_file", {"p": "/"})]),
        ('<function=add>{"a": 1}</function>', "", [("add", {"a": 1})]),
        ("<function=add></function> ok", "ok", [("add", {})]),
        (f"```json\n{ADD}\n```", "", [("add", {"a": 1})]),
        (f"Like so:\n```json\n{ADD_LLAMA}\n```\nGood?", "Like so:\nGood?", [("add", {"a": 1})]),
    ],
)  # fmt: skip
def test_a_call_is_found(text: str, said: str, calls: list[tuple[str, Any]]) -> None:
    assert found(text) == (said, calls)


@pytest.mark.parametrize(
    ("text", "said", "calls"),
    [
        ('<tool_call>{"name": "add", "arguments": {"a": 1}</tool_call> so', "so",
         [("add", '{"name": "add", "arguments": {"a": 1}')]),
        ('<tool_call>{"name": "add", "arguments": {"a": "1}</tool_call>', "",
         [("add", '{"name": "add", "arguments": {"a": "1}')]),
        ('<tool_call>{"name": "add", "arguments": {\'a\': 1}}</tool_call>', "",
         [("add", '{"name": "add", "arguments": {\'a\': 1}}')]),
        ('<tool_call>{"name": "add", "arg', "", [("add", '{"name": "add", "arg')]),
        ("<tool_call>add(1, 2)</tool_call>.", ".", [("", "add(1, 2)")]),
        ("<tool_call></tool_call>", "", [("", "")]),
        ("<tool_call>[]</tool_call>", "", [("", "[]")]),
        ('<tool_call>{"name": "add"}</tool_call>', "", [("add", '{"name": "add"}')]),
        ('<tool_call>{"name": 7, "arguments": {}}</tool_call>', "",
         [("", '{"name": 7, "arguments": {}}')]),
        ('<tool_call>{"name": "add", "arguments": [1]}</tool_call>', "",
         [("add", '{"name": "add", "arguments": [1]}')]),
        ('<tool_call>{"name": "add", "arguments": {"a": NaN}}</tool_call>', "",
         [("add", '{"name": "add", "arguments": {"a": NaN}}')]),
        ('<tool_call>{"name": "add", "arguments": {"a": "\\ud800"}}</tool_call>', "",
         [("add", '{"name": "add", "arguments": {"a": "\\ud800"}}')]),
        ('{"name": "add", "parameters": {"a": 1', "",
         [("add", '{"name": "add", "parameters": {"a": 1')]),
        ('<|python_tag|>brave_search.call(query="x")', "",
         [("brave_search", 'brave_search.call(query="x")')]),
        ("<|python_tag|>import os", "", [("", "import os")]),
        ("[TOOL_CALLS]add me", "", [("add", "add me")]),
        ('[TOOL_CALLS][{"name": "add", "argu', "", [("add", '[{"name": "add", "argu')]),
        ('[TOOL_CALLS]add{"a": }', "", [("add", '{"a": }')]),
        ('<function=add>{"a": </function>', "", [("add", '{"a":')]),
    ],
)  # fmt: skip
def test_a_broken_call_keeps_its_text(text: str, said: str, calls: list[tuple[str, Any]]) -> None:
    assert found(text) == (said, calls)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "Hello.\n",
        "a < b, a <tool, <tool_cal",
        "</tool_call>",
        '{"answer": 42}',
        '{"name": "Bob", "age": 7}',
        '{"name": "Bob"',
        "{",
        "{}",
        '{"na',
        '{ not JSON }',
        'Say {"name": "add", "parameters": {}}',  # not the whole reply
        "[TOOL_CALL] [TOOL",
        "<function= add>",
        "std::function<function=",
        '```json\n{"name": "unknown", "arguments": {}}\n```',
        '```json\n{"answer": 42}\n``` yes',
        '```json\n[1, 2]\n```',
        '```json\n{"name": "add", "argu',
        f"```\n{ADD}\n```",
        "```json",
        "`<`",
        "<think>hmm",
    ],
)  # fmt: skip
def test_what_is_no_call_stays_as_it_is(text: str) -> None:
    assert found(text) == (text, [])


def test_a_fenced_block_is_the_last_resort() -> None:
    said, calls = found(f"<tool_call>{ADD}</tool_call>\nFor example\n```json\n{ADD}\n```")
    assert said == f"For example\n```json\n{ADD}\n```"
    assert len(calls) == 1


def test_without_tools_everything_is_text() -> None:
    text = f"<tool_call>{ADD}</tool_call> {ADD_LLAMA}\n"
    assert split(text, ()) == (text, ())


def test_only_the_marks_asked_for_count() -> None:
    text = f"[TOOL_CALLS][{ADD}] ```json\n{ADD}\n``` <tool_call>{ADD}</tool_call>"
    splitter = Splitter(OFFERED, marks=(HERMES,))
    assert splitter.push(text) + splitter.finish() == text[: text.index(" <tool_call>")]
    assert len(splitter.calls) == 1
    splitter = Splitter(OFFERED, marks=(BARE, PYTHON_TAG))
    assert splitter.push(text) + splitter.finish() == text


def test_thoughts_before_the_answer_are_left_out() -> None:
    assert found(f"<think>\n<tool_call>{ADD}\n</think>\n\nYes.\n") == ("Yes.\n", [])
    assert found(f"<think></think>{ADD_LLAMA}") == ("", [("add", {"a": 1})])
    splitter = Splitter((), thinking=True)  # the prompt has opened it
    assert splitter.push("let me see</thi") == ""
    assert splitter.push("nk>\n\nYes") + splitter.finish() == "Yes"
    splitter = Splitter(OFFERED, thinking=True)
    assert splitter.push("never done") + splitter.finish() == "never done"


def test_text_is_shown_as_soon_as_it_can_be() -> None:
    splitter = Splitter(OFFERED)
    assert splitter.push("Hello") == "Hello"
    assert splitter.push(", you <to") == ", you"
    assert splitter.push("ad>") == " <toad>"
    assert splitter.push(" [TOOL_CALLS") == ""
    assert splitter.push("!") == " [TOOL_CALLS!"
    assert splitter.push("<tool_call>") == ""
    assert splitter.push(ADD) == ""
    assert len(splitter.push("</tool_call>x") + "") == 1
    assert splitter.finish() == ""
    assert splitter.calls[0].name == "add"


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, "1e999", '"\\ud800"']
)
def test_hostile_json_is_an_error_and_no_more(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the message is Python's)
        parse_json(text)
    body = json.dumps({"name": "add", "arguments": {"a": 0}}).replace("0", text)
    _, calls = split(f"<tool_call>{body}</tool_call>", OFFERED)
    assert [call.arguments for call in calls] == [None]


def test_a_long_call_takes_linear_time() -> None:
    body = json.dumps({"name": "add", "arguments": {"text": "lorem ipsum " * 8_000}})
    splitter = Splitter(OFFERED)
    started = time.process_time()
    for start in range(0, len(body), 5):
        assert splitter.push(("<tool_call>" if start == 0 else "") + body[start : start + 5]) == ""
    splitter.finish()
    assert splitter.calls[0].arguments is not None
    assert time.process_time() - started < 5


PIECES = st.sampled_from(
    [*MARKS, "</tool_call>", "</function>", "add>", "```", "\n", " ", ADD, ADD_LLAMA, '{"a": "x"}',
     "{", "}", "[", "]", '"', "\\", "add", "<think>", "</think>", "[ARGS]", "[CALL_ID]", ";", "<",
     '"name": "add"', "tool_call>", "é", "{}", '{"name": "zz", "parameters": {}}', "🙂"]
)  # fmt: skip
TEXTS = st.one_of(st.lists(PIECES, max_size=14).map("".join), st.text(max_size=40))


@settings(max_examples=250, deadline=None)
@given(TEXTS, st.data())
def test_any_cut_of_the_stream_gives_the_same(text: str, data: st.DataObject) -> None:
    whole = split(text, OFFERED)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    for borders in ([*cuts], range(1, len(text))):
        splitter = Splitter(OFFERED)
        starts, ends = [0, *borders], [*borders, len(text)]
        shown = [splitter.push(text[a:b]) for a, b in zip(starts, ends, strict=True)]
        assert ("".join([*shown, splitter.finish()]), splitter.calls) == whole


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_text_is_never_lost(text: str) -> None:
    """Without a mark in it, a text comes out as it went in; with one, it comes out or is a call."""
    said, calls = split(text, OFFERED)
    if "</think>" in text:
        return
    if not calls:
        assert said == text
    else:
        assert any(mark in text for mark in MARKS if mark) or text.lstrip().startswith("{")
        assert all(call.raw in text for call in calls)


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=12)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(st.text(max_size=8), VALUES, max_size=4)


@settings(max_examples=80, deadline=None)
@given(ARGUMENTS, st.sampled_from([HERMES, PYTHON_TAG, MISTRAL, BARE, FENCE]))
def test_whatever_the_arguments_they_come_back(arguments: dict[str, Any], mark: str) -> None:
    body = json.dumps({"name": "add", "arguments": arguments}, ensure_ascii=False)
    ends = {HERMES: "\n</tool_call>", FENCE: "\n```", MISTRAL: "]"}
    start = MISTRAL + "[" if mark == MISTRAL else mark
    assert found(f"{start}{body}{ends.get(mark, '')}") == ("", [("add", arguments)])
