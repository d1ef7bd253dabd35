"""Two rankings made one, with the reasons kept.

The convex combination of Bruch, Gai and Ingber 2022 (arXiv:2210.11934): each score is divided by
the best of its kind for this query, the lower end being the one its theory gives (BM25: 0, no word;
cosine: 0, nothing in common). It keeps what ranks alone forget: by how much one is better.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["DENSE", "Fused", "fuse"]

# Share of the vectors' score: the middle of where it hardly matters, 0.3 to 0.6, on texts that
# nothing is measured on (`bench/retrieval/share.py`).
DENSE = 0.5


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
    lexical: Mapping[int, float],
    nearest: Sequence[int],
    cosines: Mapping[int, float],
    share: float = DENSE,
) -> list[Fused]:
    """What either has found, the best first; equals in the order of their ids.

    `lexical` are BM25 scores by id, the best first; `nearest` the ids that the vectors found, the
    best first; `cosines` those of all of these. Where one found nothing, the other decides.
    """
    by_words = {key: rank for rank, key in enumerate(lexical, 1)}
    by_vector = {key: rank for rank, key in enumerate(nearest, 1)}
    if not by_vector:
        share = 0.0
    elif not by_words:
        share = 1.0
    most = max(lexical.values(), default=0.0) or 1.0
    closest = max(max(cosines.values(), default=0.0), 1e-9)
    found = []
    for key in by_words.keys() | by_vector.keys():
        bm25, cosine = lexical.get(key, 0.0), cosines.get(key, 0.0)
        score = (1 - share) * bm25 / most + share * max(cosine, 0.0) / closest
        found.append(Fused(key, score, bm25, by_words.get(key, 0), cosine, by_vector.get(key, 0)))
    found.sort(key=lambda one: (-one.score, one.id))
    return found
