"""Constrained decoding on real vocabularies: what is allowed is right, what is right is allowed."""

import json
import math
import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cabinos.engine import constraints
from cabinos.engine.constraints import Constraint, ConstraintState
from cabinos.engine.errors import EngineError, InvalidRequest
from cabinos.engine.generate import generate
from cabinos.engine.model import Model
from cabinos.engine.sampling import SamplingParams
from cabinos.engine.scheduler import Scheduler
from cabinos.engine.tokenizer import Tokenizer
from tests.engine.fixtures import CORPUS, tiny_gguf

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["red", "green"]}, "maxItems": 3},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
GRAMMAR = """
start: sum
sum: term ("+" term)*
term: NUMBER | "(" sum ")"
NUMBER: /[0-9]{1,3}/
"""


@pytest.fixture(scope="module", params=["llama3", "spm"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    return tiny_gguf(folder / "tiny.gguf", tokenizer=request.param, vocab=400)


@pytest.fixture(scope="module")
def tokenizer(path: Path) -> Tokenizer:
    return Tokenizer.from_gguf(path)


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[Model]:
    with Model(path, kv_tokens=2048, threads=1) as model:
        yield model
        assert model.pages_free == model.pages_total


def compiled(constraint: Constraint, tokenizer: Tokenizer) -> ConstraintState:
    return constraint.compile(tokenizer, tokenizer.vocab_size)


def consume(state: ConstraintState, tokenizer: Tokenizer, text: str) -> list[int]:
    """Feeds `text` byte by byte; returns the tokens."""
    single = {tokenizer.token_bytes(i): i for i in range(tokenizer.vocab_size)}
    tokens = [single[bytes([byte])] for byte in text.encode()]
    for token in tokens:
        state.consume(token)
    return tokens


def allowed_texts(state: ConstraintState, tokenizer: Tokenizer) -> set[bytes]:
    ids = np.flatnonzero(state.mask())
    return {tokenizer.token_bytes(int(i)) for i in ids if i not in tokenizer.special_ids}


# ---- masks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "a", "ab", "abab", "abb"])
def test_the_mask_is_what_can_go_on_to_match(tokenizer: Tokenizer, text: str) -> None:
    pattern, words = "(ab|b){2,3}", []
    for length in range(7):
        words += [f"{n:0{length}b}".translate({48: "a", 49: "b"}) for n in range(2**length)]
    words = [word for word in words if re.fullmatch(pattern, word)]
    state = compiled(Constraint.regex(pattern), tokenizer)
    consume(state, tokenizer, text)
    every = {tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)} - {b""}
    names = {tokenizer.token_bytes(i) for i in tokenizer.special_ids}
    expected = {
        t for t in every - names if any(w.encode().startswith(text.encode() + t) for w in words)
    }
    assert allowed_texts(state, tokenizer) == expected
    ends = set(np.flatnonzero(state.mask()).tolist()) & tokenizer.special_ids
    assert ends == (tokenizer.end_ids if text in words else set())


def test_the_text_is_finished_when_nothing_can_follow(tokenizer: Tokenizer) -> None:
    state = compiled(Constraint.regex("ab?"), tokenizer)
    assert not state.finished
    consume(state, tokenizer, "a")
    assert not state.finished
    consume(state, tokenizer, "b")
    assert state.finished


def test_rows_beyond_the_vocabulary_are_never_allowed(tokenizer: Tokenizer) -> None:
    mask = Constraint.regex("(?s:.*)").compile(tokenizer, tokenizer.vocab_size + 37).mask()
    assert mask.shape == (tokenizer.vocab_size + 37,)
    assert mask[: tokenizer.vocab_size].any()
    assert not mask[tokenizer.vocab_size :].any()


def test_a_mask_computed_in_the_background_is_the_same(tokenizer: Tokenizer) -> None:
    state = compiled(Constraint.json_schema(SCHEMA), tokenizer)
    plain = state.fork()
    with ThreadPoolExecutor(1) as executor:
        for byte in '{"name":':
            state.prepare(executor)
            state.prepare(executor)
            assert (state.mask() == plain.mask()).all()
            consume(state, tokenizer, byte)
            consume(plain, tokenizer, byte)


def test_rollback_and_fork(tokenizer: Tokenizer) -> None:
    state = compiled(Constraint.json_schema(SCHEMA), tokenizer)
    consume(state, tokenizer, '{"name":')
    before = state.mask()
    fork = state.fork()
    tokens = consume(state, tokenizer, '"x","age":')
    assert not (state.mask() == before).all()
    assert (fork.mask() == before).all()
    state.rollback(len(tokens))
    assert (state.mask() == before).all()
    consume(fork, tokenizer, '"y"')
    assert (state.mask() == before).all()
    with pytest.raises(EngineError):
        state.rollback(1000)


def test_valid_prefixes_are_measured_without_a_trace(tokenizer: Tokenizer) -> None:
    state = compiled(Constraint.regex("[0-9]{3}"), tokenizer)
    digit = tokenizer.encode("7", add_special=False)[-1]
    letter = tokenizer.encode("x", add_special=False)[-1]
    before = state.mask()
    assert state.longest_valid([digit, digit, letter, digit]) == 2
    assert state.longest_valid([letter]) == 0
    assert (state.mask() == before).all()
    with pytest.raises(EngineError, match="constraint"):
        state.consume(letter)


def test_forced_text_is_proposed(tokenizer: Tokenizer) -> None:
    state = compiled(Constraint.regex("once upon a time[!?]"), tokenizer)
    forced = state.forced()
    assert "once upon a time".startswith(tokenizer.decode(forced).strip())
    assert state.longest_valid(forced) == len(forced) > 0


def test_forced_text_is_split_as_in_the_middle_of_a_text(tokenizer: Tokenizer) -> None:
    split = constraints._Vocabulary(tokenizer)
    dot = len(tokenizer.encode(".", add_special=False))
    for line in CORPUS:
        text = " " + line.strip()
        assert split(text.encode()) == tokenizer.encode("." + text, add_special=False)[dot:]
        assert b"".join(map(tokenizer.token_bytes, split(text[3:].encode()))) == text[3:].encode()


def test_forced_text_that_the_tokenizer_would_change_is_split_greedily(tmp_path: Path) -> None:
    normalising = Tokenizer.from_gguf(tiny_gguf(tmp_path / "qwen.gguf", tokenizer="qwen2"))
    text = "the e\u0301cole".encode()  # would be composed into one character
    ids = constraints._Vocabulary(normalising)(text)
    assert b"".join(map(normalising.token_bytes, ids)) == text
    assert len(ids) < len(text)


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        (Constraint.json_schema({"type": "objekt"}), "Invalid type: objekt"),
        (Constraint.json_schema('{"type":'), "invalid json_schema constraint"),
        (Constraint.regex("a(b"), "unclosed group"),
        (Constraint.lark("start: nowhere"), 'unknown name: "nowhere"'),
        (Constraint.lark("begin: /a/"), "invalid lark constraint"),
    ],
)
def test_an_invalid_constraint_is_refused_with_the_reason(
    tokenizer: Tokenizer, constraint: Constraint, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(message)) as error:
        compiled(constraint, tokenizer)
    assert "<state>" not in str(error.value)


