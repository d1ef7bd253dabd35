"""Speculation on real models: guesses good and bad, and never another token than without."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cabinos.engine.constraints import Constraint
from cabinos.engine.errors import InvalidRequest
from cabinos.engine.generate import generate
from cabinos.engine.model import Model
from cabinos.engine.request import Completion
from cabinos.engine.sampling import Sampler, SamplingParams
from cabinos.engine.scheduler import Scheduler
from cabinos.engine.speculation import DraftModel, PromptLookup, Speculation
from cabinos.engine.tokenizer import Tokenizer
from tests.engine.fixtures import tiny_gguf
from tests.engine.help import alone, words


@pytest.fixture(scope="module")
def twin(path: Path) -> Iterator[Model]:
    """A draft model that is always right."""
    with Model(path, kv_tokens=4096, threads=1) as model:
        yield model


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """A draft model that is right by chance only."""
    path = tiny_gguf(tmp_path_factory.mktemp("tiny") / "stranger.gguf", seed=1, layers=1)
    with Model(path, threads=1) as model:
        yield model


@pytest.fixture(autouse=True)
def no_page_is_lost(model: Model, twin: Model, stranger: Model) -> Iterator[None]:
    yield
    for each in (model, twin, stranger):
        assert each.pages_free == each.pages_total


PARAMS: list[dict[str, Any]] = [
    {"temperature": 0.0},
    {"temperature": 0.0, "frequency_penalty": 0.7, "repetition_penalty": 1.1},
    {"temperature": 0.3, "top_k": 3},
    {"temperature": 1.0},
    {"temperature": 0.2, "presence_penalty": -2.0, "penalty_window": 20},  # repeats itself
    {"temperature": 0.8, "constraint": Constraint.regex("([0-9]{1,2}, )*[0-9]")},
    {"temperature": 0.5, "constraint": Constraint.json_schema({"type": "object"})},
]


@pytest.mark.parametrize("options", PARAMS, ids=str)
@pytest.mark.parametrize("kind", ["lookup", "twin", "stranger"])
def test_the_tokens_are_those_of_plain_decoding(
    model: Model,
    twin: Model,
    stranger: Model,
    tokenizer: Tokenizer,
    options: dict[str, Any],
    kind: str,
) -> None:
    kinds: dict[str, Speculation] = {
        "lookup": PromptLookup(shortest=1),
        "twin": DraftModel(twin),
        "stranger": DraftModel(stranger),
    }
    speculation = kinds[kind]
    requests = [
        (words(seed, 30), SamplingParams(max_tokens=45, seed=seed, **options)) for seed in range(4)
    ]
    expected = [alone(model, tokenizer, prompt, params) for prompt, params in requests]
    direct = [
        tuple(
            t for d in generate(model, tokenizer, p, s, speculation=speculation) for t in d.tokens
        )
        for p, s in requests
    ]
    assert direct == expected
    with Scheduler(model, tokenizer) as scheduler:
        handles = [scheduler.submit(p, s, speculation=speculation) for p, s in requests]
        assert [handle.result(60).choices[0].tokens for handle in handles] == expected


def run(
    model: Model,
    tokenizer: Tokenizer,
    prompt: list[int],
    params: SamplingParams,
    speculation: Speculation | None,
) -> tuple[Completion, Any]:
    with Scheduler(model, tokenizer) as scheduler:
        completion = scheduler.submit(prompt, params, speculation=speculation).result(60)
        return completion, scheduler.stats()


def test_a_perfect_draft_saves_most_steps(model: Model, twin: Model, tokenizer: Tokenizer) -> None:
    for temperature in (0.0, 1.0):
        params = SamplingParams(max_tokens=120, seed=1, temperature=temperature, ignore_eos=True)
        completion, stats = run(model, tokenizer, words(0, 20), params, DraftModel(twin))
        assert stats.accepted_tokens == stats.proposed_tokens > 100
        assert stats.steps < 20
        assert len(completion.choices[0].tokens) == 120


def test_a_poor_draft_is_asked_for_less_and_less(
    model: Model, stranger: Model, tokenizer: Tokenizer
) -> None:
    params = SamplingParams(max_tokens=100, seed=1, ignore_eos=True)
    _, stats = run(model, tokenizer, words(0, 20), params, DraftModel(stranger))
    assert stats.accepted_tokens < stats.proposed_tokens
    assert stats.proposed_tokens < 130  # 4, 3, 2, then one a step


def test_repetition_is_looked_up(model: Model, tokenizer: Tokenizer) -> None:
    # Made to repeat: only four tokens are possible, and the model is greedy.
    four = dict.fromkeys(range(4, 8), 100)
    params = SamplingParams(max_tokens=200, temperature=0, logit_bias=four)
    completion, stats = run(model, tokenizer, words(0, 20), params, PromptLookup())
    assert completion.choices[0].tokens == alone(model, tokenizer, words(0, 20), params)
    assert stats.accepted_tokens > 50
    assert stats.steps + stats.accepted_tokens == 200


def propose(prompt: list[int], count: int = 4, **options: int) -> list[int]:
    sampler = Sampler(SamplingParams(seed=0))
    return PromptLookup(**options).proposer().propose(prompt, sampler, None, count)


def test_lookup_copies_what_followed_the_longest_last_match() -> None:
    assert propose([1, 2, 3, 4, 5, 6, 7, 1, 2]) == [3, 4, 5, 6]
    assert propose([1, 2, 8, 1, 2, 9, 5, 5, 1, 2]) == [9, 5, 5, 1]  # the last occurrence
    assert propose([7, 1, 2, 8, 9, 1, 2, 6, 7, 1, 2]) == [8, 9, 1, 2]  # the longer one
    assert propose([1, 2, 1, 2, 1, 2]) == [1, 2, 1, 2]  # goes on periodically
    assert propose([4, 4, 4]) == [4, 4, 4, 4]
    assert propose([1, 2, 3, 4]) == []
    assert propose([1, 2, 3, 2]) == []
    assert propose([1, 2, 3, 2], shortest=1) == [3, 2, 3, 2]
    assert propose([1]) == []


def test_lookup_indexes_as_the_text_grows() -> None:
    rng = random.Random(0)
    tokens = [rng.randrange(4) for _ in range(200)]
    sampler = Sampler(SamplingParams(seed=0))
    growing = PromptLookup().proposer()
    for end in range(1, 200):
        if rng.random() < 0.5:
            at_once = propose(tokens[:end], count=6)
            assert growing.propose(tokens[:end], sampler, None, 6) == at_once


def test_what_cannot_work_is_refused(model: Model, tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="PromptLookup needs"):
        PromptLookup(longest=1, shortest=2)
    other = tiny_gguf(tmp_path / "other.gguf", vocab=400)
    expected = pytest.raises(InvalidRequest, match="vocabulary has 400 tokens, the model's 512")
    with Model(other) as draft, Scheduler(model, tokenizer) as scheduler, expected:
        scheduler.submit([1], speculation=DraftModel(draft))


def test_a_draft_without_room_is_done_without(
    model: Model, path: Path, tokenizer: Tokenizer
) -> None:
    params = SamplingParams(max_tokens=60, seed=3, ignore_eos=True)
    prompts = [words(seed, 60) for seed in range(3)]
    expected = [alone(model, tokenizer, prompt, params) for prompt in prompts]
    with Model(path, kv_tokens=96, threads=1) as cramped:
        with Scheduler(model, tokenizer) as scheduler:
            draft = DraftModel(cramped)
            handles = [scheduler.submit(prompt, params, speculation=draft) for prompt in prompts]
            assert [handle.result(60).choices[0].tokens for handle in handles] == expected
            assert scheduler.stats().accepted_tokens > 0
        assert cramped.pages_free == cramped.pages_total


def test_speculation_stops_at_the_limits(model: Model, twin: Model, tokenizer: Tokenizer) -> None:
    for limit in range(1, 9):
        params = SamplingParams(max_tokens=limit, seed=1, ignore_eos=True)
        completion, stats = run(model, tokenizer, words(0, 20), params, DraftModel(twin))
        assert len(completion.choices[0].tokens) == limit
        assert stats.computed_tokens <= 20 + limit - 1
    params = SamplingParams(seed=1, ignore_eos=True)
    prompt = words(1, model.context_length - 7)
    completion, _ = run(model, tokenizer, prompt, params, DraftModel(twin))
    assert completion.choices[0].finish_reason == "length"
    assert completion.choices[0].tokens == alone(model, tokenizer, prompt, params)
    # Looked up, guesses do not know where the context ends.
    params = SamplingParams(temperature=0, ignore_eos=True, logit_bias={7: 100})
    prompt = [7] * (model.context_length - 7)
    completion, stats = run(model, tokenizer, prompt, params, PromptLookup())
    assert completion.choices[0].tokens == (7,) * 8
    assert stats.accepted_tokens > 4


def test_each_continuation_has_its_own_guesses(
    model: Model, twin: Model, tokenizer: Tokenizer
) -> None:
    params = SamplingParams(max_tokens=30, seed=1, n=4, ignore_eos=True)
    expected, _ = run(model, tokenizer, words(0, 20), params, None)
    completion, stats = run(model, tokenizer, words(0, 20), params, DraftModel(twin))
    assert completion.choices == expected.choices
    assert stats.accepted_tokens > 60


def test_a_one_token_prompt_may_be_guessed_from_at_once(
    model: Model, twin: Model, tokenizer: Tokenizer
) -> None:
    params = SamplingParams(max_tokens=20, seed=1, n=3, ignore_eos=True)
    expected, _ = run(model, tokenizer, [7], params, None)
    completion, _ = run(model, tokenizer, [7], params, DraftModel(twin))
    assert completion.choices == expected.choices
