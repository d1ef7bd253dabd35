"""Suites of sentences to be ended: which of some candidates would a model put there?

They are ranked by how much likelier the question makes them, ln P(candidate | question) -
ln P(candidate | "The answer is"), so that what is likely anywhere has no advantage (Holtzman et al.
2021, arXiv:2104.08315).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from cabinos.lab.evaluate.suite import Brain, Case, Kind, Need, Verdict

if TYPE_CHECKING:
    from cabinos.lab.evaluate.logprob import Scorer

__all__ = ["Cloze", "likeliest"]

ANYWHERE = "The answer is"


class Cloze:
    """Share of cases whose right end is ranked first.

    A case's data is the question and its candidates, the right one first.
    """

    measures: ClassVar[Mapping[str, Kind]] = {"first of ten": "share"}
    workers = 1
    needs: Need = "scorer"

    def __init__(self, cases: Sequence[Case]) -> None:
        self._cases = cases

    def cases(self) -> Sequence[Case]:
        """See `Suite`."""
        return self._cases

    async def judge(self, brain: Brain, cases: Sequence[Case]) -> Sequence[Verdict]:
        """See `Suite`."""
        assert brain.scorer is not None
        verdicts = []
        for case in cases:
            question, candidates = case.data
            best = likeliest(brain.scorer, question, candidates)
            note = "" if best == 0 else f"{question} {candidates[best]}, not {candidates[0]}"
            verdicts.append(Verdict({"first of ten": float(best == 0)}, note))
        return verdicts


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
