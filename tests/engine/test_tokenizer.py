"""The tokenizer against transformers and sentencepiece, on vocabularies trained on the spot."""

import io
import json
import time
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.engine.errors import InvalidRequest, ModelFileError, UnsupportedModel
from cabinos.engine.tokenizer import SPLITTERS, Tokenizer

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
USER_DEFINED = ["<tool", "<tool>", "<tool_call>", "</tool_call>"]
CORPUS = [
    "The quick brown fox jumps over the lazy dog; it's 3 o'clock, they've 14 apples, I'll see.",
    "THEY'RE here, aren't they? It'S we'Ll don'T. Call 1234567 or 926535, and pay 1,234.56 now.",
    "def attention(query, key, value):\n    return softmax(query @ key.T / sqrt(d)) @ value\n\n\n",
    "Größe, naïveté, façade; привет, мир; 你好，世界，这是测试; こんにちは;",
    "한국어; مرحبا שלום.",
    "नमस्ते दुनिया, क्षत्रिय श्रीमान को हिन्दी में लिखा; 🙂🚀 👩‍💻 👨‍👩‍👧‍👦 🇩🇪🇫🇷 ٣٤ ½ ² Ⅳ",
    "   indented\t\ttext\r\n\r\nwith   runs of    spaces \n \n and trailing  ",
    "\u00a0 other\u3000spaces\u2028 and lines\u0085 ",
    '{"name": "read_file", "arguments": {"path": "/tmp/notes.txt", "lines": [1, 2, 3]}}',
]
TEXTS = [
    "", " ", "  ", "\n", "\r\n", "a", " a", "  a", "a  ", "a \n b", "\n\n  x", "\t\tx",
    " \r\n\r\n y",
    "Hello, world! It's 12345 o'clock.", "IT'S they'LL we'Ve 'tis 'S 'ſ x'ſy", "'", "''s", "a'b",
    "1", "12", "123", "1234", " 1234567", "x1y22z333", "3.14159", "٣٤५½²Ⅳ①", "a1٣b",
    "e\u0301 é a\u0308 \u0958 क्षि श्री \u0301", "नमस्ते", "你好世界，a b", "한국어", "مرحبا שלום",
    "👨‍👩‍👧‍👦👩🏽‍💻🇩🇪", "\u200d\ufe0f", "\u00a0x\u3000y\u2028z\x85\x1f", "ǅ ʰ ª ǅa Aa aA",
    "\ue000\ufffd\u0378\U000e0100\U00020000", "\u2581 \u2581\u2581x", "\x00\x01\x7f",
    "/* c */ x+=1; // done\n\n\n\tif(a!=b){}\r\n", "..../\n///\n\n", "<tool", "<|im_", "</s>",
    "<0x41>",
]  # fmt: skip
MARKUP_TEXTS = [
    "<|im_start|>user\nhi<|im_end|>\n", "a<|im_end|>b", "<|im_end|><|im_end|>",
    "<tool_call>x</tool_call>",
    "<tool><tool_call> <tool", "<|im_<|im_end|>", " <|im_end|> ", "\n<|endoftext|>\n",
]  # fmt: skip

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = {
    "llama-bpe": LLAMA3,
    "smaug-bpe": LLAMA3,
    "qwen2": LLAMA3.replace("{1,3}", ""),
    "tekken": TEKKEN,
}
BYTE_LEVEL = ["gpt-2", "smollm", *PATTERNS]


@dataclass
class Vocabulary:
    """One tokenizer as others make it, and as we read it from GGUF."""

    reference: Any  # transformers'
    ours: Tokenizer
    path: Path

    def expected(self, text: str) -> list[int]:
        return list(self.reference.encode(text, add_special_tokens=False))


