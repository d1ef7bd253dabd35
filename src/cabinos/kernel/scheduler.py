"""Who thinks next: one queue for each model, shared fairly between process trees.

A model serves `slots` thoughts at once. Whoever must wait stands in a heap ordered by a policy.
The default policy is the virtual token counter (Sheng et al. 2024, "Fairness in Serving Large
Language Models", arXiv:2401.00588): each process tree has a counter of the tokens it was served,
divided by its weight, and the smallest goes first; a tree back from idleness is lifted to the
counter of who was picked last, so nobody saves up. Processes a person waits for stand
before all others.

A long decode on a local model is cut into quanta. When one is spent and somebody who would go first
waits, the driver pauses (the engine may swap its KV to disk), stands in the queue again and goes on
when its turn comes. Between syscalls there is nothing to preempt.
"""

import asyncio
import heapq
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from cabinos.kernel.process import Process

__all__ = ["POLICIES", "Lease", "ModelQueue", "Waiting"]

QUANTUM = 128  # decoded tokens after which a thought gives way to one that would go first
INPUT_WEIGHT, OUTPUT_WEIGHT = 1.0, 2.0  # what a token of prompt and of answer counts (VTC, §4.1)
NICE_BASE = 1.25  # one step of `nice` changes a tree's share by a quarter, as in Linux


@dataclass(slots=True, eq=False)
class Waiting:
    """Somebody in the queue."""

    root: int
    interactive: bool
    nice: int
    arrival: int
    turn: asyncio.Future[None]


Key = tuple[float, ...]
# A key may only grow while its owner waits: `pick` relies on it.
Policy = Callable[["ModelQueue", Waiting], Key]


def fair(queue: "ModelQueue", waiting: Waiting) -> Key:
    """Interactive first, then the tree that was served least, then who came first."""
    return (not waiting.interactive, queue.served[waiting.root], waiting.arrival)


def first_come(_queue: "ModelQueue", waiting: Waiting) -> Key:
    """Who came first, whoever it is."""
    return (waiting.arrival,)


def priority(_queue: "ModelQueue", waiting: Waiting) -> Key:
    """Interactive first, then the least nice, then who came first: batch work may starve."""
    return (not waiting.interactive, waiting.nice, waiting.arrival)


POLICIES: dict[str, Policy] = {"fair": fair, "fifo": first_come, "priority": priority}


