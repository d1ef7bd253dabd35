"""Where a policy had a choice, and among what: what its probabilities are over.

A token that the grammar left no choice about was no decision, and nothing is learnt from it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cabinos.train.errors import TrainError
from cabinos.train.rl.rollouts import Said, Sample

if TYPE_CHECKING:
    from cabinos.engine.tokenizer import Tokenizer

__all__ = ["Decisions", "decisions"]


@dataclass(frozen=True)
class Decisions:
    """The n decisions of one sample."""

    places: NDArray[np.int64]  # [n], in the sample's ids
    allowed: NDArray[np.uint8]  # [n, ceil(V / 8)], bits of the tokens that could be drawn
    engine: NDArray[np.float32]  # [n], log-probabilities without the grammar, by the engine


def decisions(sample: Sample, tokenizer: "Tokenizer", vocabulary: int) -> Decisions:
    """The decisions of a sample. Raises TrainError if a grammar does not fit what was drawn."""
    places, masks, engine = [], [], []
    for said in sample.said:
        for offset, mask in enumerate(_masks(said, sample.ids, tokenizer, vocabulary)):
            if mask is None or mask.sum() > 1:
                places.append(said.start + offset)
                masks.append(np.full(vocabulary, True) if mask is None else mask)
                engine.append(said.logprobs[offset])
    bits = [np.packbits(mask, bitorder="little") for mask in masks]
    empty = np.zeros((0, -(-vocabulary // 8)), np.uint8)
    return Decisions(
        np.array(places, np.int64),
        np.stack(bits) if bits else empty,
        np.array(engine, np.float32),
    )


def _masks(
    said: Said, ids: list[int], tokenizer: "Tokenizer", vocabulary: int
) -> "Iterator[NDArray[np.bool_] | None]":
    """For each token drawn, which ones the grammar allowed there; None: all."""
    from cabinos.engine.constraints import Constraint
    from cabinos.engine.errors import EngineError

    if said.grammar is None:
        yield from (None for _ in said.logprobs)
        return
    kind, source = said.grammar
    try:
        state = Constraint(kind, source).compile(tokenizer, vocabulary)  # type: ignore[arg-type]
        for token in ids[said.start : said.start + len(said.logprobs)]:
            mask = state.mask()
            if not mask[token]:
                raise TrainError(f"a rollout has token {token} where its grammar forbids it.")
            yield mask
            if token not in tokenizer.end_ids:
                state.consume(token)
    except EngineError as error:
        raise TrainError(f"a rollout does not fit its grammar: {error}") from None
