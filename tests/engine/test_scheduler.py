"""The scheduler on a real model: whatever it does about batches and pages, tokens are the same."""

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinos.engine import scheduler as scheduler_module
from cabinos.engine.branch import StopText
from cabinos.engine.constraints import Constraint
from cabinos.engine.errors import ContextOverflow, EngineError, InvalidRequest, OutOfPages
from cabinos.engine.generate import generate, score
from cabinos.engine.model import Model
from cabinos.engine.request import Completion, Delta
from cabinos.engine.sampling import SamplingParams, log_softmax
from cabinos.engine.scheduler import Scheduler
from cabinos.engine.speculation import DraftModel, PromptLookup
from cabinos.engine.tokenizer import Tokenizer
from tests.engine.help import PATIENCE, alone, tokens_of, words


@pytest.fixture(scope="module")
def small(path: Path) -> Iterator[Model]:
    """The same model with room for 192 positions."""
    with Model(path, kv_tokens=192, threads=1) as model:
        yield model


@pytest.fixture(autouse=True)
def no_page_is_lost(model: Model, small: Model) -> Iterator[None]:
    yield
    assert model.pages_free == model.pages_total
    assert small.pages_free == small.pages_total


@contextmanager
def held(scheduler: Scheduler) -> Iterator[None]:
    """Keeps the scheduler between two steps, so that what is submitted arrives together."""
    entered, leave = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        leave.wait(PATIENCE)

    thread = threading.Thread(target=scheduler.call, args=(wait,))
    thread.start()
    entered.wait(PATIENCE)
    try:
        yield
    finally:
        leave.set()
        thread.join()


