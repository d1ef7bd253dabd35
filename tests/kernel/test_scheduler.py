"""Who thinks next: fair to a bound, never starving, never losing a slot."""

import asyncio
import random
from collections import defaultdict
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.kernel.capability import Capabilities
from cabinos.kernel.process import Process
from cabinos.kernel.scheduler import POLICIES, Lease, ModelQueue
from tests.kernel.help import run


def process(root: int, *, interactive: bool = False, nice: int = 0) -> Process:
    return Process(root, None, root, "", "chat", "m", Capabilities(), nice, interactive)


async def serve(queue: ModelQueue, p: Process, tokens: int, order: list[int]) -> None:
    """One thought, which ends when it has been given a few turns of the loop."""
    lease = queue.try_acquire(p) or await queue.acquire(p)
    try:
        order.append(p.root)
        await asyncio.sleep(0)
        queue.charge(p.root, p.nice, tokens, 0)
    finally:
        lease.release()


@settings(max_examples=60, deadline=None)
@given(
    slots=st.integers(1, 4),
    loads=st.lists(
        st.tuples(st.integers(1, 12), st.lists(st.integers(1, 500), min_size=1, max_size=3)),
        min_size=2,
        max_size=5,
    ),
    policy=st.sampled_from(["fair", "fifo", "priority"]),
    seed=st.integers(0, 99),
)
def test_everybody_is_served_and_no_slot_is_lost(
    slots: int, loads: list[tuple[int, list[int]]], policy: str, seed: int
) -> None:
    """With cancellations at random moments."""

    async def main() -> None:
        dice = random.Random(seed)
        queue = ModelQueue(slots, POLICIES[policy])
        order: list[int] = []
        tasks = []
        for root, (count, sizes) in enumerate(loads):
            p = process(root, interactive=root == 0, nice=root)
            for number in range(count):
                size = sizes[number % len(sizes)]
                tasks.append(asyncio.create_task(serve(queue, p, size, order)))
        while not all(task.done() for task in tasks):
            assert 0 <= queue.running <= slots
            if dice.random() < 0.2:
                dice.choice(tasks).cancel()
            await asyncio.sleep(0)
        assert queue.running == queue.waiting == 0
        assert not queue._standing
        served = asyncio.create_task(serve(queue, process(99), 1, order))
        await served  # the slots are all there
        ended = [task for task in tasks if not task.cancelled()]
        assert len(order) - 1 >= len(ended)

    run(main())


async def backlog(
    queue: ModelQueue, roots: dict[Process, tuple[int, int]], thoughts: int
) -> list[dict[int, int]]:
    """Keeps trees busy, each with (how many at once, tokens of a thought); the tokens over time."""
    got: defaultdict[int, int] = defaultdict(int)
    history: list[dict[int, int]] = []
    stop = False

    async def worker(p: Process, tokens: int) -> None:
        while not stop:
            lease = queue.try_acquire(p) or await queue.acquire(p)
            await asyncio.sleep(0)
            queue.charge(p.root, p.nice, tokens, 0)
            got[p.root] += tokens
            history.append(dict(got))
            lease.release()
            await asyncio.sleep(0)

    tasks = [
        asyncio.create_task(worker(p, tokens))
        for p, (count, tokens) in roots.items()
        for _ in range(count)
    ]
    while len(history) < thoughts:
        await asyncio.sleep(0)
    stop = True
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return history


@pytest.mark.parametrize("slots", [1, 3])
def test_the_gap_between_two_busy_trees_is_bounded(slots: int) -> None:
    """VTC, Theorem 4.4: |W_i - W_j| <= 2 max(w_p L_input, w_q M); here M is slots × one thought."""

    async def main() -> None:
        queue = ModelQueue(slots)
        heavy, light = 300, 70
        trees = {process(1): (10, heavy), process(2): (3 * slots, light)}
        history = await backlog(queue, trees, 600)
        bound = 2 * slots * heavy
        for moment in history[20:]:
            assert abs(moment.get(1, 0) - moment.get(2, 0)) <= bound

    run(main())


def test_a_newcomer_is_served_at_once_and_not_more_than_its_share() -> None:
    async def main() -> None:
        queue = ModelQueue(1)
        first = await backlog(queue, {process(1): (3, 100), process(2): (3, 100)}, 100)
        assert first
        history = await backlog(
            queue, {process(1): (3, 100), process(2): (3, 100), process(3): (3, 100)}, 90
        )
        last = history[-1]
        assert max(last.values()) - min(last.values()) <= 400, last

    run(main())