@dataclass(eq=False)
class ModelQueue:
    """The queue of one model."""

    slots: int
    policy: Policy = fair
    quantum: int = QUANTUM
    served: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))

    MOST_IDLE = 1000  # trees that are not here, whose counters are kept

    def __post_init__(self) -> None:
        # The counter of who was served last, batch and interactive: nobody who waits is below it.
        self._floors = [0.0, 0.0]
        self._ready: list[tuple[Key, int, Waiting]] = []  # a heap
        self._standing: defaultdict[int, int] = defaultdict(int)  # root: in the queue or served
        self._running = 0
        self._arrivals = 0

    @property
    def running(self) -> int:
        """Thoughts being served."""
        return self._running

    @property
    def waiting(self) -> int:
        """Thoughts in the queue."""
        return sum(not waiting.turn.done() for _, _, waiting in self._ready)

    def try_acquire(self, process: Process) -> "Lease | None":
        """A lease at once, if a slot is free and nobody waits for it."""
        if self._running >= self.slots or self._ready:
            return None
        self._enter(process)
        self._pass(process.root, process.interactive)
        self._running += 1
        return Lease(self, process.root, process.interactive, process.nice)

    async def acquire(self, process: Process) -> "Lease":
        """Returns when it is this process's turn. The lease must be released."""
        lease = Lease(self, process.root, process.interactive, process.nice)
        self._enter(process)
        try:
            await self._wait_turn(lease)
        except BaseException:
            self._leave(process.root)
            raise
        return lease

    def charge(self, root: int, nice: int, input_tokens: int, output_tokens: int) -> None:
        """Books service to a tree; `nice` makes it dearer or cheaper."""
        tokens = INPUT_WEIGHT * input_tokens + OUTPUT_WEIGHT * output_tokens
        self.served[root] += tokens * NICE_BASE**nice

    async def _wait_turn(self, lease: "Lease") -> None:
        if self._running < self.slots and not self._ready:
            self._pass(lease.root, lease.interactive)
            self._running += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        waiting = Waiting(lease.root, lease.interactive, lease.nice, self._arrivals, turn)
        heapq.heappush(self._ready, (self.policy(self, waiting), waiting.arrival, waiting))
        self._serve()
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():  # its turn came as it was cancelled
                self._free()
            else:
                turn.cancel()  # `pick` passes it over
            raise

    def _serve(self) -> None:
        while self._running < self.slots:
            waiting = pick(self)
            if waiting is None:
                return
            self._running += 1
            waiting.turn.set_result(None)

    def _free(self) -> None:
        self._running -= 1
        self._serve()

    def _enter(self, process: Process) -> None:
        root = process.root
        if not self._standing[root]:  # back from idleness: lifted to the others
            self.served[root] = max(self.served[root], self._floors[process.interactive])
        self._standing[root] += 1

    def _pass(self, root: int, interactive: bool) -> None:
        """Notes whose turn it is."""
        self._floors[interactive] = max(self._floors[interactive], self.served[root])

    def _leave(self, root: int) -> None:
        self._standing[root] -= 1
        if not self._standing[root]:
            del self._standing[root]
            if len(self.served) > len(self._standing) + self.MOST_IDLE:
                self._forget()

    def _forget(self) -> None:
        """Lets go of counters to which their trees, coming back, would be lifted anyway."""
        floor = min(self._floors) or max(self._floors)
        for root in [r for r in self.served if r not in self._standing]:
            if self.served[root] <= floor:
                del self.served[root]

    def would_go_first(self, lease: "Lease") -> bool:
        """Whether somebody waits who would be picked before this lease's owner."""
        first = _first(self)
        if first is None:
            return False
        mine = Waiting(lease.root, lease.interactive, lease.nice, self._arrivals + 1, first.turn)
        return self.policy(self, first) < self.policy(self, mine)


def _first(queue: ModelQueue) -> Waiting | None:
    """Who would be picked; None if nobody waits.

    Keys in the heap may be older than the counters. Since keys only grow, the true first is found
    by putting what is on top back with its present key until it stays there.
    """
    ready = queue._ready
    while ready:
        key, arrival, waiting = ready[0]
        if waiting.turn.done():  # cancelled
            heapq.heappop(ready)
            continue
        now = queue.policy(queue, waiting)
        if now == key:
            return waiting
        heapq.heapreplace(ready, (now, arrival, waiting))
    return None


def pick(queue: ModelQueue) -> Waiting | None:
    """Takes the one whose turn it is out of the queue: the whole scheduling decision."""
    waiting = _first(queue)
    if waiting is not None:
        heapq.heappop(queue._ready)
        queue._pass(waiting.root, waiting.interactive)
    return waiting


class Lease:
    """A turn at a model, of one process; what `driver.Lease` promises to drivers."""

    __slots__ = ("_queue", "_spent", "booked", "interactive", "nice", "root")

    def __init__(self, queue: ModelQueue, root: int, interactive: bool, nice: int) -> None:
        self.root = root
        self.interactive = interactive
        self.nice = nice
        self.booked = 0  # answer tokens that are already on the tree's counter
        self._queue = queue
        self._spent = 0  # of them, in this quantum

    def over(self, tokens: int) -> bool:
        """Counts tokens just decoded; True if the quantum is spent and another would go first.

        They are booked at once, so that a long answer cannot run ahead of its tree's counter.
        """
        self._queue.charge(self.root, self.nice, 0, tokens)
        self.booked += tokens
        self._spent += tokens
        return self._spent >= self._queue.quantum and self._queue.would_go_first(self)

    async def give_way(self) -> None:
        """Gives the slot up and returns when it is this process's turn again."""
        self._spent = 0
        self._queue._free()
        try:
            await self._queue._wait_turn(self)
        except BaseException:
            self._queue._running += 1  # whoever releases the lease gives a slot back
            raise

    def release(self) -> None:
        """Ends the turn."""
        self._queue._leave(self.root)
        self._queue._free()
