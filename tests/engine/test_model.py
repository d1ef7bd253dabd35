"""`Model` and `Sequence`: pages that are shared and given back, and misuse that is refused."""

import random
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from cabinos.engine.errors import (
    ContextOverflow,
    InvalidRequest,
    OutOfMemory,
    OutOfPages,
    UnsupportedModel,
)
from cabinos.engine.model import Model, Sequence
from tests.engine.conftest import ModelMaker


@pytest.fixture
def model(tiny_model: ModelMaker) -> Model:
    return Model(tiny_model("q8_0"), threads=1, cache=False, kv_tokens=640)


def test_facts(model: Model) -> None:
    assert (model.vocab_size, model.context_length, model.embedding_length) == (512, 512, 256)
    assert (model.layer_count, model.head_count, model.kv_head_count) == (2, 8, 4)
    assert model.pages_total == model.pages_free == 40
    assert model.page_bytes == 16 * 2 * 4 * 32 * 2 * 2  # positions, layers, heads, size, K+V, bf16


def test_pages_are_shared_copied_on_write_and_returned(model: Model) -> None:
    parent = model.sequence()
    parent.feed(range(40), logits="none")
    assert model.pages_free == 37
    child = parent.fork()
    assert model.pages_free == 37
    child.feed([1], logits="none")  # the third page, half full, is copied
    assert model.pages_free == 36
    parent.feed([1], logits="none")  # now the parent's own: no copy
    assert model.pages_free == 36
    parent.truncate(32)
    parent.fork().feed([1], logits="none")  # full pages are shared: one new page, no copy
    parent.free()
    child.free()
    child.free()
    assert model.pages_free == 40


def test_ten_thousand_random_operations_leave_no_page_behind(model: Model) -> None:
    choose = random.Random(7)
    alive: list[Sequence] = []
    for _ in range(10_000):
        action = choose.random()
        if action < 0.15 or not alive:
            alive.append(model.sequence())
        elif action < 0.45:
            alive.append(choose.choice(alive).fork())
        elif action < 0.65:
            sequence = choose.choice(alive)
            sequence.truncate(choose.randint(0, len(sequence)))
        elif action < 0.7:
            sequence = choose.choice(alive)
            length = len(sequence)
            try:
                sequence.feed([choose.randrange(512)] * choose.randint(1, 20), logits="none")
            except (OutOfPages, ContextOverflow):
                assert len(sequence) == length
        else:
            alive.pop(choose.randrange(len(alive))).free()
        if len(alive) > 40:
            alive.pop(0).free()
    for sequence in alive:
        sequence.free()
    assert model.pages_free == model.pages_total


def test_a_step_that_cannot_be_done_changes_nothing(model: Model) -> None:
    first, second = model.sequence(), model.sequence()
    first.feed(range(500), logits="none")
    free = model.pages_free
    with pytest.raises(OutOfPages, match="free pages"):
        model.forward([(first, [1]), (second, list(range(400)))])
    with pytest.raises(ContextOverflow, match="context of 512"):
        first.feed(range(13))
    with pytest.raises(InvalidRequest, match="token 512"):
        model.forward([(second, [3]), (first, [512])])
    with pytest.raises(InvalidRequest, match="repeated"):
        model.forward([(second, [3]), (second, [4])])
    with pytest.raises(InvalidRequest, match="empty"):
        second.feed([])
    assert (len(first), len(second), model.pages_free) == (500, 0, free)


@pytest.mark.parametrize("tokens", [["a"], [1.5e300], [2**40], [None]])
def test_tokens_of_a_wrong_kind(model: Model, tokens: list[int]) -> None:
    with model.sequence() as sequence, pytest.raises(InvalidRequest):
        sequence.feed(tokens)


def test_other_misuse(model: Model, tiny_model: ModelMaker) -> None:
    sequence = model.sequence()
    with pytest.raises(InvalidRequest, match="cannot truncate"):
        sequence.truncate(1)
    with pytest.raises(InvalidRequest, match="pooling"):
        model.embed([1], pooling="max")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="logits"):
        sequence.feed([1], logits="some")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="kv_type"):
        Model(model.path, kv_type="q4")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="positive"):
        Model(model.path, threads=0)
    with pytest.raises(OutOfMemory, match="MB"):
        Model(model.path, kv_tokens=2**31 - 1, cache=False)
    with Model(tiny_model("q4_0"), threads=1, cache=False) as other:
        with pytest.raises(InvalidRequest, match="foreign"):
            other.forward([(sequence, [1])])
        sequence.feed([1, 2])
        with pytest.raises(InvalidRequest, match="another model"):
            other.restore(sequence.save())
    sequence.free()
    with pytest.raises(InvalidRequest, match="freed"):
        sequence.feed([1])
    model.close()
    with pytest.raises(InvalidRequest, match="closed"):
        model.sequence()


def test_a_damaged_saved_sequence_is_refused(model: Model) -> None:
    with model.sequence() as sequence:
        sequence.feed(range(20), logits="none")
        saved = sequence.save()
    for at in (0, 9, 30, len(saved) // 2, len(saved) - 1):
        damaged = bytearray(saved)
        damaged[at] ^= 1
        with pytest.raises(InvalidRequest, match="damaged"):
            model.restore(bytes(damaged))
    for length in (0, 15, 60, len(saved) - 1):
        with pytest.raises(InvalidRequest, match="damaged"):
            model.restore(saved[:length])
    assert model.pages_free == model.pages_total


def test_threads_share_a_model(model: Model) -> None:
    with model.sequence() as sequence:
        expected = sequence.feed(range(30))
    wrong: list[str] = []

    def use() -> None:
        for _ in range(20):
            with model.sequence() as sequence:
                sequence.feed(range(10), logits="none")
                with sequence.fork() as child:
                    if not np.array_equal(child.feed(range(10, 30)), expected):
                        wrong.append("other bits")

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert model.pages_free == model.pages_total


def test_the_gil_is_released_while_the_model_computes(tiny_model: ModelMaker) -> None:
    with Model(tiny_model("f32", layers=4), threads=1, cache=False) as model:
        ticks, done = 0, threading.Event()

        def compute() -> None:
            for _ in range(3):
                with model.sequence() as sequence:
                    sequence.feed([1] * 500, logits="none")
            done.set()

        worker = threading.Thread(target=compute)
        worker.start()
        while not done.is_set():
            time.sleep(0.001)
            ticks += 1
        worker.join()
    assert ticks > 3  # a call that held the GIL would have let the clock tick once per call


def test_an_unknown_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    from cabinos.engine.library import library_path

    monkeypatch.setenv("CABIN_ISA", "z80")
    with pytest.raises(UnsupportedModel, match="z80"):
        library_path()


def test_a_read_only_folder_needs_no_cache(tmp_path: Path, tiny_model: ModelMaker) -> None:
    """Nothing can be written beside a file in /proc/self/fd: the weights stay in memory."""
    with tiny_model("q8_0").open("rb") as file:
        path = Path(f"/proc/self/fd/{file.fileno()}")
        if not path.exists():
            pytest.skip("no /proc on this system")
        with Model(path, threads=1) as model, model.sequence() as sequence:
            assert sequence.feed([1, 2, 3]) is not None