def test_a_tree_that_was_alone_for_long_does_not_pay_for_it() -> None:
    async def main() -> None:
        queue = ModelQueue(1)
        await backlog(queue, {process(1): (1, 100)}, 100)
        history = await backlog(queue, {process(1): (3, 100), process(2): (3, 100)}, 40)
        assert abs(history[-1].get(1, 0) - history[-1].get(2, 0)) <= 400, history[-1]

    run(main())


def test_a_talkative_person_does_not_hold_up_a_newcomers_batch_work() -> None:
    """Interactive work raises nobody's counter but that of interactive trees."""

    async def main() -> None:
        queue = ModelQueue(1)
        order: list[int] = []
        person, old, new = process(1, interactive=True), process(2), process(3)
        held = queue.try_acquire(old)
        assert held
        waiting = asyncio.create_task(queue.acquire(old))  # so that it stays in the queue
        talking = [asyncio.create_task(serve(queue, person, 1000, order)) for _ in range(50)]
        await asyncio.sleep(0)
        held.release()
        await asyncio.gather(*talking)
        assert order == [1] * 50
        working = asyncio.create_task(backlog(queue, {old: (2, 100), new: (2, 100)}, 40))
        await asyncio.sleep(0)
        (await waiting).release()
        last = (await working)[-1]
        assert abs(last.get(2, 0) - last.get(3, 0)) <= 400, last

    run(main())


def test_nice_changes_the_share() -> None:
    async def main() -> None:
        queue = ModelQueue(1)
        history = await backlog(
            queue, {process(1, nice=0): (3, 100), process(2, nice=5): (3, 100)}, 400
        )
        assert 2.5 <= history[-1][1] / history[-1][2] <= 3.6  # 1.25 ** 5 = 3.05

    run(main())


def test_an_interactive_process_waits_one_turn_at_most() -> None:
    async def main() -> None:
        queue = ModelQueue(1)
        order: list[int] = []
        tasks = [asyncio.create_task(serve(queue, process(n % 5), 10, order)) for n in range(50)]
        await asyncio.sleep(0)
        await serve(queue, process(77, interactive=True), 10, order)
        assert order.index(77) <= 2
        await asyncio.gather(*tasks)

    run(main())


@pytest.mark.parametrize("policy", ["fair", "fifo", "priority"])
def test_giving_way_lets_others_go_and_keeps_the_count(
    policy: Literal["fair", "fifo", "priority"],
) -> None:
    async def main() -> None:
        queue = ModelQueue(1, POLICIES[policy], quantum=10)
        long = queue.try_acquire(process(1, nice=5))
        assert long
        assert not long.over(50)  # nobody waits
        order: list[int] = []
        other = asyncio.create_task(serve(queue, process(2), 10, order))
        await asyncio.sleep(0)
        assert long.over(10)
        await long.give_way()
        assert order == [2]
        assert queue.running == 1
        long.release()
        await other
        assert queue.running == 0

    run(main())


@pytest.mark.parametrize("moment", range(1, 7))
def test_a_cancelled_give_way_gives_one_slot_back(moment: int) -> None:
    async def main() -> None:
        queue = ModelQueue(1, quantum=1)
        lease: Lease | None = queue.try_acquire(process(1))
        assert lease

        async def decode() -> None:
            try:
                await lease.give_way()
                await asyncio.sleep(0)
            finally:
                lease.release()

        order: list[int] = []
        others = [asyncio.create_task(serve(queue, process(2), 5, order)) for _ in range(3)]
        await asyncio.sleep(0)
        decoding = asyncio.create_task(decode())
        for _ in range(moment):
            await asyncio.sleep(0)
        decoding.cancel()
        await asyncio.gather(*others, decoding, return_exceptions=True)
        assert queue.running == queue.waiting == 0
        assert order == [2, 2, 2]

    run(main())


def test_counters_of_trees_that_are_gone_do_not_pile_up() -> None:
    async def main() -> None:
        queue = ModelQueue(1)
        order: list[int] = []
        queue.MOST_IDLE = 10
        for root in range(300):
            await serve(queue, process(root), 10, order)
            await serve(queue, process(5000), 20, order)
        assert len(queue.served) < 20

    run(main())
