"""Which of some candidates a model would put at the end of a sentence.

They are ranked by how much likelier the question makes them, ln P(candidate | question) -
ln P(candidate | "The answer is"), so that what is likely anywhere has no advantage (Holtzman et al.
2021, arXiv:2104.08315).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cabinos.lab.evaluate.logprob import Scorer

__all__ = ["likeliest"]

ANYWHERE = "The answer is"


def likeliest(scorer: "Scorer", question: str, candidates: Sequence[str]) -> int:
    """The index of the candidate that the question makes likelier than any other."""
    texts = []
    for before in (question, ANYWHERE):
        texts += [before, *(f"{before} {candidate}" for candidate in candidates)]
    sums = scorer.sums(texts)
    here, anywhere = sums[: len(sums) // 2], sums[len(sums) // 2 :]
    gains = [
        (one - here[0]) - (other - anywhere[0])
        for one, other in zip(here[1:], anywhere[1:], strict=True)
    ]
    return max(range(len(gains)), key=gains.__getitem__)
