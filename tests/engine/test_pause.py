"""Paused requests: they compute nothing, their pages go first, and their tokens stay the same."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cabinos.engine.constraints import Constraint
from cabinos.engine.model import Model
from cabinos.engine.request import Completion, Handle
from cabinos.engine.sampling import SamplingParams
from cabinos.engine.scheduler import Scheduler, SchedulerStats
from cabinos.engine.speculation import PromptLookup
from cabinos.engine.tokenizer import Tokenizer
from tests.engine.help import PATIENCE, tokens_of, words

LONG = SamplingParams(max_tokens=100, seed=1, ignore_eos=True)
SHORT = SamplingParams(max_tokens=5, seed=2, ignore_eos=True)


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[Model]:
    """Room for 192 positions: two of the requests below do not fit together."""
    with Model(path, kv_tokens=192, threads=1) as model:
        yield model


@pytest.fixture(autouse=True)
def no_page_is_lost(model: Model) -> Iterator[None]:
    yield
    assert model.pages_free == model.pages_total


def undisturbed(
    model: Model, tokenizer: Tokenizer, prompt: list[int], params: SamplingParams
) -> Completion:
    with Scheduler(model, tokenizer, prefix_cache=False) as scheduler:
        return scheduler.submit(prompt, params).result(PATIENCE)


def seen(scheduler: Scheduler, wanted: Callable[[SchedulerStats], bool]) -> SchedulerStats:
    """The state between two steps, once `wanted` holds of it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        stats = scheduler.call(scheduler.stats)
        if wanted(stats):
            return stats
    raise AssertionError(f"still {stats}")


def paused_midway(scheduler: Scheduler, prompt: list[int], params: SamplingParams) -> Handle:
    """A request that has begun to speak and then been set aside."""
    handle = scheduler.submit(prompt, params)
    next(iter(handle))
    handle.pause()
    assert not seen(scheduler, lambda stats: stats.paused == 1).running
    assert not handle.done
    return handle


def test_a_paused_request_makes_room_and_goes_on_with_the_same_tokens(
    model: Model, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    expected = undisturbed(model, tokenizer, words(0, 60), LONG)
    other = undisturbed(model, tokenizer, words(1, 150), LONG)
    with Scheduler(model, tokenizer, prefix_cache=False, swap_dir=tmp_path) as scheduler:
        handle = paused_midway(scheduler, words(0, 60), LONG)
        spoken = len(handle._deltas)
        assert scheduler.stats().pages_free < scheduler.stats().pages_total  # nobody else wants it
        # The other one came later and ranks below, yet the paused one's pages go to it.
        later = scheduler.submit(words(1, 150), LONG).result(PATIENCE)
        assert tokens_of(later) == tokens_of(other)
        stats = scheduler.stats()
        assert (stats.preemptions, stats.paused, stats.swapped) == (1, 1, 1)
        assert len(handle._deltas) == spoken
        computed = stats.computed_tokens
        handle.resume()
        assert handle.result(PATIENCE).choices == expected.choices
        # Read back from disk, not computed again.
        assert scheduler.stats().computed_tokens - computed <= 99 - spoken + 1
    assert list(tmp_path.iterdir()) == []


def test_pages_of_the_paused_are_taken_before_those_of_the_running(
    model: Model, tokenizer: Tokenizer
) -> None:
    params = SamplingParams(max_tokens=90, seed=3, ignore_eos=True)
    expected = [tokens_of(undisturbed(model, tokenizer, words(i, 60), params)) for i in range(2)]
    with Scheduler(model, tokenizer, prefix_cache=False) as scheduler:
        first = paused_midway(scheduler, words(0, 60), params)  # 4 pages, of 12
        second = scheduler.submit(words(1, 60), params)  # grows to 10 pages
        assert tokens_of(second.result(PATIENCE)) == expected[1]
        stats = scheduler.stats()
        assert (stats.preemptions, stats.swapped) == (1, 1)
        first.resume()
        assert tokens_of(first.result(PATIENCE)) == expected[0]


def test_without_disk_a_paused_request_is_computed_again(
    model: Model, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    expected = undisturbed(model, tokenizer, words(0, 60), LONG)
    with Scheduler(model, tokenizer, swap_dir=tmp_path / "missing") as scheduler:
        handle = paused_midway(scheduler, words(0, 60), LONG)
        scheduler.submit(words(1, 150), SHORT).result(PATIENCE)
        assert scheduler.stats().preemptions == 1
        handle.resume()
        assert handle.result(PATIENCE).choices == expected.choices


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(max_tokens=60, seed=5, n=3, ignore_eos=True),
        SamplingParams(max_tokens=60, seed=5, n=1, best_of=2, ignore_eos=True),
        SamplingParams(max_tokens=60, seed=5, constraint=Constraint.regex("[a-z ]{300}")),
    ],
)
def test_forks_and_constraints_are_paused_as_well(
    model: Model, tokenizer: Tokenizer, params: SamplingParams
) -> None:
    expected = undisturbed(model, tokenizer, words(0, 60), params)
    with Scheduler(model, tokenizer, prefix_cache=False) as scheduler:
        handle = scheduler.submit(words(0, 60), params, speculation=PromptLookup())
        seen(scheduler, lambda stats: stats.generated_tokens > 6)
        handle.pause()
        seen(scheduler, lambda stats: stats.paused > 0)
        scheduler.submit(words(1, 150), SHORT).result(PATIENCE)
        assert not handle.done
        handle.resume()
        assert handle.result(PATIENCE).choices == expected.choices


