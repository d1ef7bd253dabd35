"""Suite `blimp`: which of two sentences a model finds more likely (Warstadt et al. 2020).

67 phenomena of English grammar with 1,000 minimal pairs each; right is the pair whose good
sentence has the larger summed log-probability. Chance is 50 %.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, ClassVar

from cabinos.lab.evaluate.suite import Brain, Case, Kind, Need, Verdict

__all__ = ["Blimp"]


class Blimp:
    """Share of pairs that are right, by phenomenon."""

    name = "blimp"
    measures: ClassVar[Mapping[str, Kind]] = {"right": "share"}
    batch, workers = 128, 1
    needs: Need = "scorer"

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self._cases = []
        for number, row in enumerate(rows):
            phenomenon = PurePosixPath(row["set"]).stem
            pair = (row["sentence_good"], row["sentence_bad"])
            self._cases.append(Case(f"{phenomenon} {number}", phenomenon, pair))

    def cases(self) -> Sequence[Case]:
        """See `Suite`."""
        return self._cases

    async def judge(self, brain: Brain, cases: Sequence[Case]) -> Sequence[Verdict]:
        """See `Suite`."""
        assert brain.scorer is not None
        sums = brain.scorer.sums([text for case in cases for text in case.data])
        return [
            Verdict({"right": float(good > bad)})
            for good, bad in zip(sums[::2], sums[1::2], strict=True)
        ]
