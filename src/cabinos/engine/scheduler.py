"""Continuous batching: many requests share every step of one model.

One thread owns all sequences. A step is one forward pass over a ragged batch: first the branches
that decode (one token each, or a few to be checked), then as much of the waiting prompts as the
step's token budget leaves (Yu et al. 2022, Orca; Agrawal et al. 2024, Sarathi-Serve,
arXiv:2403.02310). Who takes part is decided anew for every step by rank alone: priority, then
arrival. Whoever ranks lowest is swapped out when pages run out, and comes back when there is room;
a paused request takes no part, and is swapped out before anybody else. None of this shows in the
output: logits are bit-identical whatever the batch, so a request with a given seed gives the same
tokens whatever else runs.

    submit → rank → admit (prefix cache, swap) → plan → forward → advance → stream
"""

import threading
import time
from bisect import insort
from collections.abc import Callable
from collections.abc import Sequence as Tokens
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from cabinos.engine.errors import InvalidRequest, OutOfPages
from cabinos.engine.generate import check_prompt, score, start_branch
from cabinos.engine.model import Model
from cabinos.engine.pager import Pager
from cabinos.engine.prefix_cache import PrefixCache, PrefixCacheStats
from cabinos.engine.queue import Request, Seat, Work
from cabinos.engine.request import Handle
from cabinos.engine.sampling import SamplingParams
from cabinos.engine.speculation import Speculation

if TYPE_CHECKING:
    from cabinos.engine.tokenizer import Tokenizer

T = TypeVar("T")
FloatArray = NDArray[np.float32]

PATIENCE = 5.0  # seconds to wait for pages that sequences outside the scheduler hold
VERIFY_TOKENS = 32  # decoded and proposed in one step: with more, arithmetic is what it waits for


@dataclass
class SchedulerStats:
    """Counters since the start, then the present state."""

    submitted: int = 0
    finished: int = 0  # requests, each of which ends in one of these three ways
    cancelled: int = 0
    failed: int = 0
    steps: int = 0
    computed_tokens: int = 0  # that went through the model
    generated_tokens: int = 0
    proposed_tokens: int = 0  # by speculation and by forced parts of a constraint
    accepted_tokens: int = 0
    preemptions: int = 0
    swapped_bytes: int = 0
    running: int = 0  # branches that hold KV
    waiting: int = 0  # branches that want it: the depth of the queue
    paused: int = 0  # branches set aside, with KV or without
    swapped: int = 0  # of the waiting and the paused, those whose KV is on disk
    pages_free: int = 0
    pages_total: int = 0
    prefix_cache: PrefixCacheStats | None = None