def write_gguf(path: Path, tokens: list[str], types: list[int], **values: Any) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    for key, value in values.items():
        name = f"tokenizer.ggml.{key}"
        if isinstance(value, list):
            writer.add_array(name, value)
        elif isinstance(value, bool):
            writer.add_bool(name, value)
        elif isinstance(value, int):
            writer.add_uint32(name, value)
        else:
            writer.add_string(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def byte_level(folder: Path, pre: str) -> Vocabulary:
    from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
    from tokenizers import Tokenizer as Library
    from transformers import GPT2TokenizerFast, PreTrainedTokenizerFast, Qwen2TokenizerFast

    library = Library(models.BPE(ignore_merges=pre in ("llama-bpe", "tekken")))
    builtin = pre not in PATTERNS
    stages: list[Any] = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=builtin)]
    if not builtin:
        stages.insert(0, pre_tokenizers.Split(Regex(PATTERNS[pre]), "isolated"))
    if pre == "smollm":
        stages.insert(0, pre_tokenizers.Digits(individual_digits=True))
    library.pre_tokenizer = pre_tokenizers.Sequence(stages)
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=CONTROL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library.train_from_iterator(CORPUS * 3, trainer)
    model = json.loads(library.to_str())["model"]
    merges = [" ".join(merge) for merge in model["merges"]]
    made: Any
    if pre == "gpt-2":
        made = GPT2TokenizerFast(vocab=model["vocab"], merges=[tuple(m.split()) for m in merges])
        made.add_tokens([AddedToken(t, special=True, normalized=False) for t in CONTROL])
    elif pre == "qwen2":
        made = Qwen2TokenizerFast(vocab=model["vocab"], merges=[tuple(m.split()) for m in merges])
        made.add_tokens([AddedToken(t, special=True, normalized=False) for t in CONTROL])
    else:
        made = PreTrainedTokenizerFast(tokenizer_object=library, eos_token="<|im_end|>")
    made.add_tokens([AddedToken(t, special=False, normalized=False) for t in USER_DEFINED])
    tokens = made.convert_ids_to_tokens(list(range(len(made))))
    types = [3 if t in CONTROL else 4 if t in USER_DEFINED else 1 for t in tokens]
    path = write_gguf(
        folder / f"{pre}.gguf",
        tokens,
        types,
        model="gpt2",
        pre=pre,
        merges=merges,
        bos_token_id=tokens.index("<|endoftext|>"),
        eos_token_id=tokens.index("<|im_end|>"),
        add_bos_token=False,
    )
    return Vocabulary(made, Tokenizer.from_gguf(path), path)


def sentencepiece_model() -> Any:
    import sentencepiece

    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for text in CORPUS * 5 for line in text.split("\n")),
        model_writer=buffer,
        vocab_size=700,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        split_digits=True,
        character_coverage=0.98,
        user_defined_symbols=USER_DEFINED,
        control_symbols=["<|im_end|>"],
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=buffer.getvalue())


