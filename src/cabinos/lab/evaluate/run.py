"""From cases to verdicts: several at once, each written down when it is there."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from cabinos.lab.evaluate.results import Results
from cabinos.lab.evaluate.suite import Brain, Case, Suite

__all__ = ["Watcher", "evaluate"]


class Watcher(Protocol):
    """Something that is told how far an evaluation has come."""

    def begin(self, suite: Suite, done: int, total: int) -> None:
        """A suite begins, of which so many cases were done before."""

    def judged(self, suite: Suite, count: int) -> None:
        """So many more cases are done."""


async def evaluate(
    suite: Suite, brain: Brain, cases: Sequence[Case], results: Results, watcher: Watcher
) -> None:
    """Judges those of the cases that `results` does not have yet.

    Whoever cancels it keeps what is done. An error of one case is an error of the evaluation: what
    a model does wrong is a verdict, not an error.
    """
    missing = [case for case in cases if (suite.name, case.id) not in results.done]
    watcher.begin(suite, len(cases) - len(missing), len(cases))
    batches = _batches(missing, suite.batch)

    async def work() -> None:
        for batch in batches:  # shared: each worker takes the next
            began = time.monotonic()
            verdicts = await suite.judge(brain, batch)
            seconds = (time.monotonic() - began) / len(batch)
            for case, verdict in zip(batch, verdicts, strict=True):
                results.add(suite.name, case, verdict, seconds)
            watcher.judged(suite, len(batch))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(suite.workers, -(-len(missing) // suite.batch))):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _batches(cases: Sequence[Case], size: int) -> Iterator[Sequence[Case]]:
    for start in range(0, len(cases), size):
        yield cases[start : start + size]