def open_files() -> int:
    """How many files this process has open (Linux; 0 elsewhere)."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


# ---- one request ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(max_tokens=30, temperature=0),
        SamplingParams(max_tokens=30, seed=1),
        SamplingParams(max_tokens=30, seed=2, temperature=0.7, top_p=0.9, frequency_penalty=0.5),
        SamplingParams(max_tokens=30, seed=3, top_k=50, repetition_penalty=1.3, penalty_window=8),
    ],
)
def test_a_request_gives_what_the_plain_loop_gives(
    model: Model, tokenizer: Tokenizer, params: SamplingParams
) -> None:
    expected = alone(model, tokenizer, words(0, 50), params)
    with Scheduler(model, tokenizer) as scheduler:
        completion = scheduler.submit(words(0, 50), params).result(PATIENCE)
    assert tokens_of(completion) == expected
    assert completion.prompt_tokens == 50
    assert completion.choices[0].finish_reason == ("length" if len(expected) == 30 else "stop")


def test_deltas_add_up_to_the_completion(model: Model, tokenizer: Tokenizer) -> None:
    params = SamplingParams(max_tokens=40, seed=5, logprobs=2, ignore_eos=True)
    with Scheduler(model, tokenizer) as scheduler:
        handle = scheduler.submit(words(1, 10), params)
        deltas = list(handle)
        choice = handle.result(PATIENCE).choices[0]
        again = list(handle)
    assert "".join(delta.text for delta in deltas) == choice.text
    assert tuple(t for delta in deltas for t in delta.tokens) == choice.tokens
    assert [p for delta in deltas for p in delta.logprobs or ()] == list(choice.logprobs or ())
    assert [delta.finish_reason for delta in deltas] == [None] * 39 + ["length"]
    assert again == deltas
    assert choice.text == tokenizer.decode(choice.tokens)


def test_logprobs_agree_with_score(model: Model, tokenizer: Tokenizer) -> None:
    prompt, params = words(2, 20), SamplingParams(max_tokens=100, seed=6, logprobs=0)
    with Scheduler(model, tokenizer) as scheduler:
        choice = scheduler.submit(prompt, params).result(PATIENCE).choices[0]
        scores = scheduler.score([*prompt, *choice.tokens])
    assert choice.logprobs is not None
    assert [token.logprob for token in choice.logprobs] == scores[19:].tolist()
    assert [token.id for token in choice.logprobs] == list(choice.tokens)


def test_the_seed_is_reported_and_repeats(model: Model, tokenizer: Tokenizer) -> None:
    with Scheduler(model, tokenizer) as scheduler:
        first = scheduler.submit(words(3, 5), SamplingParams(max_tokens=20)).result(PATIENCE)
        params = SamplingParams(max_tokens=20, seed=first.seed)
        assert scheduler.submit(words(3, 5), params).result(PATIENCE).text == first.text


def test_asyncio_streams_and_awaits(model: Model, tokenizer: Tokenizer) -> None:
    params = SamplingParams(max_tokens=20, seed=7)

    async def stream(scheduler: Scheduler) -> tuple[list[Delta], Completion]:
        handle = scheduler.submit(words(4, 5), params)
        deltas = [delta async for delta in handle]
        return deltas, await handle

    async def everything(scheduler: Scheduler) -> list[tuple[list[Delta], Completion]]:
        return list(await asyncio.gather(*[stream(scheduler) for _ in range(5)]))

    expected = alone(model, tokenizer, words(4, 5), params)
    with Scheduler(model, tokenizer) as scheduler:
        for deltas, completion in asyncio.run(everything(scheduler)):
            assert tuple(t for delta in deltas for t in delta.tokens) == expected
            assert tokens_of(completion) == expected


def test_asyncio_readers_may_leave_early(model: Model, tokenizer: Tokenizer) -> None:
    async def first_delta(scheduler: Scheduler) -> Delta:
        stream = aiter(scheduler.submit(words(5, 5), SamplingParams(max_tokens=200)))
        delta = await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        return delta

    with Scheduler(model, tokenizer) as scheduler:
        assert asyncio.run(first_delta(scheduler)).tokens


# ---- ends ----------------------------------------------------------------------------------------


def test_an_end_token_ends_the_text(model: Model, tokenizer: Tokenizer) -> None:
    end = min(tokenizer.end_ids)
    force = {end: 1000.0}
    with Scheduler(model, tokenizer) as scheduler:
        params = SamplingParams(max_tokens=5, temperature=0, logit_bias=force)
        choice = scheduler.submit([5, 6], params).result(PATIENCE).choices[0]
        assert (choice.tokens, choice.text, choice.finish_reason) == ((end,), "", "stop")
        params = SamplingParams(max_tokens=5, temperature=0, logit_bias=force, ignore_eos=True)
        choice = scheduler.submit([5, 6], params).result(PATIENCE).choices[0]
        assert (choice.tokens, choice.finish_reason) == ((end,) * 5, "length")


def test_a_stop_token_ends_the_text(model: Model, tokenizer: Tokenizer) -> None:
    params = SamplingParams(max_tokens=30, seed=8, ignore_eos=True)
    whole = alone(model, tokenizer, words(6, 9), params)
    stop = whole[12]
    params = SamplingParams(max_tokens=30, seed=8, ignore_eos=True, stop_token_ids=(stop,))
    with Scheduler(model, tokenizer) as scheduler:
        choice = scheduler.submit(words(6, 9), params).result(PATIENCE).choices[0]
    end = whole.index(stop)
    assert choice.tokens == whole[: end + 1]
    assert choice.text == tokenizer.decode(whole[:end])
    assert choice.finish_reason == "stop"


@pytest.mark.parametrize("place", [3, 10, 25, 40])
def test_a_stop_string_across_token_borders(model: Model, tokenizer: Tokenizer, place: int) -> None:
    free = SamplingParams(max_tokens=60, seed=9, ignore_eos=True)
    with Scheduler(model, tokenizer) as scheduler:
        text = scheduler.submit(words(7, 9), free).result(PATIENCE).text
        stop = text[place : place + 5]
        params = SamplingParams(max_tokens=60, seed=9, ignore_eos=True, stop=("never", stop))
        handle = scheduler.submit(words(7, 9), params)
        streamed = [delta.text for delta in handle]
        choice = handle.result(PATIENCE).choices[0]
    assert choice.finish_reason == "stop"
    assert choice.text == text[: text.index(stop)]
    assert "".join(streamed) == choice.text


def test_text_held_back_is_released_at_the_end(model: Model, tokenizer: Tokenizer) -> None:
    free = SamplingParams(max_tokens=25, seed=9, ignore_eos=True)
    with Scheduler(model, tokenizer) as scheduler:
        whole = scheduler.submit(words(7, 9), free).result(PATIENCE).choices[0]
        for length in range(1, 26):  # some of these end within a character
            expected = tokenizer.decode(whole.tokens[:length])
            params = replace(free, max_tokens=length, stop=(expected[-3:] + "\0", "\0"))
            handle = scheduler.submit(words(7, 9), params)
            assert handle.result(PATIENCE).text == expected
            assert "".join(delta.text for delta in handle) == expected


@given(st.data())
def test_stop_text_cuts_alike_however_the_text_is_split(data: st.DataObject) -> None:
    alphabet = st.text("ab", min_size=1, max_size=4)
    stops = data.draw(st.lists(alphabet, max_size=3))
    text = data.draw(st.text("abc", max_size=30))
    ends = [(text.index(stop) + len(stop), text.index(stop)) for stop in stops if stop in text]
    expected = text[: min(ends)[1]] if ends else text
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    filter_, released, stopped = StopText(stops), "", False
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        piece, stopped = filter_.push(text[start:end])
        released += piece
        assert expected.startswith(released)
        if stopped:
            break
    assert stopped == bool(ends)
    assert released + filter_.flush() == expected


def test_a_full_context_ends_with_length(model: Model, tokenizer: Tokenizer) -> None:
    prompt = words(8, model.context_length - 5)
    with Scheduler(model, tokenizer) as scheduler:
        params = SamplingParams(seed=0, ignore_eos=True)
        choice = scheduler.submit(prompt, params).result(PATIENCE).choices[0]
        full = scheduler.submit(words(9, model.context_length), params).result(PATIENCE)
    assert choice.finish_reason == "length"
    assert len(choice.tokens) == 6  # the last one needs no place of its own
    assert len(tokens_of(full)) == 1


def test_a_full_pool_ends_with_length(small: Model, tokenizer: Tokenizer) -> None:
    with Scheduler(small, tokenizer) as scheduler:
        params = SamplingParams(seed=0, ignore_eos=True)
        choice = scheduler.submit(words(10, 150), params).result(PATIENCE).choices[0]
    assert choice.finish_reason == "length"
    assert len(choice.tokens) == 192 - 150 + 1


# ---- refusals and failures -----------------------------------------------------------------------


def test_what_can_never_be_served_is_refused_at_once(
    model: Model, small: Model, tokenizer: Tokenizer
) -> None:
    with Scheduler(model, tokenizer) as scheduler:
        with pytest.raises(
            ContextOverflow, match="has 513 tokens, but the model's context holds 512"
        ):
            scheduler.submit(words(0, 513))
        with pytest.raises(InvalidRequest, match="prompt is empty"):
            scheduler.submit([])
        with pytest.raises(InvalidRequest, match="token 512 is not in the vocabulary of 512"):
            scheduler.submit([1, 512])
        with pytest.raises(InvalidRequest, match="token -1"):
            scheduler.submit([-1])
        with pytest.raises(InvalidRequest, match="stop_token_ids"):
            scheduler.submit([1], SamplingParams(stop_token_ids=(512,)))
        with pytest.raises(InvalidRequest, match="invalid regex constraint"):
            scheduler.submit([1], SamplingParams(constraint=Constraint.regex("a(")))
        assert scheduler.stats().submitted == 0
    expected = pytest.raises(OutOfPages, match="has 193 tokens, but the KV pool holds 192")
    with Scheduler(small, tokenizer) as scheduler, expected:
        scheduler.submit(words(0, 193))
    with pytest.raises(InvalidRequest, match="max_batch"):
        Scheduler(model, tokenizer, max_batch=0)
    with pytest.raises(InvalidRequest, match="n and best_of need a Scheduler"):
        next(generate(model, tokenizer, [1], SamplingParams(n=2)))


class FailingSpeculation:
    """A speculation with a defect."""

    def proposer(self) -> "FailingSpeculation":
        return self

    def check(self, model: Model) -> None: ...

    def propose(self, *_: object) -> list[int]:
        raise RuntimeError("broken proposer")

    def close(self) -> None: ...


def test_a_failing_request_fails_alone(model: Model, tokenizer: Tokenizer) -> None:
    params = SamplingParams(max_tokens=20, seed=1)
    expected = alone(model, tokenizer, words(1, 30), params)
    with Scheduler(model, tokenizer) as scheduler:
        with held(scheduler):
            good = [scheduler.submit(words(1, 30), params) for _ in range(2)]
            bad = scheduler.submit(words(2, 30), params, speculation=FailingSpeculation())
        assert [tokens_of(handle.result(PATIENCE)) for handle in good] == [expected] * 2
        for use in (bad.result, lambda: list(bad), lambda: asyncio.run(bad._wait())):
            with pytest.raises(RuntimeError, match="broken proposer"):
                use()
        assert scheduler.stats().failed == 1


def test_a_failing_forward_is_traced_to_its_request(
    model: Model, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = model.forward

    def picky(batch: Any, **options: Any) -> Any:
        if any(299 in tokens for _, tokens in batch):
            raise EngineError("299 is beyond me")
        return forward(batch, **options)

    params = SamplingParams(max_tokens=10, seed=1, logit_bias={299: -1000})
    expected = alone(model, tokenizer, [1, 2, 3], params)
    monkeypatch.setattr(model, "forward", picky)
    with Scheduler(model, tokenizer) as scheduler:
        with held(scheduler):
            good = [scheduler.submit([1, 2, 3], params) for _ in range(2)]
            bad = scheduler.submit([1, 299, 3], params)
        assert [tokens_of(handle.result(PATIENCE)) for handle in good] == [expected] * 2
        with pytest.raises(EngineError, match="beyond me"):
            bad.result(PATIENCE)


def test_a_defect_of_the_scheduler_does_not_hang_its_callers(
    model: Model, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Scheduler(model, tokenizer) as scheduler:
        with monkeypatch.context() as patch:
            patch.setattr(scheduler, "_choose", lambda: 1 / 0)
            handle = scheduler.submit([1, 2], SamplingParams(max_tokens=3))
            with pytest.raises(ZeroDivisionError):
                handle.result(PATIENCE)
        assert scheduler.submit([1, 2], SamplingParams(max_tokens=3)).result(PATIENCE).choices


def test_pages_held_outside_the_scheduler_are_waited_for_and_then_reported(
    small: Model, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = SamplingParams(max_tokens=5, seed=0)
    with Scheduler(small, tokenizer) as scheduler:
        with small.sequence() as outside:
            outside.feed(words(0, 140))
            patient = scheduler.submit(words(1, 60), params)
            assert scheduler.submit(words(1, 10), params, priority=1).result(PATIENCE).choices
            with pytest.raises(TimeoutError):
                patient.result(0.1)
        assert patient.result(PATIENCE).choices
        monkeypatch.setattr(scheduler_module, "PATIENCE", 0.05)
        with small.sequence() as outside:
            scheduler.call(lambda: outside.feed(words(0, 180)))
            impatient = scheduler.submit(words(2, 60), params)
            with pytest.raises(OutOfPages, match="needs 4 KV pages, but 0 of 12 are free"):
                impatient.result(PATIENCE)


# ---- many requests -------------------------------------------------------------------------------


def mixed_requests(count: int, seed: int = 0) -> list[tuple[list[int], SamplingParams]]:
    rng = random.Random(seed)
    shared = words(1000, 40)
    requests = []
    for number in range(count):
        prompt = (shared if rng.random() < 0.5 else []) + words(number, rng.randint(1, 60))
        params = SamplingParams(
            max_tokens=rng.randint(1, 40),
            seed=number,
            temperature=rng.choice([0.0, 0.7, 1.2]),
            top_p=rng.choice([1.0, 0.9]),
            presence_penalty=rng.choice([0.0, 0.8]),
            stop=rng.choice([(), ("th",)]),
        )
        requests.append((prompt, params))
    return requests


@pytest.mark.parametrize(("max_batch", "prefill_chunk"), [(1, 512), (3, 7), (16, 64), (64, 512)])
@pytest.mark.parametrize("prefix_cache", [True, False])
def test_company_does_not_change_the_tokens(
    model: Model, tokenizer: Tokenizer, max_batch: int, prefill_chunk: int, prefix_cache: bool
) -> None:
    requests = mixed_requests(24)
    expected = [alone(model, tokenizer, prompt, params) for prompt, params in requests]
    options = {"max_batch": max_batch, "prefill_chunk": prefill_chunk, "prefix_cache": prefix_cache}
    with Scheduler(model, tokenizer, **options) as scheduler:  # type: ignore[arg-type]
        with held(scheduler):
            handles = [scheduler.submit(prompt, params) for prompt, params in requests]
        assert [tokens_of(handle.result(PATIENCE)) for handle in handles] == expected
        stats = scheduler.stats()
    assert (stats.submitted, stats.finished, stats.running, stats.waiting) == (24, 24, 0, 0)
    assert stats.generated_tokens == sum(len(tokens) for tokens in expected)
    cached = sum(handle.result().cached_tokens for handle in handles)
    computed = sum(len(prompt) for prompt, _ in requests) + stats.generated_tokens - 24
    assert stats.computed_tokens == computed - cached
    assert (cached > 0) == prefix_cache


def test_a_long_prompt_does_not_stop_the_others(model: Model, tokenizer: Tokenizer) -> None:
    talk = SamplingParams(max_tokens=200, seed=1, ignore_eos=True)
    with Scheduler(model, tokenizer, prefill_chunk=16) as scheduler:
        talking = scheduler.submit(words(0, 5), talk)
        next(iter(talking))
        with held(scheduler):
            before = len(talking._deltas)
            listening = scheduler.submit(words(1, 450), SamplingParams(max_tokens=1, seed=1))
        listening.result(PATIENCE)
        # 15 tokens of the prompt and one of the talk a step.
        assert len(talking._deltas) - before >= 450 // 15 - 1


def test_first_come_first_served(model: Model, tokenizer: Tokenizer) -> None:
    params = SamplingParams(max_tokens=10, seed=1, ignore_eos=True)
    with Scheduler(model, tokenizer, max_batch=1) as scheduler:
        with held(scheduler):
            handles = [scheduler.submit(words(i, 20), params) for i in range(4)]
        for earlier, later in pairwise(handles):
            next(iter(later))
            assert earlier.done


def test_priority_goes_first_and_takes_the_place_of_lower(
    model: Model, tokenizer: Tokenizer
) -> None:
    long = SamplingParams(max_tokens=300, seed=1, ignore_eos=True)
    short = SamplingParams(max_tokens=5, seed=1)
    expected = alone(model, tokenizer, words(0, 20), long)
    with Scheduler(model, tokenizer, max_batch=1) as scheduler:
        background = scheduler.submit(words(0, 20), long, priority=-1)
        next(iter(background))
        with held(scheduler):
            normal = scheduler.submit(words(1, 20), short)
            urgent = scheduler.submit(words(2, 20), short, priority=5)
            assert not background.done
        next(iter(normal))
        assert urgent.done
        normal.result(PATIENCE)
        assert not background.done
        assert tokens_of(background.result(PATIENCE)) == expected
        assert scheduler.stats().preemptions == 0  # there were pages for all


def test_n_continuations_share_one_prompt(model: Model, tokenizer: Tokenizer) -> None:
    params = SamplingParams(max_tokens=12, seed=4, n=5, ignore_eos=True)
    with Scheduler(model, tokenizer) as scheduler:
        handle = scheduler.submit(words(0, 100), params)
        deltas = list(handle)
        completion = handle.result(PATIENCE)
        computed = scheduler.stats().computed_tokens
        single = scheduler.submit(
            words(0, 100), SamplingParams(max_tokens=12, seed=4, ignore_eos=True)
        )
        assert tokens_of(single.result(PATIENCE)) == tokens_of(completion)
    assert computed == 100 + 5 * 11
    assert len({choice.tokens for choice in completion.choices}) == 5
    for choice in completion.choices:
        mine = [delta for delta in deltas if delta.index == choice.index]
        assert tuple(t for delta in mine for t in delta.tokens) == choice.tokens
        assert "".join(delta.text for delta in mine) == choice.text
        assert mine[-1].finish_reason == choice.finish_reason


def test_best_of_returns_the_likeliest(model: Model, tokenizer: Tokenizer) -> None:
    every = SamplingParams(
        max_tokens=30, seed=4, n=8, logprobs=0, stop_token_ids=tuple(range(250, 300))
    )
    best = replace(every, n=2, best_of=8)
    with Scheduler(model, tokenizer) as scheduler:
        choices = scheduler.submit(words(0, 30), every).result(PATIENCE).choices
        handle = scheduler.submit(words(0, 30), best)
        deltas = list(handle)
        completion = handle.result(PATIENCE)

    def likelihood(index: int) -> float:
        return float(np.mean([token.logprob for token in choices[index].logprobs or ()]))

    assert len({len(choice.tokens) for choice in choices}) > 3
    ranking = sorted(range(8), key=likelihood, reverse=True)
    assert [c.tokens for c in completion.choices] == [choices[i].tokens for i in ranking[:2]]
    assert [c.index for c in completion.choices] == [0, 1]
    assert [(d.index, d.tokens) for d in deltas] == [
        (c.index, c.tokens) for c in completion.choices
    ]


def test_more_continuations_than_places(model: Model, tokenizer: Tokenizer) -> None:
    params = SamplingParams(max_tokens=6, seed=4, n=7, ignore_eos=True)
    with Scheduler(model, tokenizer) as scheduler:
        expected = scheduler.submit(words(0, 33), params).result(PATIENCE).choices
    with Scheduler(model, tokenizer, max_batch=2) as scheduler:
        assert scheduler.submit(words(0, 33), params).result(PATIENCE).choices == expected


# ---- prefix cache --------------------------------------------------------------------------------


def test_a_dialogue_computes_only_what_is_new(model: Model, tokenizer: Tokenizer) -> None:
    params = SamplingParams(max_tokens=20, seed=1, ignore_eos=True)
    with Scheduler(model, tokenizer) as scheduler:
        dialogue = words(0, 100)
        for turn in range(4):
            before = scheduler.stats().computed_tokens
            completion = scheduler.submit(dialogue, params).result(PATIENCE)
            assert tokens_of(completion) == alone(model, tokenizer, dialogue, params)
            computed = scheduler.stats().computed_tokens - before
            assert computed == len(dialogue) - completion.cached_tokens + 19
            if turn:
                assert completion.cached_tokens == (len(dialogue) - 10 - 1) // 16 * 16
            dialogue += [*tokens_of(completion), *words(turn, 10)]
        cache = scheduler.stats().prefix_cache
        assert cache is not None
        assert cache.hits == 3


def test_prompts_that_arrive_together_share_their_prefix(
    model: Model, tokenizer: Tokenizer
) -> None:
    shared = words(0, 160)
    params = SamplingParams(max_tokens=3, seed=1)
    with Scheduler(model, tokenizer, prefill_chunk=64) as scheduler:
        with held(scheduler):
            handles = [scheduler.submit([*shared, *words(i, 20)], params) for i in range(8)]
        cached = [handle.result(PATIENCE).cached_tokens for handle in handles]
    assert cached[0] == 0
    assert cached[1] >= 128  # it starts in the step that ends the first prompt
    assert cached[2:] == [160] * 6


def test_the_cache_gives_way_to_requests(small: Model, tokenizer: Tokenizer) -> None:
    params = SamplingParams(max_tokens=10, seed=1, ignore_eos=True)
    with Scheduler(small, tokenizer) as scheduler:
        for i in range(10):
            prompt = words(i, 100)
            completion = scheduler.submit(prompt, params).result(PATIENCE)
            assert tokens_of(completion) == alone_elsewhere(tokenizer, small, prompt, params)
        stats = scheduler.stats()
        assert stats.preemptions == 0
        assert stats.prefix_cache is not None
        assert stats.prefix_cache.evictions >= 8


def alone_elsewhere(
    tokenizer: Tokenizer, model: Model, prompt: list[int], params: SamplingParams
) -> tuple[int, ...]:
    """As `alone`, on a model of its own, whose pool nobody else uses."""
    with Model(model.path, threads=1) as other:
        return alone(other, tokenizer, prompt, params)


# ---- preemption ----------------------------------------------------------------------------------


def test_swapping_does_not_change_the_tokens(
    model: Model, small: Model, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    requests = [
        (words(i, 50), SamplingParams(max_tokens=60, seed=i, ignore_eos=True)) for i in range(6)
    ]
    expected = [alone(model, tokenizer, prompt, params) for prompt, params in requests]
    files = open_files()
    with Scheduler(small, tokenizer, swap_dir=tmp_path) as scheduler:
        with held(scheduler):
            handles = [scheduler.submit(prompt, params) for prompt, params in requests]
        assert [tokens_of(handle.result(PATIENCE)) for handle in handles] == expected
        stats = scheduler.stats()
        assert stats.preemptions > 0
        assert stats.swapped_bytes > stats.preemptions * 3 * small.page_bytes
        assert stats.swapped == 0
        # Swapped in, not computed again: every token went through the model once.
        assert stats.computed_tokens == 6 * (50 + 59)
    assert list(tmp_path.iterdir()) == []
    assert open_files() == files


def test_without_disk_preempted_requests_are_computed_again(
    model: Model, small: Model, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    requests = [
        (words(i, 50), SamplingParams(max_tokens=60, seed=i, ignore_eos=True)) for i in range(4)
    ]
    expected = [alone(model, tokenizer, prompt, params) for prompt, params in requests]
    with Scheduler(small, tokenizer, swap_dir=tmp_path / "missing") as scheduler:
        with held(scheduler):
            handles = [scheduler.submit(prompt, params) for prompt, params in requests]
        assert [tokens_of(handle.result(PATIENCE)) for handle in handles] == expected
        stats = scheduler.stats()
    assert stats.preemptions > 0
    assert stats.swapped_bytes == 0
    assert stats.computed_tokens > 4 * (50 + 59)


def test_a_damaged_swap_file_is_computed_again(
    model: Model, small: Model, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [
        (words(i, 50), SamplingParams(max_tokens=60, seed=i, ignore_eos=True)) for i in range(4)
    ]
    expected = [alone(model, tokenizer, prompt, params) for prompt, params in requests]
    restore = small.restore
    damaged = []

    def damage(data: bytes) -> Any:
        damaged.append(len(data))
        return restore(data[:-100] + bytes(100))

    monkeypatch.setattr(small, "restore", damage)
    with Scheduler(small, tokenizer) as scheduler:
        with held(scheduler):
            handles = [scheduler.submit(prompt, params) for prompt, params in requests]
        assert [tokens_of(handle.result(PATIENCE)) for handle in handles] == expected
    assert damaged


def test_an_urgent_request_swaps_the_others_out(small: Model, tokenizer: Tokenizer) -> None:
    long = SamplingParams(max_tokens=100, seed=1, ignore_eos=True)
    expected = alone_elsewhere(tokenizer, small, words(0, 60), long)
    with Scheduler(small, tokenizer) as scheduler:
        background = scheduler.submit(words(0, 60), long)
        next(iter(background))
        with held(scheduler):
            urgent = scheduler.submit(words(1, 150), SamplingParams(max_tokens=5), priority=1)
            assert not background.done
        urgent.result(PATIENCE)
        assert not background.done
        assert scheduler.stats().preemptions == 1
        assert tokens_of(background.result(PATIENCE)) == expected


def test_forks_swap_too(model: Model, small: Model, tokenizer: Tokenizer) -> None:
    params = SamplingParams(max_tokens=90, seed=3, n=4, ignore_eos=True)
    with Scheduler(model, tokenizer) as scheduler:
        expected = scheduler.submit(words(0, 70), params).result(PATIENCE).choices
    with Scheduler(small, tokenizer) as scheduler:
        assert scheduler.submit(words(0, 70), params).result(PATIENCE).choices == expected
        assert scheduler.stats().preemptions > 0


# ---- cancellation and closing --------------------------------------------------------------------


def test_cancelling_frees_the_pages_and_keeps_what_there_is(
    model: Model, tokenizer: Tokenizer
) -> None:
    with Scheduler(model, tokenizer, prefix_cache=False) as scheduler:
        handle = scheduler.submit(words(0, 50), SamplingParams(seed=1, n=3, ignore_eos=True))
        first = next(iter(handle))
        handle.cancel()
        completion = handle.result(PATIENCE)
        assert model.pages_free == model.pages_total
        assert {choice.finish_reason for choice in completion.choices} == {"cancelled"}
        assert tokens_of(completion)[:1] == first.tokens[:1]
        assert [d.finish_reason for d in handle][-3:] == ["cancelled"] * 3
        handle.cancel()
        assert handle.result(PATIENCE) == completion
        stats = scheduler.stats()
        assert (stats.cancelled, stats.finished, stats.running) == (1, 0, 0)


def test_cancelling_what_waits_what_is_swapped_and_what_is_done(
    small: Model, tokenizer: Tokenizer
) -> None:
    long = SamplingParams(max_tokens=100, seed=1, ignore_eos=True)
    with Scheduler(small, tokenizer, prefix_cache=False) as scheduler:
        with held(scheduler):
            handles = [scheduler.submit(words(i, 60), long) for i in range(4)]
            handles[3].cancel()
        assert tokens_of(handles[3].result(PATIENCE)) == ()
        while not scheduler.stats().swapped and not handles[0].done:
            time.sleep(0.001)
        for handle in handles[1:3]:
            handle.cancel()
        for handle in handles[1:3]:
            assert handle.result(PATIENCE).choices[0].finish_reason == "cancelled"
        done = handles[0].result(PATIENCE)
        handles[0].cancel()
        assert handles[0].result() == done
        assert small.pages_free == small.pages_total


def test_closing_cancels_or_drains(model: Model, tokenizer: Tokenizer) -> None:
    params = SamplingParams(max_tokens=50, seed=1, ignore_eos=True)
    scheduler = Scheduler(model, tokenizer, max_batch=2)
    handles = [scheduler.submit(words(i, 20), params) for i in range(5)]
    scheduler.close(drain=True)
    assert [len(tokens_of(handle.result(0))) for handle in handles] == [50] * 5
    scheduler.close()
    scheduler = Scheduler(model, tokenizer, max_batch=2)
    handles = [scheduler.submit(words(i, 20), SamplingParams(ignore_eos=True)) for i in range(5)]
    next(iter(handles[0]))
    scheduler.close()
    assert {handle.result(0).choices[0].finish_reason for handle in handles} == {"cancelled"}
    for use in (lambda: scheduler.submit([1]), lambda: scheduler.call(lambda: 1)):
        with pytest.raises(InvalidRequest, match="closed"):
            use()


# ---- other work ----------------------------------------------------------------------------------


def test_score_and_embed_between_steps(model: Model, tokenizer: Tokenizer) -> None:
    text = words(0, 150)
    with model.sequence() as sequence:
        rows = sequence.feed(text, logits="all")
    assert rows is not None
    expected = log_softmax(rows)[np.arange(149), text[1:]]
    vector = model.embed(text)
    params = SamplingParams(max_tokens=200, seed=1, ignore_eos=True)
    tokens = alone(model, tokenizer, words(1, 5), params)
    assert (score(model, text) == expected).all()
    with Scheduler(model, tokenizer) as scheduler:
        handle = scheduler.submit(words(1, 5), params)
        next(iter(handle))
        assert (scheduler.score(text) == expected).all()
        assert (scheduler.embed(text) == vector).all()
        assert scheduler.score([7]).shape == (0,)
        assert tokens_of(handle.result(PATIENCE)) == tokens
        for work in (scheduler.score, scheduler.embed):
            with pytest.raises(InvalidRequest, match="empty"):
                work([])
            with pytest.raises(ContextOverflow):
                work(words(0, 513))


def test_other_work_makes_room(small: Model, tokenizer: Tokenizer) -> None:
    params = SamplingParams(max_tokens=60, seed=1, ignore_eos=True)
    expected = alone_elsewhere(tokenizer, small, words(0, 120), params)
    with Scheduler(small, tokenizer) as scheduler:
        handle = scheduler.submit(words(0, 120), params)
        next(iter(handle))
        assert len(scheduler.score(words(1, 180))) == 179
        assert tokens_of(handle.result(PATIENCE)) == expected
        with small.sequence() as outside:
            scheduler.call(lambda: outside.feed(words(0, 150)))
            with pytest.raises(OutOfPages):
                scheduler.embed(words(1, 180))


# ---- everything at once --------------------------------------------------------------------------


def test_a_random_load_gives_the_same_tokens_on_a_small_pool(
    model: Model, small: Model, tokenizer: Tokenizer
) -> None:
    requests = mixed_requests(60, seed=1)
    expected = [alone(model, tokenizer, prompt, params) for prompt, params in requests]
    rng = random.Random(2)
    speculations = [None, PromptLookup(), DraftModel(model)]
    with Scheduler(small, tokenizer, max_batch=8, prefill_chunk=48) as scheduler:
        handles = []
        for prompt, params in requests:
            speculation = rng.choice(speculations)
            priority = rng.randint(0, 2)
            handle = scheduler.submit(prompt, params, priority=priority, speculation=speculation)
            handles.append(handle)
        assert [tokens_of(handle.result(PATIENCE)) for handle in handles] == expected
        assert scheduler.stats().preemptions > 0


def test_many_threads_submit_read_and_cancel(small: Model, tokenizer: Tokenizer) -> None:
    failures: list[BaseException] = []

    def customer(number: int, scheduler: Scheduler) -> None:
        rng = random.Random(number)
        try:
            for turn in range(40):
                prompt = words(rng.randint(0, 5), rng.randint(1, 80))
                params = SamplingParams(
                    max_tokens=rng.randint(1, 12), seed=turn, n=rng.choice([1, 1, 1, 3])
                )
                handle = scheduler.submit(prompt, params, priority=rng.randint(0, 1))
                match rng.randint(0, 4):
                    case 0:
                        handle.cancel()
                    case 1:
                        next(iter(handle), None)
                        handle.cancel()
                    case 2:
                        list(handle)
                    case 3:
                        scheduler.score(prompt)
                        scheduler.stats()
                assert handle.result(PATIENCE).prompt_tokens == len(prompt)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    with Scheduler(small, tokenizer, max_batch=4, prefill_chunk=32) as scheduler:
        threads = [threading.Thread(target=customer, args=(i, scheduler)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert not failures
        stats = scheduler.stats()
    assert stats.submitted == 8 * 40 == stats.finished + stats.cancelled
    assert stats.failed == 0


def test_thousands_of_short_requests_leave_no_page_behind(
    small: Model, tokenizer: Tokenizer
) -> None:
    rng = random.Random(3)
    with Scheduler(small, tokenizer, max_batch=32) as scheduler:
        for _ in range(10):
            handles = []
            for _ in range(200):
                prompt = words(rng.randint(0, 9), rng.randint(1, 40))
                params = SamplingParams(max_tokens=rng.randint(1, 3), seed=0)
                handles.append(scheduler.submit(prompt, params))
                if rng.random() < 0.2:
                    rng.choice(handles).cancel()
            for handle in handles:
                handle.result(PATIENCE)
        cache = scheduler.stats().prefix_cache
        assert cache is not None
        # Between requests, the cache alone holds pages (text computed twice may be held twice).
        assert small.pages_total - small.pages_free >= cache.tokens // 16
        assert scheduler.stats().running == 0