def spm(folder: Path, model: Any, **values: Any) -> Vocabulary:
    from transformers import LlamaTokenizerFast

    ids = range(model.get_piece_size())
    tokens = [model.id_to_piece(i) for i in ids]
    scores = [model.get_score(i) for i in ids]
    kinds = [(model.is_unknown, 2), (model.is_control, 3), (model.is_byte, 6)]
    types = [
        4 if tokens[i] in USER_DEFINED else next((k for test, k in kinds if test(i)), 1)
        for i in ids
    ]
    values = {"bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0, **values}
    path = write_gguf(folder / "spm.gguf", tokens, types, model="llama", scores=scores, **values)
    ours = Tokenizer.from_gguf(path)
    merges = json.loads(ours._model.to_str())["model"]["merges"]
    made = LlamaTokenizerFast(
        vocab={t: i for i, t in enumerate(tokens)}, merges=[tuple(m) for m in merges], legacy=True
    )
    return Vocabulary(made, ours, path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vocabularies")


@pytest.fixture(scope="module", params=BYTE_LEVEL)
def vocabulary(request: pytest.FixtureRequest, folder: Path) -> Vocabulary:
    return byte_level(folder, request.param)


@pytest.fixture(scope="module")
def sentencepiece(folder: Path) -> tuple[Any, Vocabulary]:
    model = sentencepiece_model()
    return model, spm(folder, model)


anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
likely = st.lists(
    st.sampled_from(
        [*"aAbzZ 01.'sStT\n\r\t<|>_/", "  ", "é", "e\u0301", "你", "क्", "ि", "😀", "\u200d"]
    ),
    max_size=40,
).map("".join)
words = st.lists(st.sampled_from(" ".join(CORPUS).split(" ")), max_size=12).map(" ".join)
texts = st.one_of(anything, likely, words)
fragments = [*CONTROL, *USER_DEFINED, "<|", "im_end|>", "<s>", "</s>", "<unk>", " ", "a", "\n"]
forgeries = st.lists(st.sampled_from(fragments), max_size=12).map("".join)


@pytest.mark.parametrize("text", TEXTS + MARKUP_TEXTS)
def test_byte_level_equals_transformers(vocabulary: Vocabulary, text: str) -> None:
    ids = vocabulary.ours.encode(text, add_special=False, parse_special=True)
    assert ids == vocabulary.expected(text)
    decode, options = vocabulary.reference.decode, {"clean_up_tokenization_spaces": False}
    assert vocabulary.ours.decode(ids) == decode(ids, skip_special_tokens=True, **options)
    assert vocabulary.ours.decode(ids, special=True) == decode(ids, **options)


@settings(max_examples=150, deadline=None)
@given(text=st.one_of(texts, forgeries))
def test_byte_level_equals_transformers_on_any_text(vocabulary: Vocabulary, text: str) -> None:
    ids = vocabulary.ours.encode(text, add_special=False, parse_special=True)
    assert ids == vocabulary.expected(text)
    spelled = b"".join(map(vocabulary.ours.token_bytes, ids)).decode()
    if vocabulary.path.stem == "qwen2":  # which brings text into form C
        text, spelled = (unicodedata.normalize("NFD", t) for t in (text, spelled))
    assert spelled == text


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_ids_decode_as_in_transformers(vocabulary: Vocabulary, data: st.DataObject) -> None:
    some = st.integers(0, vocabulary.ours.vocab_size - 1)
    ids = data.draw(st.lists(some, max_size=20))
    assert vocabulary.ours.decode(ids, special=True) == vocabulary.reference.decode(
        ids, clean_up_tokenization_spaces=False
    )


@pytest.mark.parametrize("text", TEXTS)
def test_sentencepiece_equals_the_original(
    sentencepiece: tuple[Any, Vocabulary], text: str
) -> None:
    model, vocabulary = sentencepiece
    ids = vocabulary.ours.encode(text, add_special=False)
    if "\0" not in text and not any(t in text for t in USER_DEFINED):  # it stops at a zero
        assert ids == model.encode(text)
    assert vocabulary.ours.decode(ids) == text.replace("\u2581", " ")


@settings(max_examples=200, deadline=None)
@given(text=texts.map(lambda text: text.replace("\0", "")))
def test_sentencepiece_equals_the_original_on_any_text(
    sentencepiece: tuple[Any, Vocabulary], text: str
) -> None:
    model, vocabulary = sentencepiece
    assert vocabulary.ours.encode(text, add_special=False) == model.encode(text)


@settings(max_examples=100, deadline=None)
@given(text=texts.map(lambda text: text.lstrip(" \u2581")))
def test_sentencepiece_equals_transformers(
    sentencepiece: tuple[Any, Vocabulary], text: str
) -> None:
    """But for a text with a leading space, which transformers gives no second one."""
    _, vocabulary = sentencepiece
    assert vocabulary.ours.encode(text, add_special=False) == vocabulary.expected(text)


@settings(max_examples=60, deadline=None)
@given(text=forgeries)
def test_text_cannot_name_special_tokens(
    vocabulary: Vocabulary, sentencepiece: tuple[Any, Vocabulary], text: str
) -> None:
    for ours in (vocabulary.ours, sentencepiece[1].ours):
        ids = ours.encode(text, add_special=False)
        assert not {*ids} & {*ours.special_tokens.values()}
        assert ours.decode(ids) == text


def test_special_tokens_are_found_longest_first(vocabulary: Vocabulary) -> None:
    ours = vocabulary.ours
    ids = ours.special_tokens
    assert ours.split_special("a<tool_call><tool>b<tool_") == [
        "a", ids["<tool_call>"], ids["<tool>"], "b", ids["<tool"], "_",
    ]  # fmt: skip
    assert {*ids} == {*CONTROL, *USER_DEFINED}
    assert ours.special_ids == {ids[t] for t in CONTROL}


def test_sentencepiece_prefixes_each_stretch_of_text(
    sentencepiece: tuple[Any, Vocabulary],
) -> None:
    ours = sentencepiece[1].ours
    end = ours.special_tokens["<|im_end|>"]
    alone = ours.encode("the fox", add_special=False)
    assert ours.token_bytes(alone[0]).startswith(b" ")
    both = ours.encode("the fox<|im_end|>the fox", add_special=False, parse_special=True)
    assert both == [*alone, end, *alone]


def test_sentencepiece_without_prefix(folder: Path, sentencepiece: tuple[Any, Vocabulary]) -> None:
    (folder / "bare").mkdir()
    ours = spm(folder / "bare", sentencepiece[0], add_space_prefix=False).ours
    ids = ours.encode("the fox", add_special=False)
    assert ours.token_bytes(ids[0]).startswith(b"t")
    assert ours.decode(ours.encode(" the fox", add_special=False)) == " the fox"


def test_bytes_of_tokens(sentencepiece: tuple[Any, Vocabulary], vocabulary: Vocabulary) -> None:
    spm_tokenizer = sentencepiece[1].ours
    text = "naïve 👩‍💻 x\n"
    for ours, expected in ((vocabulary.ours, text), (spm_tokenizer, " " + text)):
        ids = ours.encode(text, add_special=False)
        assert b"".join(map(ours.token_bytes, ids)) == expected.encode()
    assert vocabulary.ours.token_bytes(vocabulary.ours.special_tokens["<tool>"]) == b"<tool>"
    for wrong in (-1, vocabulary.ours.vocab_size):
        with pytest.raises(InvalidRequest, match=f"token {wrong} is not in the vocabulary"):
            vocabulary.ours.token_bytes(wrong)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), start=st.booleans())
