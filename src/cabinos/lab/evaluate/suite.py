"""What a suite is: cases, and how each is judged.

A verdict has a value for each measure that the case counts for. What kind a measure is says how
its values are put together: a `share` of cases that are right (0 or 1 each), a `mean` of scores,
or `bits` (a mean weighted by bytes; less is better).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from cabinos.kernel.driver import Model, Tool
    from cabinos.lab.evaluate.logprob import Scorer

__all__ = ["Brain", "Case", "Kind", "Need", "Suite", "Verdict", "chosen"]

Kind = Literal["share", "mean", "bits"]
Need = Literal["model", "scorer"]  # something to converse with, or something that scores texts


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to judge. Its id is unique in its suite and the same in every run."""

    id: str
    group: str
    data: Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a case went: a value for each measure it counts for, and why it was not right."""

    scores: Mapping[str, float]
    note: str = ""
    weight: float = 1.0


@dataclass(slots=True)
class Brain:
    """What is measured: a model to converse with, or a scorer of texts, or both."""

    model: "Model | None" = None
    scorer: "Scorer | None" = None
    tools: "Sequence[Tool]" = field(default_factory=tuple)  # of the devices there are
    seed: int = 0


class Suite(Protocol):
    """A named set of cases. `batch` of them are judged at once, by `workers` side by side."""

    @property
    def name(self) -> str:
        """How it is called."""

    @property
    def measures(self) -> Mapping[str, Kind]:
        """What is measured, and how its values are put together."""

    @property
    def batch(self) -> int:
        """Cases that are judged at once."""

    @property
    def workers(self) -> int:
        """Batches that are judged side by side."""

    @property
    def needs(self) -> Need:
        """What of a brain it uses."""

    def cases(self) -> Sequence[Case]:
        """All cases, in an order that does not depend on the machine."""

    async def judge(self, brain: Brain, cases: Sequence[Case]) -> Sequence[Verdict]:
        """A verdict for each of the cases."""


def chosen(cases: Sequence[Case], limit: int | None, seed: int) -> list[Case]:
    """`limit` of the cases: from each group its share, so that a part stands for the whole.

    A larger limit takes the same cases and more.
    """
    if limit is None or limit >= len(cases):
        return list(cases)
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.group, []).append(case)
    ranked = []
    for group, members in groups.items():
        Random(f"{seed}/{group}").shuffle(members)  # noqa: S311 - no secret
        ranked += [((n + 0.5) / len(members), group, case) for n, case in enumerate(members)]
    ranked.sort(key=lambda item: item[:2])
    return [case for _, _, case in ranked[:limit]]