class Scheduler:
    """Serves requests to `model` until it is closed; a context manager.

    At most `max_batch` branches take part in a step, and it computes at most `prefill_chunk` tokens
    (more only if more tokens than that decode). Preempted sequences go to nameless files in
    `swap_dir` (default: the system's temporary directory). Any thread may call any method.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: "Tokenizer",
        *,
        max_batch: int = 16,
        prefill_chunk: int = 512,
        prefix_cache: bool = True,
        swap_dir: str | PathLike[str] | None = None,
    ) -> None:
        if max_batch < 1 or prefill_chunk < 1:
            raise InvalidRequest(
                f"max_batch and prefill_chunk must be at least 1, not {max_batch}, {prefill_chunk}"
            )
        self.model = model
        self.tokenizer = tokenizer
        self.max_batch = max_batch
        self.prefill_chunk = prefill_chunk
        self._cache = PrefixCache(model) if prefix_cache else None
        self._pager = Pager(model, self._cache, Path(swap_dir) if swap_dir is not None else None)
        self._queue: list[Seat] = []  # all unfinished branches, by rank
        self._stats = SchedulerStats()
        self._starved_since: float | None = None
        self._masks = ThreadPoolExecutor(1, "cabin-masks")

        self._wake = threading.Condition()  # guards the six below
        self._arrived: list[Request] = []
        self._unwanted: list[Request] = []
        self._pauses: list[tuple[Request, bool]] = []  # and resumptions, in the order they came
        self._calls: list[tuple[Callable[[], Any], Future[Any]]] = []
        self._arrivals = 0
        self._closing: Literal["no", "drain", "cancel"] = "no"
        self._thread = threading.Thread(target=self._run, name="cabin-scheduler", daemon=True)
        self._thread.start()

    # ---- for callers -----------------------------------------------------------------------------

    def submit(
        self,
        prompt: Tokens[int],
        params: SamplingParams | None = None,
        *,
        priority: int = 0,
        speculation: Speculation | None = None,
    ) -> Handle:
        """Queues a request: higher `priority` goes first, and among equals who came first.

        Raises InvalidRequest, ContextOverflow or OutOfPages at once if it can never be served. A
        text that fills the context, or the KV pool alone, ends with the finish reason "length".
        """
        params = (params or SamplingParams()).with_seed()
        branch = start_branch(self.model, self.tokenizer, prompt, params, speculation)
        with self._wake:
            self._require_open()
            number = self._arrivals
            request = Request(
                branch, priority, number, cancel=self._ask_to_cancel, pause=self._ask_to_pause
            )
            self._arrived.append(request)
            self._arrivals += 1
            self._wake.notify()
        return request.handle

    def call(self, work: Callable[[], T]) -> T:
        """Runs `work` on the model between two steps and returns its result.

        Where it raises OutOfPages, room is made and it is tried again: it must be all or nothing.
        """
        future: Future[T] = Future()
        with self._wake:
            self._require_open()
            self._calls.append((work, future))
            self._wake.notify()
        return future.result()

    def score(self, tokens: Tokens[int]) -> FloatArray:
        """Log-probabilities of a given text, see `generate.score`; other requests go on between."""
        return score(self.model, tokens, run=self.call)

    def embed(
        self, tokens: Tokens[int], *, pooling: Literal["mean", "last"] = "mean"
    ) -> FloatArray:
        """The embedding of a text: [embedding_length], of length 1."""
        check_prompt(self.model, tokens)
        return self.call(lambda: self.model.embed(tokens, pooling=pooling))

    def stats(self) -> SchedulerStats:
        """Counters and state now; the caller may keep the object."""
        queue = self._queue.copy()
        paused = sum(seat.request.paused for seat in queue)
        branches = [seat.branch for seat in queue if not seat.request.paused]
        running = sum(branch.sequence is not None for branch in branches)
        return replace(
            self._stats,
            submitted=self._arrivals,
            preemptions=self._pager.preemptions,
            swapped_bytes=self._pager.swapped_bytes,
            running=running,
            waiting=len(branches) - running + len(self._arrived),
            paused=paused,
            swapped=sum(seat.branch.swap is not None for seat in queue),
            pages_free=self.model.pages_free,
            pages_total=self.model.pages_total,
            prefix_cache=self._cache.stats() if self._cache is not None else None,
        )

    def close(self, *, drain: bool = False) -> None:
        """Stops the thread and frees every page and swap file; idempotent.

        With `drain`, requests already submitted are finished first, paused ones too; otherwise they
        are cancelled.
        """
        with self._wake:
            if self._closing != "cancel":
                self._closing = "drain" if drain else "cancel"
            self._wake.notify()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _require_open(self) -> None:
        if self._closing != "no":
            raise InvalidRequest("the scheduler is closed")

    def _ask_to_cancel(self, request: Request) -> None:
        with self._wake:
            self._unwanted.append(request)
            self._wake.notify()

    def _ask_to_pause(self, request: Request, paused: bool) -> None:
        with self._wake:
            self._pauses.append((request, paused))
            self._wake.notify()

    # ---- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._receive():
            try:
                self._step()
            except Exception as error:  # noqa: BLE001 - callers must not wait for ever
                while self._queue:
                    self._fail(self._queue[0].request, error)
        while self._queue:
            self._cancel(self._queue[0].request)
        if self._cache is not None:
            self._cache.clear()
        self._masks.shutdown()

    def _receive(self) -> bool:
        """Waits for work; takes in what callers asked for. False when it is time to go."""
        with self._wake:
            while self._closing == "no" and not (self._has_work() or self._asked()):
                self._wake.wait()
            if self._starved_since is not None and not self._calls:
                self._wake.wait(0.01)
            arrived, self._arrived = self._arrived, []
            unwanted, self._unwanted = self._unwanted, []
            pauses, self._pauses = self._pauses, []
            calls, self._calls = self._calls, []
            closing = self._closing
        for request in arrived:
            self._sit(Seat.of(request, request.branches[0]))
        for request, paused in pauses:
            request.paused = paused
        if closing == "drain":
            for seat in self._queue:
                seat.request.paused = False
        for request in unwanted:
            if not request.handle.done:
                self._cancel(request)
        for work, future in calls:
            self._execute(work, future)
        return closing == "no" or (closing == "drain" and bool(self._queue))

    def _has_work(self) -> bool:
        return any(not seat.request.paused for seat in self._queue)

    def _asked(self) -> bool:
        return bool(self._arrived or self._unwanted or self._pauses or self._calls)

    def _execute(self, work: Callable[[], Any], future: "Future[Any]") -> None:
        while True:
            try:
                future.set_result(work())
            except OutOfPages as error:
                if self._pager.free_some(self._queue):
                    continue
                future.set_exception(error)
            except BaseException as error:  # noqa: BLE001
                future.set_exception(error)
            return

    def _step(self) -> None:
        """One forward pass and what follows from it."""
        plan = self._plan(self._choose())
        if not plan:
            self._starve()
            return
        self._starved_since = None
        for work in plan:
            constraint = work.seat.branch.constraint
            if constraint is not None and work.logits != "none":
                constraint.prepare(self._masks)  # the mask is computed while the model runs
        for work, logits in self._forward(plan):
            request = work.seat.request
            try:
                if not request.handle.done:
                    self._advance(work, logits)
            except Exception as error:  # noqa: BLE001
                self._fail(request, error)
        self._stats.steps += 1

    def _choose(self) -> list[Seat]:
        """The first by rank who hold KV or can be given room; nobody without KV is overtaken.

        A prompt is let in no sooner than the token budget reaches it: by then the prefix cache may
        have what it shares with those before it.
        """
        chosen: list[Seat] = []
        budget = self.prefill_chunk
        promised = 0  # pages that those chosen have still to ask for
        blocked = False
        for seat in self._queue:
            if len(chosen) == self.max_batch:
                break
            if seat.request.paused:
                continue
            branch = seat.branch
            if branch.sequence is None:
                # One page to spare for each of the others, or it would be swapped out again soon.
                reserved = promised + len(chosen)
                blocked = blocked or budget <= 0
                blocked = blocked or not self._pager.admit(seat, self._queue, reserved)
                if blocked:
                    continue
            chosen.append(seat)
            budget -= len(branch.tokens) - branch.computed
            promised += self._pager.pages(len(branch.tokens)) - self._pager.pages(branch.computed)
        return chosen

    def _plan(self, chosen: list[Seat]) -> list[Work]:
        """Decoding first, then prompts with what is left of the token budget, both by rank."""
        plan: list[Work] = []
        prompts = [s for s in chosen if len(s.branch.tokens) - s.branch.computed > 1]
        decoding = [s for s in chosen if len(s.branch.tokens) - s.branch.computed == 1]
        for seat in decoding:
            allowance = VERIFY_TOKENS // len(decoding) - 1
            try:
                proposals = seat.branch.propose(allowance)
                plan.append(Work(seat, seat.branch.tokens[-1:], proposals, "all"))
            except Exception as error:  # noqa: BLE001
                self._fail(seat.request, error)
        budget = self.prefill_chunk - sum(1 + len(work.proposals) for work in plan)
        for seat in prompts:
            branch = seat.branch
            if budget <= 0:
                break
            chunk = branch.tokens[branch.computed : branch.computed + budget]
            last = branch.computed + len(chunk) == len(branch.tokens)
            plan.append(Work(seat, chunk, [], "last" if last else "none"))
            budget -= len(chunk)
        return [work for work in plan if not work.seat.request.handle.done]

    def _forward(self, plan: list[Work]) -> list[tuple[Work, FloatArray | None]]:
        """Runs the plan; if pages run out, without proposals, and then without the lowest ranks."""
        growth = (self._pager.growth(w.seat.branch, len(w.tokens + w.proposals)) for w in plan)
        self._pager.evict(sum(growth))
        while plan:
            batch = [(work.sequence, work.tokens + work.proposals) for work in plan]
            try:
                outputs = self.model.forward(batch, logits=[work.logits for work in plan])
            except OutOfPages:
                plan = self._shed(plan)
                continue
            except Exception as error:  # noqa: BLE001
                if len(plan) > 1:  # find out whose it is
                    return [output for work in plan for output in self._forward([work])]
                self._fail(plan[0].seat.request, error)
                break
            self._stats.computed_tokens += sum(len(tokens) for _, tokens in batch)
            return list(zip(plan, outputs, strict=True))
        return []

    def _shed(self, plan: list[Work]) -> list[Work]:
        """A plan that needs fewer pages, or the same with more pages free."""
        if any(work.proposals for work in plan):
            return [work._replace(proposals=[]) for work in plan]
        self._pager.free_some(self._queue)
        return [work for work in plan if work.seat.branch.sequence is not None]

    def _advance(self, work: Work, logits: FloatArray | None) -> None:
        """Samples, streams, and lets go of what has ended."""
        request, branch = work.seat.request, work.seat.branch
        if self._cache is not None and len(work.tokens) > 1:
            self._cache.insert(work.sequence)
        if logits is None:
            return
        advancing = [work.seat]
        if branch.generated == 0:
            for index in range(1, request.params.branches):
                sibling = branch.fork(index)
                request.branches.append(sibling)
                advancing.append(self._sit(Seat.of(request, sibling)))
        rows = logits if work.logits == "all" else logits[None]
        deltas = [seat.branch.advance(rows, work.proposals) for seat in advancing]
        self._stats.generated_tokens += sum(len(delta.tokens) for delta in deltas)
        self._stats.proposed_tokens += len(work.proposals)
        self._stats.accepted_tokens += len(deltas[0].tokens) - 1
        for seat in advancing:
            assert seat.branch.sequence is not None
            if work.proposals:
                seat.branch.sequence.truncate(len(seat.branch.tokens) - 1)
            if seat.branch.finish_reason:
                self._retire(seat)
        if not request.params.ranked:
            request.handle.push(*deltas)
        if request.complete:
            self._finish(request)

    def _starve(self) -> None:
        """Nobody could be admitted, so sequences outside the scheduler hold the pages: wait."""
        waiting = [seat for seat in self._queue if not seat.request.paused]
        if not waiting:
            self._starved_since = None
            return
        now = time.monotonic()
        self._starved_since = self._starved_since or now
        if now - self._starved_since > PATIENCE:
            self._starved_since = None
            head = waiting[0]
            message = (
                f"the request needs {self._pager.pages(len(head.branch.tokens))} KV pages, but "
                f"{self.model.pages_free} of {self.model.pages_total} are free and sequences "
                f"outside the scheduler hold the rest: free them"
            )
            self._fail(head.request, OutOfPages(message))

    # ---- beginnings and ends ---------------------------------------------------------------------

    def _sit(self, seat: Seat) -> Seat:
        insort(self._queue, seat, key=lambda s: s.rank)
        return seat

    def _retire(self, seat: Seat) -> None:
        """Ends a branch; its KV is kept for the next turn of the same dialogue."""
        if self._cache is not None and seat.branch.sequence is not None:
            self._cache.insert(seat.branch.sequence)
        seat.branch.release()
        self._queue.remove(seat)

    def _leave(self, request: Request) -> None:
        for branch in request.branches:
            branch.release()
        self._queue = [seat for seat in self._queue if seat.request is not request]

    def _finish(self, request: Request) -> None:
        completion = request.completion()
        if request.params.ranked:
            request.handle.push(*(choice.as_delta() for choice in completion.choices))
        self._stats.finished += 1
        request.handle.finish(completion)

    def _cancel(self, request: Request) -> None:
        self._leave(request)
        deltas = [b.cancel() for b in request.branches if b.finish_reason is None]
        if not request.params.ranked:
            request.handle.push(*deltas)
        self._stats.cancelled += 1
        request.handle.finish(request.completion())

    def _fail(self, request: Request, error: Exception) -> None:
        self._leave(request)
        self._stats.failed += 1
        request.handle.finish(error)
