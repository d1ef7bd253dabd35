"""The plain loop: one prompt, one sequence, no scheduler; and the log-probabilities of a text.

For many requests at once use `scheduler.Scheduler`: the tokens are the same.
"""

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Tokens
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cabinos.engine.branch import Branch
from cabinos.engine.errors import ContextOverflow, InvalidRequest, OutOfPages
from cabinos.engine.model import Model
from cabinos.engine.request import Delta
from cabinos.engine.sampling import SamplingParams, log_softmax
from cabinos.engine.speculation import Speculation

if TYPE_CHECKING:
    from cabinos.engine.tokenizer import Tokenizer

FloatArray = NDArray[np.float32]
Rows = Callable[[], FloatArray | None]

PREFILL_CHUNK = 512
SCORE_CHUNK = 64  # positions whose logits are held at once: 32 MB at 128k tokens of vocabulary


def positions_limit(model: Model) -> int:
    """The most positions one sequence can hold: the model's context, or its KV pool if smaller."""
    return min(model.context_length, model.pages_total * model.page_tokens)


def check_prompt(model: Model, prompt: Tokens[int]) -> None:
    """Raises InvalidRequest, ContextOverflow or OutOfPages if `prompt` can never be served."""
    if not prompt:
        raise InvalidRequest("the prompt is empty: give at least one token, such as the BOS token")
    bad = next((t for t in prompt if not 0 <= t < model.vocab_size), None)
    if bad is not None:
        raise InvalidRequest(
            f"prompt: token {bad} is not in the vocabulary of {model.vocab_size} tokens"
        )
    if len(prompt) > model.context_length:
        raise ContextOverflow(
            f"the prompt has {len(prompt)} tokens, but the model's context holds "
            f"{model.context_length}: shorten it"
        )
    if len(prompt) > (fits := positions_limit(model)):
        raise OutOfPages(
            f"the prompt has {len(prompt)} tokens, but the KV pool holds {fits}: shorten it or "
            f"open the model with kv_tokens of at least {len(prompt)}"
        )


def start_branch(
    model: Model,
    tokenizer: "Tokenizer",
    prompt: Tokens[int],
    params: SamplingParams,
    speculation: Speculation | None = None,
) -> Branch:
    """A branch of which nothing is computed yet. Raises as `check_prompt`, and InvalidRequest."""
    check_prompt(model, prompt)
    params.check_vocabulary(model.vocab_size)
    if speculation is not None:
        speculation.check(model)
    constraint = params.constraint
    return Branch(
        tokenizer,
        prompt,
        params,
        limit=positions_limit(model),
        constraint=constraint.compile(tokenizer, model.vocab_size) if constraint else None,
        speculation=speculation,
    )


def generate(
    model: Model,
    tokenizer: "Tokenizer",
    prompt: Tokens[int],
    params: SamplingParams | None = None,
    *,
    speculation: Speculation | None = None,
) -> Iterator[Delta]:
    """Streams one continuation of `prompt`, on the caller's thread.

    Raises InvalidRequest, ContextOverflow or OutOfPages. Closing the iterator frees the pages.
    """
    params = params or SamplingParams()
    if params.branches > 1:
        raise InvalidRequest("generate gives one continuation: n and best_of need a Scheduler")
    branch = start_branch(model, tokenizer, prompt, params, speculation)
    try:
        sequence = branch.sequence = model.sequence()
        before = prompt[:-1]
        for start in range(0, len(before), PREFILL_CHUNK):
            sequence.feed(before[start : start + PREFILL_CHUNK], logits="none")
        while branch.finish_reason is None:
            proposals = branch.propose()
            rows = sequence.feed([branch.tokens[-1], *proposals], logits="all")
            assert rows is not None
            delta = branch.advance(rows, proposals)
            sequence.truncate(len(branch.tokens) - 1)
            yield delta
    finally:
        branch.release()


def score(
    model: Model, tokens: Tokens[int], *, run: Callable[[Rows], FloatArray | None] | None = None
) -> FloatArray:
    """The natural logarithm of P(tokens[i + 1] | tokens[: i + 1]) for each i: [len(tokens) - 1].

    `run` executes one chunk of work (the scheduler passes its own, to fit it between its steps).
    Raises as `check_prompt`.
    """
    check_prompt(model, tokens)
    logprobs = np.empty(len(tokens) - 1, np.float32)
    with model.sequence() as sequence:
        for start in range(0, len(logprobs), SCORE_CHUNK):
            end = min(start + SCORE_CHUNK, len(logprobs))
            feed = partial(sequence.feed, tokens[start:end], logits="all")
            rows = run(feed) if run else feed()
            assert rows is not None
            following = np.asarray(tokens[start + 1 : end + 1])
            logprobs[start:end] = log_softmax(rows)[np.arange(end - start), following]
    return logprobs