# ---- generation ----------------------------------------------------------------------------------


def is_valid(constraint: Constraint, text: str) -> bool:
    match constraint.kind:
        case "json_schema":
            value = json.loads(text)
            return (
                set(value) <= set(SCHEMA["properties"])
                and isinstance(value["name"], str)
                and len(value["name"]) <= 8
                and 0 <= value["age"] <= 150
                and set(value.get("tags", [])) <= {"red", "green"}
            )
        case "regex":
            return re.fullmatch(constraint.source, text) is not None
        case "lark":
            return set(text) <= set("0123456789+()") and eval(text.replace("0", "1")) > 0


CONSTRAINTS = [
    Constraint.json_schema(SCHEMA),
    Constraint.regex("(yes|no), [A-Z][a-z]{2,5}(ö|🙂)!"),
    Constraint.lark(GRAMMAR),
]


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=lambda c: c.kind)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_generated_is_valid(
    model: Model, tokenizer: Tokenizer, constraint: Constraint, temperature: float
) -> None:
    finished = 0
    with Scheduler(model, tokenizer) as scheduler:
        handles = []
        for seed in range(8):
            params = SamplingParams(
                max_tokens=250, seed=seed, temperature=temperature, constraint=constraint, n=2
            )
            handles.append(scheduler.submit(random.Random(seed).choices(range(300), k=9), params))
        for handle in handles:
            for choice in handle.result(60).choices:
                if choice.finish_reason == "stop":
                    finished += 1
                    assert is_valid(constraint, choice.text), choice.text
    assert finished >= (6 if temperature else 1)


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=lambda c: c.kind)
def test_forced_proposals_do_not_change_the_tokens(
    model: Model, tokenizer: Tokenizer, constraint: Constraint, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [random.Random(seed).choices(range(300), k=9) for seed in range(6)]

    def everything() -> list[list[int]]:
        results = []
        for seed, prompt in enumerate(prompts):
            params = SamplingParams(max_tokens=60, seed=seed, constraint=constraint)
            deltas = generate(model, tokenizer, prompt, params)
            results.append([t for delta in deltas for t in delta.tokens])
        return results

    with_proposals = everything()
    monkeypatch.setattr(ConstraintState, "forced", lambda _: [])
    assert everything() == with_proposals


def test_a_parser_limit_fails_the_request_alone(
    model: Model, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constraints, "MAX_ROW_ITEMS", 100)
    ambiguous = Constraint.lark('start: s\ns: s s | s s s | "a"')
    with Scheduler(model, tokenizer) as scheduler:
        no_end = dict.fromkeys(tokenizer.end_ids, -math.inf)
        params = SamplingParams(max_tokens=400, seed=1, constraint=ambiguous, logit_bias=no_end)
        bad = scheduler.submit([5], params)
        good = scheduler.submit([5], SamplingParams(max_tokens=20, seed=1))
        assert good.result(60)
        with pytest.raises(EngineError, match=r"constraint: .* max is 100"):
            bad.result(60)
