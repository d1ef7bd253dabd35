"""The scheduler's queue: requests, the seats of their branches by rank, and one step's work."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from cabinos.engine.branch import Branch
from cabinos.engine.model import Sequence
from cabinos.engine.request import Completion, Handle


class Request:
    """One submitted request. Its first branch computes the prompt; the others are forked there."""

    def __init__(
        self,
        first: Branch,
        priority: int,
        number: int,
        *,
        cancel: Callable[["Request"], None],
        pause: Callable[["Request", bool], None],
    ) -> None:
        self.params = first.params
        self.prompt_tokens = len(first.tokens)
        self.cached_tokens = 0
        self.branches = [first]
        self.priority = priority
        self.number = number  # of arrival
        self.paused = False  # takes no part in steps
        self.handle = Handle(lambda: cancel(self), lambda paused: pause(self, paused))

    @property
    def complete(self) -> bool:
        """Whether every branch has ended."""
        return all(branch.finish_reason for branch in self.branches)

    def completion(self) -> Completion:
        """The n branches asked for; of best_of, those likeliest per token, the likeliest first."""
        kept = self.branches
        if self.params.ranked:
            kept = sorted(kept, key=lambda b: -b.logprob_sum / max(1, b.generated))
            kept = kept[: self.params.n]
            for index, branch in enumerate(kept):
                branch.index = index
        return Completion(
            choices=tuple(branch.choice() for branch in kept),
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            seed=kept[0].seed,
        )


class Seat(NamedTuple):
    """One branch in the queue; it keeps its rank when it is swapped out."""

    rank: tuple[int, int, int]  # (-priority, arrival, branch): lower goes first
    branch: Branch
    request: Request

    @classmethod
    def of(cls, request: Request, branch: Branch) -> "Seat":
        """The seat of one branch of `request`."""
        return cls((-request.priority, request.number, branch.index), branch, request)


class Work(NamedTuple):
    """What one branch does in one step: feed its next tokens, then have proposals checked."""

    seat: Seat
    tokens: list[int]
    proposals: list[int]
    logits: Literal["last", "all", "none"]

    @property
    def sequence(self) -> Sequence:
        """The sequence it extends."""
        sequence = self.seat.branch.sequence
        assert sequence is not None
        return sequence
