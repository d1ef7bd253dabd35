"""Two rankings made one, with the reasons kept.

The convex combination of Bruch, Gai and Ingber 2022 (arXiv:2210.11934): each score is divided by
the best of its kind for this query, the lower end being the one its theory gives (BM25: 0, no word;
cosine: 0, nothing in common). It keeps what ranks alone forget: by how much one is better.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["DENSE", "Fused", "fuse"]

DENSE = 0.4  # share of the vectors' score


@dataclass(frozen=True, slots=True)
class Fused:
    """One thing found. Ranks count from 1; 0: not among the best of that kind."""

    id: int
    score: float  # 0 .. 1
    bm25: float
    lexical_rank: int
    cosine: float
    dense_rank: int


def fuse(
    lexical: Mapping[int, float], dense: Mapping[int, float], nearest: int, share: float = DENSE
) -> list[Fused]:
    """What either knows, the best first; equals in the order of their ids.

    `lexical` are the BM25 scores of what holds words of the query, `dense` the cosines of all that
    may be found, of which the first `nearest` count as found by their vectors.
    """
    by_words = {key: rank for rank, key in enumerate(_best(lexical), 1)}
    by_vector = {key: rank for rank, key in enumerate(_best(dense)[:nearest], 1)}
    if not by_vector:
        share = 0.0
    elif not by_words:
        share = 1.0
    most = max(lexical.values(), default=0.0) or 1.0
    closest = max(max(dense.values(), default=0.0), 1e-9)
    found = []
    for key in by_words.keys() | by_vector.keys():
        bm25, cosine = lexical.get(key, 0.0), dense.get(key, 0.0)
        score = (1 - share) * bm25 / most + share * max(cosine, 0.0) / closest
        found.append(Fused(key, score, bm25, by_words.get(key, 0), cosine, by_vector.get(key, 0)))
    found.sort(key=lambda one: (-one.score, one.id))
    return found


def _best(scores: Mapping[int, float]) -> list[int]:
    return sorted(scores, key=lambda key: (-scores[key], key))
