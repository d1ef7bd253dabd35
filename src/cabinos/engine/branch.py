"""A branch: one continuation of one prompt, from logits to tokens to text.

It knows nothing of batches: the scheduler, or the plain loop in `generate`, computes logits and
hands them to `advance`. The rule that keeps both simple: `tokens` are all tokens so far, `sequence`
holds the KV of the first len(sequence) of them, and the rest is pending. A prompt, a decode step
and a recomputation differ only in how much is pending.
"""

from collections.abc import Sequence as Tokens
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from cabinos.engine.constraints import ConstraintState
from cabinos.engine.model import Sequence
from cabinos.engine.request import Choice, Delta, FinishReason
from cabinos.engine.sampling import SampledToken, Sampler, SamplingParams
from cabinos.engine.speculation import Proposer, Speculation

if TYPE_CHECKING:
    from cabinos.engine.swap import SwapFile
    from cabinos.engine.tokenizer import Tokenizer

START_REACH = 4
MAX_REACH = 16


class StopText:
    """Cuts a stream of text before any of the `stops`, wherever the pieces are split."""

    def __init__(self, stops: Tokens[str]) -> None:
        self._stops = stops
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """The text that can be released after `text` has come, and whether a stop was found."""
        if not self._stops:
            return text, False
        self._held += text
        found = [(at + len(s), at) for s in self._stops if (at := self._held.find(s)) >= 0]
        if found:
            _, start = min(found)  # the first to be complete, so that the split does not matter
            released, self._held = self._held[:start], ""
            return released, True
        keep = max(self._overlap(stop) for stop in self._stops)
        cut = len(self._held) - keep
        released, self._held = self._held[:cut], self._held[cut:]
        return released, False

    def flush(self) -> str:
        """The text held back, once it is clear that no more comes."""
        released, self._held = self._held, ""
        return released

    def _overlap(self, stop: str) -> int:
        """How much of the held text's end is a beginning of `stop`."""
        longest = min(len(stop) - 1, len(self._held))
        return next(n for n in range(longest, -1, -1) if self._held.endswith(stop[:n]))