def test_paused_before_it_began(model: Model, tokenizer: Tokenizer) -> None:
    expected = undisturbed(model, tokenizer, words(0, 60), LONG)
    with Scheduler(model, tokenizer, prefix_cache=False) as scheduler:
        blocker = scheduler.submit(words(2, 20), LONG)
        handle = scheduler.submit(words(0, 60), LONG)
        handle.pause()
        handle.pause()  # twice is as good as once
        blocker.result(PATIENCE)
        stats = seen(scheduler, lambda stats: stats.running == 0)
        assert (stats.paused, stats.waiting, stats.failed) == (1, 0, 0)
        handle.resume()
        handle.resume()
        assert handle.result(PATIENCE).choices == expected.choices
        handle.pause()  # nothing is left to pause
        assert len(tokens_of(scheduler.submit(words(1, 5), SHORT).result(PATIENCE))) == 5


def test_the_scheduler_sleeps_while_all_are_paused(model: Model, tokenizer: Tokenizer) -> None:
    with Scheduler(model, tokenizer, prefix_cache=False) as scheduler:
        handle = paused_midway(scheduler, words(0, 20), LONG)
        before = time.thread_time(), time.process_time()
        with pytest.raises(TimeoutError):
            handle.result(0.3)
        mine, all_threads = time.thread_time() - before[0], time.process_time() - before[1]
        assert all_threads - mine < 0.1
        handle.resume()
        assert len(tokens_of(handle.result(PATIENCE))) == 100


def test_the_depth_of_the_queue_is_seen(model: Model, tokenizer: Tokenizer) -> None:
    with Scheduler(model, tokenizer, prefix_cache=False) as scheduler:
        handle = paused_midway(scheduler, words(0, 20), LONG)
        running = scheduler.submit(words(1, 150), LONG, priority=2)
        next(iter(running))
        waiting = [scheduler.submit(words(i, 150), LONG) for i in (2, 3)]
        stats = seen(scheduler, lambda stats: stats.waiting == 2)
        assert (stats.running, stats.paused) == (1, 1)
        for other in (handle, running, *waiting):
            other.cancel()


@pytest.mark.parametrize("swapped", [False, True])
def test_cancelled_while_paused(model: Model, tokenizer: Tokenizer, swapped: bool) -> None:
    with Scheduler(model, tokenizer, prefix_cache=False) as scheduler:
        handle = paused_midway(scheduler, words(0, 60), LONG)
        if swapped:
            scheduler.submit(words(1, 150), SHORT).result(PATIENCE)
        assert scheduler.stats().swapped == swapped
        handle.cancel()
        completion = handle.result(PATIENCE)
        assert completion.choices[0].finish_reason == "cancelled"
        assert tokens_of(completion)
        assert model.pages_free == model.pages_total
        handle.resume()
        assert scheduler.stats().paused == 0


@pytest.mark.parametrize("drain", [False, True])
def test_closed_while_paused(model: Model, tokenizer: Tokenizer, drain: bool) -> None:
    expected = undisturbed(model, tokenizer, words(0, 60), LONG)
    with Scheduler(model, tokenizer) as scheduler:
        handle = paused_midway(scheduler, words(0, 60), LONG)
        scheduler.close(drain=drain)
        completion = handle.result(0)
    if drain:
        assert completion.choices == expected.choices
    else:
        assert completion.choices[0].finish_reason == "cancelled"
    handle.pause()
    handle.resume()


def test_an_async_reader_pauses_between_deltas(model: Model, tokenizer: Tokenizer) -> None:
    expected = undisturbed(model, tokenizer, words(0, 60), LONG)

    async def read(scheduler: Scheduler) -> list[int]:
        handle, tokens, turns = scheduler.submit(words(0, 60), LONG), list[int](), 0
        async for delta in handle:
            tokens += delta.tokens
            if len(tokens) // 25 > turns:
                turns += 1
                handle.pause()
                await scheduler.submit(words(turns, 150), SHORT)
                handle.resume()
        return tokens

    with Scheduler(model, tokenizer, prefix_cache=False) as scheduler:
        assert tuple(asyncio.run(read(scheduler))) == tokens_of(expected)
        assert scheduler.stats().preemptions  # the last deltas may come at once: not each pauses it


def test_threads_pause_resume_and_cancel_at_random(model: Model, tokenizer: Tokenizer) -> None:
    params = SamplingParams(max_tokens=40, seed=9, ignore_eos=True)
    prompts = [words(i, 30 + 10 * (i % 4)) for i in range(8)]
    expected = [tokens_of(undisturbed(model, tokenizer, prompt, params)) for prompt in prompts]
    failures: list[BaseException] = []

    def meddle(handles: list[Handle], seed: int) -> None:
        rng = random.Random(seed)
        try:
            while any(not handle.done for handle in handles):
                handle = rng.choice(handles)
                handle.pause()
                rng.choice(handles).resume()
                handle.resume()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    with Scheduler(model, tokenizer, max_batch=4, prefill_chunk=32) as scheduler:
        handles = [
            scheduler.submit(prompt, params, priority=i % 2) for i, prompt in enumerate(prompts)
        ]
        threads = [threading.Thread(target=meddle, args=(handles, seed)) for seed in range(3)]
        for thread in threads:
            thread.start()
        handles[5].cancel()
        handles[5].pause()
        for number, handle in enumerate(handles):
            tokens = tokens_of(handle.result(PATIENCE))
            assert tokens == expected[number][: len(tokens)]
            assert number == 5 or len(tokens) == 40
        for thread in threads:
            thread.join(PATIENCE)
        assert not failures
        stats = scheduler.stats()
    assert (stats.failed, stats.cancelled + stats.finished) == (0, 8)
