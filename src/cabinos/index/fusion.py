"""Two scores made one, with the reasons kept.

The convex combination of Bruch, Gai and Ingber 2022 (arXiv:2210.11934): each score is divided by
the best of its kind for this query, the lower end being the one its theory gives (BM25: 0, no word;
cosine: 0, nothing in common). It keeps what ranks alone forget: by how much one is better.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cabinos.index.columns import Floats

__all__ = ["DENSE", "Fused", "best", "fuse", "rank"]

# Share of the vectors' score: the middle of where it hardly matters, 0.4 to 0.6, on texts that
# nothing is measured on (`bench/retrieval/share.py`).
DENSE = 0.5


@dataclass(frozen=True, slots=True)
class Fused:
    """One thing found. Ranks count from 1; 0: not found that way."""

    id: int
    score: float  # 0 .. 1
    bm25: float
    lexical_rank: int
    cosine: float  # with the query alone
    dense_rank: int
    likeness: float  # cosine with the query and the best one together, centred: it is what counts


def fuse(bm25: Floats, cosines: Floats, share: float = DENSE) -> Floats:
    """A score from 0 to 1 for each text. Where one has found nothing, the other decides."""
    most, closest = bm25.max(initial=0), cosines.max(initial=0)
    if closest <= 0:
        share = 0.0
    elif most <= 0:
        share = 1.0
    scores: Floats = np.float32((1 - share) / (most or 1)) * bm25
    scores += np.float32(share / max(closest, 1e-9)) * np.maximum(cosines, 0)
    return scores


def best(scores: Floats, limit: int) -> NDArray[np.int64]:
    """Where the highest are, in descending order; equals in the order they stand in."""
    places = np.arange(len(scores))
    if 0 < limit < len(scores):
        least = np.partition(scores, len(scores) - limit)[len(scores) - limit]
        places = np.flatnonzero(scores >= least)
    return places[np.argsort(-scores[places], kind="stable")][:limit]


def rank(value: float, values: Floats) -> int:
    """The place of one of the values among them, the highest first."""
    return int(np.count_nonzero(values > value)) + 1
