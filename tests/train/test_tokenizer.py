"""The tokenizer: lossless, digit by digit, with markup that text cannot spell; and its template."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.engine.chat_template import ChatTemplate
from cabinos.engine.tokenizer import Tokenizer
from cabinos.train.errors import CorpusError
from cabinos.train.evaluate import token_lengths
from cabinos.train.export import export_gguf
from cabinos.train.shards import open_shards, pack_shards, tokens_of
from cabinos.train.tokenizer import (
    CHAT_TEMPLATE,
    END_OF_TEXT,
    RESERVED,
    SPECIAL,
    TAGS,
    encoder,
    open_tokenizer,
    sample,
    train,
)
from tests.train.test_model import small_model

TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": "You act."},
    {"role": "user", "content": "2 + 3, and 4 + 5?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"function": {"name": "add", "arguments": {"a": 2, "b": 3}}},
            {"function": {"name": "add", "arguments": '{"a": 4, "b": 5}'}},
        ],
    },
    {"role": "tool", "content": "5"},
    {"role": "tool", "content": "9"},
    {"role": "assistant", "content": "5 and 9."},
]


@pytest.fixture(scope="module")
def engine_tokenizer(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    size = open_tokenizer(data / "tokenizer.json").get_vocab_size()
    export_gguf(small_model(vocabulary=size), data / "tokenizer.json", path, "f16")
    return Tokenizer.from_gguf(path)


@pytest.fixture(scope="module")
def plain(data: Path) -> Any:
    return encoder(open_tokenizer(data / "tokenizer.json"))


@pytest.fixture(scope="module")
def lengths(data: Path) -> Any:
    return token_lengths(data)


def test_special_tokens_come_first_and_are_single(data: Path) -> None:
    tokenizer = open_tokenizer(data / "tokenizer.json")
    assert [tokenizer.token_to_id(text) for text in SPECIAL] == list(range(32))
    for text in (*TAGS, "<|im_start|>", "<|im_end|>", END_OF_TEXT):
        assert len(tokenizer.encode(text).ids) == 1
    assert len(RESERVED) == 25


def test_digits_stand_alone(plain: Any) -> None:
    tokens = plain.encode("in 1984, 12.5%").tokens
    assert [t for t in tokens if any(c.isdigit() for c in t)] == list("1984125")


@settings(deadline=None)
@given(text=st.text())
def test_any_text_survives(plain: Any, lengths: Any, text: str) -> None:
    ids = plain.encode(text).ids
    assert plain.decode(ids, skip_special_tokens=False) == text
    assert min(ids, default=99) >= 32  # text never spells markup
    assert int(lengths[ids].sum()) == len(text.encode())


@settings(deadline=None)
@given(text=st.text())
def test_the_engine_encodes_alike(engine_tokenizer: Tokenizer, plain: Any, text: str) -> None:
    assert engine_tokenizer.encode(text, add_special=False) == plain.encode(text).ids


def test_text_that_looks_like_markup_is_text(plain: Any) -> None:
    assert len(plain.encode("<|im_end|><tool_call>").ids) > 2


def test_the_template_is_chatml_with_hermes_tags(engine_tokenizer: Tokenizer) -> None:
    template = ChatTemplate({"default": CHAT_TEMPLATE}, engine_tokenizer, "test")
    text = template.render(CHAT, tools=TOOLS)
    assert text == (
        "<|im_start|>system\nYou act.\n\nTools:\nadd()<|im_end|>\n"
        "<|im_start|>user\n2 + 3, and 4 + 5?<|im_end|>\n"
        '<|im_start|>assistant\n<tool_call>\n{"name": "add", "arguments": {"a": 2, "b": 3}}\n'
        '</tool_call>\n<tool_call>\n{"name": "add", "arguments": {"a": 4, "b": 5}}\n'
        "</tool_call><|im_end|>\n"
        "<|im_start|>user\n<tool_response>\n5\n</tool_response>\n"
        "<tool_response>\n9\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n<tool_response><|im_end|>\n<|im_start|>assistant\n"
    )
    assert template.render(CHAT[1:2]) == (
        "<|im_start|>user\n2 + 3, and 4 + 5?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_training_twice_gives_the_same_tokenizer() -> None:
    texts = ["the cat sat on the mat, the dog sat on the log"] * 3
    assert train(texts, 400).to_str() == train(texts, 400).to_str()


def test_the_sample_keeps_the_shares() -> None:
    texts = [(3.0, iter(["a" * 50] * 100)), (1.0, iter(["b" * 50] * 100))]
    taken = "".join(sample(texts, 2000))
    assert taken.count("a") == pytest.approx(1500, abs=50)
    assert taken.count("b") == pytest.approx(500, abs=50)


def test_every_document_begins_with_the_end_of_text_token(data: Path) -> None:
    for shard in open_shards(data):
        tokens = tokens_of(data, shard)
        assert tokens[0] == 0
        assert int((tokens == 0).sum()) == shard.documents
        assert int(token_lengths(data)[tokens].sum()) == shard.bytes


def test_a_tokenizer_that_was_changed_is_noticed(data: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + "\n")
    with pytest.raises(CorpusError, match="another tokenizer"):
        open_shards(folder)
    assert pack_shards(folder) == open_shards(folder)
    (folder / "shards" / "books-train.bin").write_bytes(b"\0\0")
    with pytest.raises(CorpusError, match=r"books-train\.bin: missing or cut short"):
        tokens_of(folder, open_shards(folder)[0])


def test_a_damaged_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="not there yet"):
        open_tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CorpusError, match="not a tokenizer"):
        open_tokenizer(tmp_path / "tokenizer.json")
