"""Speculative decoding: guess the next tokens cheaply, check them all in one forward pass.

The check (`Branch.advance`) draws every token with the request's own sampler, as if there had been
no guess, and keeps the run of guesses that agree. So the output is that of plain decoding, token by
token, at any temperature; a bad guess only costs time. (Leviathan et al. 2023, arXiv:2211.17192,
keep the distribution but not the very tokens.) A step over 4 tokens costs little more than one over
1, since decoding waits for the weights to come from memory.
"""

from collections.abc import Sequence as Tokens
from dataclasses import dataclass
from typing import Protocol

from cabinos.engine.constraints import ConstraintState
from cabinos.engine.errors import ContextOverflow, InvalidRequest, OutOfPages
from cabinos.engine.model import Model, Sequence
from cabinos.engine.sampling import Sampler

PREFILL_CHUNK = 512


class Proposer(Protocol):
    """Guesses for one branch."""

    def propose(
        self,
        tokens: Tokens[int],
        sampler: Sampler,
        constraint: ConstraintState | None,
        count: int,
    ) -> list[int]:
        """At most `count` tokens that may follow `tokens`; leaves all arguments as they were."""

    def close(self) -> None:
        """Frees what it holds; idempotent."""


class Speculation(Protocol):
    """A way to guess, as an option of a request."""

    def proposer(self) -> Proposer:
        """A fresh proposer for one branch."""

    def check(self, model: Model) -> None:
        """Raises InvalidRequest if it cannot serve `model`."""


@dataclass(frozen=True)
class PromptLookup:
    """Guess that text repeats: copy what followed the last occurrence of the final n-gram.

    Saxena 2023, "Prompt lookup decoding". Good for summaries, edits, code, quotations.
    """

    longest: int = 4  # n-gram sizes to look for, the longest first
    shortest: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.shortest <= self.longest:
            raise InvalidRequest(
                f"PromptLookup needs 1 ≤ shortest ≤ longest, not {self.shortest} and {self.longest}"
            )

    def proposer(self) -> Proposer:
        """A fresh index of n-grams."""
        return _Lookup(self)

    def check(self, model: Model) -> None:
        """Any model will do."""


class _Lookup:
    def __init__(self, spec: PromptLookup) -> None:
        self._sizes = range(spec.longest, spec.shortest - 1, -1)
        self._follows: dict[tuple[int, ...], int] = {}  # n-gram -> where its last successor is
        self._indexed = 0

    def propose(
        self,
        tokens: Tokens[int],
        sampler: Sampler,
        constraint: ConstraintState | None,
        count: int,
    ) -> list[int]:
        for at in range(self._indexed, len(tokens)):
            for size in self._sizes:
                if at >= size:
                    self._follows[tuple(tokens[at - size : at])] = at
        self._indexed = len(tokens)
        for size in self._sizes:
            start = self._follows.get(tuple(tokens[-size:]))
            if start is not None and len(tokens) > size:
                period = len(tokens) - start  # past the end, the copy goes on from itself
                return [tokens[start + i % period] for i in range(count)]
        return []

    def close(self) -> None:
        """Holds nothing that needs freeing."""


@dataclass(frozen=True)
class DraftModel:
    """Guess with a smaller model of the same vocabulary.

    The draft draws with a copy of the request's sampler, thus with the same random numbers: the two
    models agree as often as their distributions overlap, also at temperature.
    """

    model: Model

    def proposer(self) -> Proposer:
        """A sequence of its own in the draft model."""
        return _Draft(self.model)

    def check(self, model: Model) -> None:
        """Raises InvalidRequest if the vocabularies differ in size."""
        if model.vocab_size != self.model.vocab_size:
            raise InvalidRequest(
                f"the draft model's vocabulary has {self.model.vocab_size} tokens, the model's "
                f"{model.vocab_size}: they must be the same"
            )


class _Draft:
    def __init__(self, model: Model) -> None:
        self._model = model
        self._sequence: Sequence | None = None

    def propose(
        self,
        tokens: Tokens[int],
        sampler: Sampler,
        constraint: ConstraintState | None,
        count: int,
    ) -> list[int]:
        try:
            return self._draw(tokens, sampler.fork(), constraint, count)
        except (OutOfPages, ContextOverflow):
            self.close()  # no room in the draft model: go on without guesses
            return []

    def _draw(
        self,
        tokens: Tokens[int],
        sampler: Sampler,
        constraint: ConstraintState | None,
        count: int,
    ) -> list[int]:
        if self._sequence is None:
            self._sequence = self._model.sequence()
        sequence = self._sequence
        sequence.truncate(_common_prefix(sequence.tokens, tokens[:-1]))
        pending = list(tokens[len(sequence) :])
        while len(pending) > PREFILL_CHUNK:
            sequence.feed(pending[:PREFILL_CHUNK], logits="none")
            del pending[:PREFILL_CHUNK]
        proposals: list[int] = []
        consumed = 0
        try:
            while True:
                logits = sequence.feed(pending, logits="last")
                assert logits is not None
                token = sampler.sample(logits, constraint.mask() if constraint else None).id
                proposals.append(token)
                if len(proposals) == count:
                    return proposals
                if constraint is not None:
                    constraint.consume(token)
                    consumed += 1
                    if constraint.finished:
                        return proposals
                pending = [token]
        finally:
            if constraint is not None and consumed:
                constraint.rollback(consumed)

    def close(self) -> None:
        if self._sequence is not None:
            self._sequence.free()
            self._sequence = None


def _common_prefix(a: Tokens[int], b: Tokens[int]) -> int:
    """How many tokens `a` and `b` begin with alike."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))