class Branch:
    """One continuation; `limit` is the most positions its sequence can ever hold."""

    def __init__(
        self,
        tokenizer: "Tokenizer",
        prompt: Tokens[int],
        params: SamplingParams,
        *,
        limit: int,
        constraint: ConstraintState | None = None,
        speculation: Speculation | None = None,
        index: int = 0,
    ) -> None:
        self.index = index
        self.tokens = list(prompt)
        self.params = params
        self.constraint = constraint
        self.sequence: Sequence | None = None
        self.swap: SwapFile | None = None
        self.finish_reason: FinishReason | None = None
        self.logprob_sum = 0.0
        self._prompt_length = len(prompt)
        self._limit = limit
        self._sampler = Sampler(params, prompt, branch=index)
        self._speculation = speculation
        self._proposer: Proposer | None = speculation.proposer() if speculation else None
        self._reach = START_REACH
        self._tokenizer = tokenizer
        self._detokenizer = tokenizer.detokenizer(show=params.show_token_ids)
        self._stop_text = StopText(params.stop)
        self._end_ids = frozenset(params.stop_token_ids)
        if not params.ignore_eos:
            self._end_ids |= tokenizer.end_ids
        self._text: list[str] = []
        self._logprobs: list[SampledToken] = []

    @property
    def generated(self) -> int:
        """Tokens sampled so far."""
        return len(self.tokens) - self._prompt_length

    @property
    def computed(self) -> int:
        """Tokens whose KV is held."""
        return len(self.sequence) if self.sequence is not None else 0

    @property
    def seed(self) -> int:
        """The seed of the sampler."""
        return self._sampler.seed

    def fork(self, index: int) -> Self:
        """Continuation number `index` of the same prompt; only before the first token."""
        other = type(self)(
            self._tokenizer,
            self.tokens,
            self.params,
            limit=self._limit,
            constraint=self.constraint.fork() if self.constraint else None,
            speculation=self._speculation,
            index=index,
        )
        other.sequence = self.sequence.fork() if self.sequence is not None else None
        return other

    def propose(self, allowance: int = MAX_REACH) -> list[int]:
        """At most `allowance` tokens that may well come next, to be checked in one step.

        What the constraint leaves no choice about is free; then the request's own speculation.
        """
        room = self._limit - len(self.tokens)
        if self.params.max_tokens is not None:
            room = min(room, self.params.max_tokens - self.generated - 1)
        count = min(room, self._reach, allowance)
        if count <= 0:
            return []
        if self.constraint is not None and (forced := self.constraint.forced()):
            return forced[:count]
        if self._proposer is None:
            return []
        proposals = self._proposer.propose(self.tokens, self._sampler, self.constraint, count)
        if self.constraint is not None:
            proposals = proposals[: self.constraint.longest_valid(proposals)]
        return proposals

    def advance(self, logits: NDArray[np.float32], proposals: Tokens[int] = ()) -> Delta:
        """Samples from `logits` [1 + len(proposals), vocab]: row i follows proposals[:i].

        Each token is drawn exactly as without proposals, and row i + 1 is used only if the token
        drawn from row i is proposals[i]: so proposals change the speed and never the output.
        """
        sampled: list[SampledToken] = []
        pieces: list[str] = []
        for i, row in enumerate(logits):
            token = self._sampler.sample(row, self.constraint.mask() if self.constraint else None)
            sampled.append(token)
            pieces.append(self._accept(token))
            if self.finish_reason or i == len(proposals) or token.id != proposals[i]:
                break
        if proposals:
            # The schedule of Hugging Face's assisted generation ("heuristic").
            all_accepted = len(sampled) > len(proposals)
            self._reach += 2 if all_accepted else -1
            self._reach = min(max(self._reach, 1), MAX_REACH)
        return self._delta("".join(pieces), sampled)

    def cancel(self) -> Delta:
        """Ends the continuation; releases the text that was held back."""
        self.finish_reason = "cancelled"
        return self._delta(self._rest(), [])

    def choice(self) -> Choice:
        """The whole continuation, once it has ended."""
        assert self.finish_reason is not None
        logprobs = tuple(self._logprobs) if self.params.logprobs is not None else None
        return Choice(
            index=self.index,
            text="".join(self._text),
            tokens=tuple(self.tokens[self._prompt_length :]),
            logprobs=logprobs,
            finish_reason=self.finish_reason,
        )

    def release(self) -> None:
        """Frees pages, swap file and draft; idempotent."""
        if self.sequence is not None:
            self.sequence.free()
            self.sequence = None
        if self.swap is not None:
            self.swap.close()
            self.swap = None
        if self._proposer is not None:
            self._proposer.close()
            self._proposer = None

    def _accept(self, token: SampledToken) -> str:
        """Appends `token`, decides whether it is the last, returns the text it releases."""
        self.tokens.append(token.id)
        self.logprob_sum += token.logprob or 0.0
        text = ""
        if token.id in self._end_ids:
            self.finish_reason = "stop"
        else:
            known = token.id < self._tokenizer.vocab_size  # a model may have more rows, for padding
            text = self._detokenizer.push(token.id) if known else ""
            text, stopped = self._stop_text.push(text)
            if self.constraint is not None:
                self.constraint.consume(token.id)
                stopped = stopped or self.constraint.finished
            if stopped:
                self.finish_reason = "stop"
            elif self.generated == self.params.max_tokens or len(self.tokens) > self._limit:
                self.finish_reason = "length"
        if self.finish_reason:
            text += self._rest()
        return text

    def _rest(self) -> str:
        """The text still held back when nothing more comes."""
        text, _ = self._stop_text.push(self._detokenizer.flush())
        return text + self._stop_text.flush()

    def _delta(self, text: str, sampled: list[SampledToken]) -> Delta:
        self._text.append(text)
        logprobs = None
        if self.params.logprobs is not None:
            self._logprobs += sampled
            logprobs = tuple(sampled)
        ids = tuple(token.id for token in sampled)
        return Delta(self.index, text, ids, logprobs, self.finish_reason)
