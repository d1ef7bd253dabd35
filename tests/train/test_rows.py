"""Rows: the ids that the engine makes, a mask on the assistant's words alone, and clear errors."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from cabinos.drivers.model.call_format import CallFormat
from cabinos.engine.chat_template import CHATML, ChatTemplate
from cabinos.engine.gguf import read_gguf
from cabinos.engine.tokenizer import Tokenizer
from cabinos.train.errors import CorpusError
from cabinos.train.export import describe_hf, export_gguf
from cabinos.train.model import Llama
from cabinos.train.rows import Rows, Speech, encode_row, encode_rows, join, open_speech
from cabinos.train.tokenizer import open_tokenizer
from tests.train.conversations import CONVERT, conversation, write_rows
from tests.train.test_model import small_model


@pytest.fixture(scope="module")
def model(data: Path) -> Llama:
    return small_model(vocabulary=open_tokenizer(data / "tokenizer.json").get_vocab_size())


@pytest.fixture(scope="module")
def speech(model: Llama, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Speech:
    folder = tmp_path_factory.mktemp("hf")
    describe_hf(model.config, data / "tokenizer.json", folder)
    return open_speech(folder)


def learnt(row: dict[str, Any], speech: Speech, *, exactly: bool) -> list[str]:
    ids, spans = encode_row(row, speech, exactly=exactly)
    return [speech.tokenizer.decode(ids[a:b], special=True) for a, b in spans]


@pytest.mark.parametrize("exactly", [True, False])
def test_calls_answers_and_ends_of_turns_are_learnt_and_nothing_else(
    speech: Speech, exactly: bool
) -> None:
    row = conversation(Random(3))
    row["messages"][1]["tool_calls"] *= 2
    row["messages"][2:3] *= 2
    row["messages"].insert(0, {"role": "system", "content": "Be <|im_start|>assistant\nbrief."})
    call = row["messages"][2]["tool_calls"][0]["function"]
    arguments = json.dumps(call["arguments"])
    text = f'<tool_call>\n{{"name": "units_convert", "arguments": {arguments}}}\n</tool_call>'
    assert learnt(row, speech, exactly=exactly) == [
        f"{text}\n{text}<|im_end|>",
        "<tool_response><|im_end|>",  # it says the result
        "You are welcome.<|im_end|>",
    ]


def test_arguments_may_be_text_as_apis_send_them(speech: Speech) -> None:
    row = conversation(Random(3))
    call = row["messages"][1]["tool_calls"][0]["function"]
    expected = encode_row(row, speech)
    call["arguments"] = json.dumps(call["arguments"], indent=2)
    assert encode_row(row, speech) == expected


def test_ids_are_those_of_the_exported_model(
    model: Llama, speech: Speech, data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "assistant.gguf"
    export_gguf(model, data / "tokenizer.json", path, "f16", assistant=True)
    facts = read_gguf(path)
    assert facts.metadata["cabin.assistant"] is True
    assert facts.metadata["cabin.tools_shown"] == 4
    template = ChatTemplate.from_gguf(facts, Tokenizer.from_gguf(facts))
    for seed in range(5):
        row = conversation(Random(seed))
        messages, tools = row["messages"], row["tools"]
        ids, spans = encode_row(row, speech, exactly=False)
        assert ids == template.encode_chat(messages, tools=tools, add_generation_prompt=False)
        turns = [n for n, message in enumerate(messages) if message["role"] == "assistant"]
        for turn, (start, _) in zip(turns, spans, strict=True):
            assert ids[:start] == template.encode_chat(messages[:turn], tools=tools)


def test_tools_are_a_line_each(speech: Speech) -> None:
    bare = {"type": "function", "function": {"name": "now"}}
    two = {"type": "function", "function": {"name": "say", "description": "Says it\nall. And"}}
    chat = [{"role": "user", "content": "hi"}]
    assert speech.template.render(chat, tools=[CONVERT, bare, two]) == (
        "<|im_start|>system\nTools:\n"
        "units_convert(value, from_unit, to_unit, style?=short|long): "
        "Converts a quantity exactly.\n"
        "now()\n"
        "say(): Says it all.<|im_end|>\n"
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_call_format_is_learnt_from_the_template(speech: Speech) -> None:
    form = CallFormat.learn(speech.template)
    assert form is not None
    assert (form.mark, form.before, form.between, form.after) == (
        "<tool_call>", '\n{"name": "', '", "arguments": ', "}\n</tool_call>",
    )  # fmt: skip
    assert (form.item_separator, form.key_separator) == (", ", ": ")


def test_a_template_whose_prompts_begin_no_conversation_is_refused(speech: Speech) -> None:
    text = "{% for m in messages %}{{ m.role + ':' + m.content }}{% endfor %}"
    text += "{% if add_generation_prompt %}{{ 'reply:' }}{% endif %}"
    strange = replace(speech, template=ChatTemplate({"default": text}, speech.tokenizer, "test"))
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    for exactly in (True, False):
        with pytest.raises(ValueError, match="does not begin with the prompt"):
            encode_row(row, strange, exactly=exactly)


def test_a_template_that_writes_no_calls_is_refused(speech: Speech) -> None:
    plain = replace(speech, template=ChatTemplate({"default": CHATML}, speech.tokenizer, "test"))
    with pytest.raises(ValueError, match="message 1: the chat template .* writes no calls"):
        encode_row(conversation(Random(1)), plain)


def test_rows_are_encoded_once_and_read_from_the_disk(speech: Speech, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", 40)
    path.write_text("\n" + path.read_text())
    rows = encode_rows([path], speech, 256, tmp_path / "cache")
    assert len(rows) == 40
    assert rows.tokens.dtype == np.uint16
    ids, spans = encode_row(json.loads(path.read_text().splitlines()[8]), speech)
    assert rows.row(7)[0].tolist() == ids
    assert np.flatnonzero(rows.row(7)[1]).tolist() == [n for a, b in spans for n in range(a, b)]
    assert rows.place(7) == f"{path}:9"
    folder = tmp_path / "cache" / rows.key
    before = folder.stat().st_mtime_ns
    assert encode_rows([path], speech, 256, tmp_path / "cache").key == rows.key
    assert folder.stat().st_mtime_ns == before
    path.write_text(path.read_text() + path.read_text())
    assert encode_rows([path], speech, 256, tmp_path / "cache").key != rows.key
    assert [p.name[0] for p in (tmp_path / "cache").iterdir()].count(".") == 0  # nothing partial


def test_long_rows_are_left_out_and_counted(speech: Speech, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", 30)
    every = encode_rows([path], speech, 256, tmp_path / "cache")
    shorter = int(np.median(every.lengths))
    some = encode_rows([path], speech, shorter, tmp_path / "cache")
    assert some.too_long == int((every.lengths > shorter).sum()) > 0
    assert len(some) + some.too_long == 30
    with pytest.raises(CorpusError, match="no row fits the context"):
        encode_rows([path], speech, 8, tmp_path / "cache")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"messages": [', "not a row"),
        (b'{"messages": [{"role": "user", "content": "\xff"}]}', "not a row"),
        (b'{"text": "a"}', "at least one message"),
        (b"[]", "at least one message"),
        (b'{"messages": [{"role": "user", "content": "a"}]}', "the assistant says nothing"),
        (b'{"messages": [{"role": "assistant", "content": "a"}]}', "speaks first"),
        (b'{"messages": [{"role": "user", "content": 7}]}', "message 0: the content is no text"),
        (b'{"messages": [{"content": "a"}]}', "message 0 has no role"),
        (
            b'{"messages": [{"role": "user"}, {"role": "assistant", "tool_calls": [{"id": 7}]}]}',
            "message 1: a call needs a name",
        ),
        (b'{"messages": [{"role": "user", "content": "a"}], "tools": 3}', "the tools are no list"),
    ],
)
def test_what_is_no_row_is_named_by_file_and_line(
    speech: Speech, tmp_path: Path, line: bytes, problem: str
) -> None:
    path = write_rows(tmp_path / "rows.jsonl", 2)
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(CorpusError, match=rf"rows\.jsonl:3: .*{problem}"):
        encode_rows([path], speech, 256, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_missing_file_is_named(speech: Speech, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"rows\.jsonl: cannot be read"):
        encode_rows([tmp_path / "rows.jsonl"], speech, 256, tmp_path / "cache")


def test_joined_rows_keep_their_places(speech: Speech, tmp_path: Path) -> None:
    parts: list[Rows] = []
    for name in ("one", "two"):
        path = write_rows(tmp_path / f"{name}.jsonl", 3, seed=len(name + str(parts)))
        parts.append(encode_rows([path], speech, 256, tmp_path / "cache"))
    both = join(*parts)
    assert len(both) == 6
    assert both.place(4).endswith("two.jsonl:2")
    assert both.row(4)[0].tolist() == parts[1].row(1)[0].tolist()
