"""From logits to one token: penalties, filters and a seeded draw.

The chain follows the order of Hugging Face `generate` (llama.cpp starts the same way and scales by
temperature last):

    logit bias → repetition, presence, frequency penalties → constraint mask
    → temperature → top-k → top-p → min-p → typical → draw

The random number of each draw is a pure function of (seed, branch, tokens drawn before), so a
sequence that is forked, swapped out, batched with others or decoded speculatively goes on exactly
as it would have alone: a sampler has no state but the tokens.
"""

import math
import secrets
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from cabinos.engine.constraints import Constraint
from cabinos.engine.errors import EngineError, InvalidRequest

Logits = NDArray[np.float32]

SEED_BITS = 63
MAX_TOP_LOGPROBS = 100


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How one request is to be continued. The defaults sample the model's own distribution.

    Raises InvalidRequest, naming the field, if a value makes no sense.
    """

    max_tokens: int | None = None  # tokens to generate; None: until the context is full
    temperature: float = 1.0  # 0 is greedy
    top_k: int = 0  # 0: off
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0  # over the prompt and the generated text
    presence_penalty: float = 0.0  # over the generated text
    frequency_penalty: float = 0.0  # over the generated text
    penalty_window: int | None = None  # the penalties look back this many tokens; None: all
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None  # None: drawn by the operating system, see `with_seed`
    stop: tuple[str, ...] = ()  # generation ends before any of these texts
    stop_token_ids: tuple[int, ...] = ()
    show_token_ids: tuple[int, ...] = ()  # control tokens whose names are part of the text
    ignore_eos: bool = False  # treat an end token as an ordinary one
    logprobs: int | None = None  # None: none; 0: of the chosen token; n: and the n likeliest
    n: int = 1  # continuations to return
    best_of: int | None = None  # continuations to generate; the n likeliest per token are kept
    constraint: Constraint | None = None

    def __post_init__(self) -> None:
        need = _Requirement(self)
        need.number("temperature", low=0.0)
        need.number("top_p", low=0.0, high=1.0, above_low=True)
        need.number("min_p", low=0.0, high=1.0)
        need.number("typical_p", low=0.0, high=1.0, above_low=True)
        need.number("repetition_penalty", low=0.0, above_low=True)
        need.number("presence_penalty")
        need.number("frequency_penalty")
        need.integer("top_k", low=0)
        need.integer("max_tokens", low=1, optional=True)
        need.integer("penalty_window", low=0, optional=True)
        need.integer("seed", low=0, high=2**SEED_BITS - 1, optional=True)
        need.integer("logprobs", low=0, high=MAX_TOP_LOGPROBS, optional=True)
        need.integer("n", low=1)
        need.integer("best_of", low=self.n, optional=True)
        need.texts("stop")
        need.token_ids("stop_token_ids", self.stop_token_ids)
        need.token_ids("show_token_ids", self.show_token_ids)
        need.token_ids("logit_bias", self.logit_bias)
        for token, bias in self.logit_bias.items():
            if not isinstance(bias, int | float) or math.isnan(bias) or bias == math.inf:
                raise InvalidRequest(f"logit_bias of token {token} must be a number, not {bias!r}")
        if self.constraint is not None and not isinstance(self.constraint, Constraint):
            raise InvalidRequest(
                f"constraint must be a Constraint, such as Constraint.regex('[0-9]+'), "
                f"not {self.constraint!r}"
            )

    @property
    def branches(self) -> int:
        """How many continuations are generated."""
        return self.best_of or self.n

    @property
    def ranked(self) -> bool:
        """Whether more continuations are generated than returned."""
        return self.branches > self.n

    def with_seed(self) -> Self:
        """These parameters with a seed: the same one, or else a fresh one."""
        if self.seed is not None:
            return self
        return replace(self, seed=secrets.randbits(SEED_BITS))

    def check_vocabulary(self, vocab_size: int) -> None:
        """Raises InvalidRequest if a token id is not below `vocab_size`."""
        for name, ids in (("stop_token_ids", self.stop_token_ids), ("logit_bias", self.logit_bias)):
            for token in ids:
                if token >= vocab_size:
                    raise InvalidRequest(
                        f"{name}: token {token} is not in the vocabulary of {vocab_size}"
                    )


class _Requirement:
    """Checks one parameter at a time and says what it must be."""

    def __init__(self, params: SamplingParams) -> None:
        self._params = params

    def number(
        self, name: str, *, low: float = -math.inf, high: float = math.inf, above_low: bool = False
    ) -> None:
        value = getattr(self._params, name)
        good = isinstance(value, int | float) and not isinstance(value, bool)
        good = good and math.isfinite(value) and low <= value <= high
        if not good or (above_low and value == low):
            bounds = [f"{'above' if above_low else 'at least'} {low:g}"] if low > -math.inf else []
            bounds += [f"at most {high:g}"] if high < math.inf else []
            wanted = " ".join(["a finite number", " and ".join(bounds)]).rstrip()
            raise InvalidRequest(f"{name} must be {wanted}, not {value!r}")

    def integer(
        self, name: str, *, low: int, high: int | None = None, optional: bool = False
    ) -> None:
        value = getattr(self._params, name)
        if value is None and optional:
            return
        good = isinstance(value, int) and not isinstance(value, bool)
        if not good or value < low or (high is not None and value > high):
            upper = f" and at most {high}" if high is not None else ""
            raise InvalidRequest(
                f"{name} must be a whole number of at least {low}{upper}, not {value!r}"
            )

    def texts(self, name: str) -> None:
        value = getattr(self._params, name)
        if not isinstance(value, tuple) or not all(isinstance(s, str) and s for s in value):
            raise InvalidRequest(f"{name} must be a tuple of non-empty strings, not {value!r}")

    def token_ids(self, name: str, ids: object) -> None:
        good = isinstance(ids, tuple | Mapping) and all(isinstance(t, int) and t >= 0 for t in ids)
        if not good:
            raise InvalidRequest(f"{name} must hold token ids, whole numbers from 0, not {ids!r}")


class SampledToken(NamedTuple):
    """One sampled token.

    Log-probabilities are natural logarithms under the model itself, before bias, penalties, mask,
    temperature and filters, so that they agree with `score`.
    """

    id: int
    logprob: float | None  # None unless asked for
    top_logprobs: tuple[tuple[int, float], ...] = ()  # (token id, log-probability), likeliest first


class Sampler:
    """Draws the tokens of one sequence.

    `prompt` are the tokens before the first draw (the repetition penalty looks at them); `branch`
    numbers the continuations of one prompt, each with its own random numbers from the same seed.
    With the tokens `generated` so far, a new sampler goes on where another one stopped.
    """

    def __init__(
        self,
        params: SamplingParams,
        prompt: Sequence[int] = (),
        *,
        branch: int = 0,
        generated: Sequence[int] = (),
    ) -> None:
        self.params = params.with_seed()
        self._branch = branch
        self._history = array("i", [*prompt, *generated])
        self._prompt_length = len(prompt)
        # Philox (Salmon et al. 2011) counts instead of mixing a state: each (seed, branch) is a
        # stream of its own, and any place in it can be reached. One 64-bit output is one draw.
        philox = np.random.Philox(key=self.seed + (branch << 64))
        philox.random_raw(len(generated), output=False)
        self._random = np.random.Generator(philox)
        self._bias_ids = np.fromiter(params.logit_bias.keys(), np.int64)
        self._bias = np.fromiter(params.logit_bias.values(), np.float32)
        self._penalised = (
            params.repetition_penalty != 1.0
            or params.presence_penalty != 0.0
            or params.frequency_penalty != 0.0
        )
        self._logprobs = params.logprobs is not None or params.ranked

    @property
    def seed(self) -> int:
        """The seed in use, also where the parameters left it open."""
        assert self.params.seed is not None
        return self.params.seed

    def sample(self, logits: Logits, allowed: NDArray[np.bool_] | None = None) -> SampledToken:
        """The next token from `logits` [vocab]; with `allowed` [vocab], only tokens it marks.

        Raises EngineError if no token has a finite logit.
        """
        scores = self._penalise(logits) if self._penalised or len(self._bias) else logits
        if allowed is None:
            token = self._choose(scores)
        else:
            ids = np.flatnonzero(allowed)
            if not len(ids):
                raise EngineError("the constraint allows no token at all")
            token = int(ids[self._choose(scores[ids])])
        self._history.append(token)
        if not self._logprobs:
            return SampledToken(token, None)
        logprobs = log_softmax(logits)
        top = top_logprobs(logprobs, self.params.logprobs or 0)
        return SampledToken(token, float(logprobs[token]), top)

    def fork(self) -> Self:
        """A sampler that goes on from here in the same way."""
        prompt = self._history[: self._prompt_length]
        generated = self._history[self._prompt_length :]
        return type(self)(self.params, prompt, branch=self._branch, generated=generated)

    def _choose(self, scores: Logits) -> int:
        """An index into `scores`."""
        best = int(scores.argmax())
        if not math.isfinite(scores[best]):
            raise EngineError(f"no token can be sampled: the largest logit is {scores[best]}")
        if self.params.temperature == 0:
            return best
        # Relative to the largest, so that exp cannot overflow at any temperature.
        with np.errstate(over="ignore"):
            weights = np.exp((scores - scores[best]) * np.float32(1 / self.params.temperature))
        ids = filter_tokens(weights, self.params)
        u = self._random.random()
        if ids is None:
            return draw(weights, u)
        return int(ids[draw(weights[ids], u)])

    def _penalise(self, logits: Logits) -> Logits:
        """A copy of `logits` [vocab] with bias and penalties applied."""
        p = self.params
        scores = logits.copy()
        if len(self._bias):
            scores[self._bias_ids] += self._bias
        if not self._penalised or p.penalty_window == 0:
            return scores
        history = np.frombuffer(self._history, np.int32)
        start = max(0, len(history) - p.penalty_window) if p.penalty_window is not None else 0
        if p.repetition_penalty != 1.0 and start < len(history):
            # Keskar et al. 2019 (CTRL, arXiv:1909.05858), with the sign case of Hugging Face.
            seen = np.unique(history[start:])
            old = scores[seen]
            penalty = np.float32(p.repetition_penalty)
            scores[seen] = np.where(old > 0, old / penalty, old * penalty)
        made = history[max(start, self._prompt_length) :]
        if len(made):
            # OpenAI API reference: logit -= count · frequency + [count > 0] · presence.
            tokens, counts = np.unique(made, return_counts=True)
            cost = counts * p.frequency_penalty + p.presence_penalty
            scores[tokens] -= cost.astype(np.float32)
        return scores


def filter_tokens(weights: Logits, params: SamplingParams) -> NDArray[np.intp] | None:
    """Which tokens top-k, top-p, min-p and typical leave, in ascending order of id.

    `weights` [n] are probabilities up to a factor, the largest 1. None means all of them.
    """
    ids: NDArray[np.intp] | None = None

    def narrow(kept: NDArray[np.intp]) -> None:
        nonlocal ids, weights
        ids = kept if ids is None else ids[kept]
        weights = weights[kept]

    if 0 < params.top_k < len(weights):  # Fan et al. 2018; ties with the k-th stay
        place = len(weights) - params.top_k
        narrow(np.flatnonzero(weights >= np.partition(weights, place)[place]))
    if params.top_p < 1:  # Holtzman et al. 2020, nucleus sampling (arXiv:1904.09751)
        total = float(weights.sum(dtype=np.float64))
        # All tokens below this weight together miss less than 1 - top_p: most of a vocabulary.
        narrow(np.flatnonzero(weights >= (1 - params.top_p) * total / len(weights)))
        narrow(_smallest_set(weights, ~weights.view(np.uint32), params.top_p * total))
    if params.min_p > 0:  # Nguyen et al. 2024 (arXiv:2407.01082)
        narrow(np.flatnonzero(weights >= np.float32(params.min_p)))
    if params.typical_p < 1:  # Meister et al. 2023, locally typical sampling (arXiv:2202.00666)
        total = float(weights.sum(dtype=np.float64))
        p = weights / np.float32(total)
        surprise = -np.log(np.maximum(p, np.finfo(np.float32).tiny))
        oddness = np.abs(surprise - (p * surprise).sum(dtype=np.float64)).astype(np.float32)
        narrow(_smallest_set(weights, oddness.view(np.uint32), params.typical_p * total))
    return ids


def _smallest_set(weights: Logits, rank: NDArray[np.uint32], mass: float) -> NDArray[np.intp]:
    """The fewest tokens, in order of (rank, id), whose weights add up to `mass`.

    `rank` is the bit pattern of a non-negative float, which sorts as the float does. Sorting a
    vocabulary would cost milliseconds: instead the weights are summed in 8,192 bins of rank, and
    only the bin in which the sum reaches `mass` is sorted. Returns indices, ascending.
    """
    bins = (rank >> np.uint32(19)).astype(np.intp)  # bincount is 5 times slower if it has to cast
    reached = np.bincount(bins, weights=weights.astype(np.float64)).cumsum()
    edge = min(int(np.searchsorted(reached, mass)), len(reached) - 1)
    members = np.flatnonzero(bins == edge)
    order = members[np.argsort(rank[members], kind="stable")]
    before = reached[edge - 1] if edge else 0.0
    sums = before + weights[order].cumsum(dtype=np.float64)
    chosen = bins < edge
    chosen[order[: np.searchsorted(sums, mass) + 1]] = True
    return np.flatnonzero(chosen)


def draw(weights: Logits, u: float) -> int:
    """The index at which the running sum of `weights` [n] passes the share `u` in [0, 1).

    The sum is taken over blocks first: a running sum over a whole vocabulary costs a millisecond.
    """
    block = 512
    sums = np.add.reduceat(weights, np.arange(0, len(weights), block), dtype=np.float64).cumsum()
    target = u * sums[-1]
    i = int(np.searchsorted(sums, target, side="right"))
    inside = weights[i * block : (i + 1) * block]
    before = sums[i - 1] if i else 0.0
    j = int(np.searchsorted(before + inside.cumsum(dtype=np.float64), target, side="right"))
    # The two sums may differ in the last bit: never step past the last token with any weight.
    return i * block + min(j, int(np.flatnonzero(inside)[-1]))


def log_softmax(logits: Logits) -> Logits:
    """Natural log-probabilities along the last axis of `logits` [..., vocab]."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    total = np.exp(shifted).sum(axis=-1, keepdims=True, dtype=np.float64)
    logprobs: Logits = (shifted - np.log(total)).astype(np.float32)
    return logprobs


def top_logprobs(logprobs: Logits, n: int) -> tuple[tuple[int, float], ...]:
    """The `n` likeliest tokens of `logprobs` [vocab] as (id, log-probability), likeliest first."""
    if n == 0:
        return ()
    n = min(n, len(logprobs))
    ids = np.argpartition(-logprobs, n - 1)[:n]
    order = ids[np.lexsort((ids, -logprobs[ids]))]
    return tuple((int(t), float(logprobs[t])) for t in order)