def test_streaming_equals_decoding(
    vocabulary: Vocabulary,
    sentencepiece: tuple[Any, Vocabulary],
    data: st.DataObject,
    start: bool,
) -> None:
    for ours in (vocabulary.ours, sentencepiece[1].ours):
        some = st.integers(0, ours.vocab_size - 1)
        ids = data.draw(st.one_of(st.lists(some, max_size=20), texts.map(ours.encode)))
        stream = ours.detokenizer(start=start)
        pieces = [stream.push(i) for i in ids]
        assert "".join(pieces) + stream.flush() == ours.decode(ids, start=start)


def test_streaming_holds_back_part_of_a_character(vocabulary: Vocabulary) -> None:
    ours = vocabulary.ours
    ids = ours.encode("a𝔘", add_special=False)  # not in the corpus: bytes
    stream = ours.detokenizer()
    assert [stream.push(i) for i in ids] == ["a", "", "", "", "𝔘"]
    assert stream.push(ids[1]) == ""
    assert stream.flush() == "\ufffd"
    assert stream.push(ours.special_tokens["<|im_end|>"]) == ""


def test_streaming_shows_the_special_tokens_asked_for(vocabulary: Vocabulary) -> None:
    shown, hidden = (vocabulary.ours.special_tokens[text] for text in CONTROL[:2])
    detokenizer = vocabulary.ours.detokenizer(show=(shown,))
    assert detokenizer.push(shown) == CONTROL[0]
    assert detokenizer.push(hidden) == ""
    assert vocabulary.ours.detokenizer().push(shown) == ""


def test_bos_eos_and_the_tokens_that_end(folder: Path, vocabulary: Vocabulary) -> None:
    ours = vocabulary.ours
    ids = ours.special_tokens
    assert (ours.bos_id, ours.eos_id) == (ids["<|endoftext|>"], ids["<|im_end|>"])
    assert ours.eot_id == ids["<|im_end|>"]
    assert ours.end_ids == {ids["<|im_end|>"], ids["<|endoftext|>"]}
    assert ours.encode("a") == ours.encode("a", add_special=False)
    path = write_gguf(
        folder / "ends.gguf",
        ["a", "<s>", "</s>", "<|im_end|>", "<|end|>"],
        [1, 3, 3, 4, 3],
        model="llama",
        scores=[0.0] * 5,
        bos_token_id=1,
        eos_token_id=2,
        eot_token_id=4,
        add_eos_token=True,
        add_space_prefix=False,
    )
    other = Tokenizer.from_gguf(path)
    assert other.encode("a") == [1, 0, 2]
    assert other.encode("a", add_special=False) == [0]
    assert other.eot_id == 4
    assert other.end_ids == {2, 4}  # <|im_end|> is but a user-defined token here


@pytest.mark.parametrize("kind", [2, 3, 4, 5])
def test_pieces_do_not_merge_into_special_tokens(folder: Path, kind: int) -> None:
    tokens, types = ["<", "s", ">", "<s", "<s>"], [1, 1, 1, 1, kind]
    values = {"model": "llama", "scores": [0.0] * 5, "add_space_prefix": False}
    ours = Tokenizer.from_gguf(write_gguf(folder / f"{kind}.gguf", tokens, types, **values))
    assert ours.encode("<s>") == [3, 2]
    assert ours.encode("<s>", parse_special=True) == ([3, 2] if kind == 5 else [4])


@pytest.mark.parametrize("pre", SPLITTERS)
def test_a_whole_word_may_be_a_token(folder: Path, pre: str) -> None:
    tokens, values = ["a", "b", "c", "ab", "abc"], {"model": "gpt2", "merges": ["a b"]}
    path = write_gguf(folder / f"word-{pre}.gguf", tokens, [1] * 5, pre=pre, **values)
    whole = pre in ("llama-bpe", "llama3", "llama-v3", "tekken")
    assert Tokenizer.from_gguf(path).encode("abc") == ([4] if whole else [3, 2])


def test_unknown_characters(folder: Path) -> None:
    values = {"model": "llama", "scores": [0.0, -1.0], "add_space_prefix": False}
    bare = write_gguf(folder / "bare.gguf", ["?", "a"], [2, 1], **values)
    assert Tokenizer.from_gguf(bare).encode("aéé你a") == [1, 1]
    known = write_gguf(folder / "known.gguf", ["?", "a"], [2, 1], unknown_token_id=0, **values)
    assert Tokenizer.from_gguf(known).encode("aéé你a") == [1, 0, 1]


def test_lone_surrogates_are_replaced(vocabulary: Vocabulary) -> None:
    expected = vocabulary.ours.encode("a\ufffdb😀")
    assert vocabulary.ours.encode("a\ud800b\ud83d\ude00") == expected


def test_unused_tokens_have_no_text(folder: Path) -> None:
    tokens = ["a", "[PAD1]", "aa"]
    path = write_gguf(folder / "pad.gguf", tokens, [1, 5, 1], model="gpt2", merges=["a a"])
    ours = Tokenizer.from_gguf(path)
    assert (ours.token_bytes(1), ours.decode([0, 1, 2])) == (b"", "aaa")


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"model": "gpt2", "merges": ["ab"]}, r"merges has no pair at element 0: 'ab'"),
    ({"model": "gpt2"}, "merges is missing"),
    ({"model": "gpt2", "merges": ["a z"]}, "makes no tokenizer"),
    ({"model": "gpt2", "merges": [1, 2]}, "merges is not a list as it should"),
    ({"model": "llama"}, "scores is missing"),
    ({"model": "llama", "scores": [0.0]}, "scores has 1 elements for 3 tokens"),
    ({"model": "llama", "scores": [0.0] * 3, "bos_token_id": 3}, "bos_token_id is 3, not one of 3"),
    ({"model": 5}, "model is not a string"),
    ({}, "model is missing"),
]


@pytest.mark.parametrize(("values", "message"), BROKEN)
def test_damaged_metadata(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    path = write_gguf(tmp_path / "broken.gguf", ["a", "b", "ab"], [1, 1, 1], **values)
    with pytest.raises(ModelFileError, match=message) as caught:
        Tokenizer.from_gguf(path)
    assert str(path) in str(caught.value)


def test_unsupported_kinds_are_named(tmp_path: Path) -> None:
    tokens, types = ["a", "b", "ab"], [1, 1, 1]
    path = write_gguf(tmp_path / "t5.gguf", tokens, types, model="t5")
    with pytest.raises(UnsupportedModel, match="of kind 't5'"):
        Tokenizer.from_gguf(path)
    path = write_gguf(
        tmp_path / "p.gguf", tokens, types, model="gpt2", pre="viking", merges=["a b"]
    )
    with pytest.raises(UnsupportedModel, match=r"pre is 'viking'.*supported are default, gpt-2"):
        Tokenizer.from_gguf(path)


def test_a_file_need_not_name_the_splitter(tmp_path: Path) -> None:
    tokens, types = ["a", "b", "ab"], [1, 1, 1]
    path = write_gguf(tmp_path / "old.gguf", tokens, types, model="gpt2", merges=["a b"])
    assert Tokenizer.from_gguf(path).encode("ab") == [2]


def test_a_large_vocabulary_loads_fast(tmp_path: Path) -> None:
    letters = [chr(97 + i) for i in range(26)]
    pairs = [(a, b) for a in letters for b in letters]
    twos = [a + b for a, b in pairs]
    threes = [(t, c) for t in twos for c in letters]
    fours = [(a, b) for a in twos for b in twos][:132_000]
    merges = [f"{a} {b}" for a, b in pairs + threes + fours]
    tokens = letters + twos + ["".join(p) for p in threes + fours]
    path = write_gguf(
        tmp_path / "large.gguf", tokens, [1] * len(tokens), model="gpt2", pre="qwen2", merges=merges
    )
    assert len(tokens) > 150_000
    began = time.process_time()
    assert Tokenizer.from_gguf(path).encode("abc") == [tokens.index("abc")]
    assert time.process_time() - began < 2  # 0.5 s on a quiet machine
