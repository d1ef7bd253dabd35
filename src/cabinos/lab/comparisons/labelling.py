"""What `cabin label` asks: each thing once, on random sides, and one in ten a second time.

A log holds what was said, and nothing else has to be kept: sides, order and repeats follow from its
seed and from how many answers there are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import time
from typing import Any, Literal

from cabinos.lab.comparisons.agreement import Agreement, Lean, agreement, lean
from cabinos.lab.comparisons.chance import dice, flipped, repeat_of
from cabinos.lab.comparisons.collect import Choice, Question
from cabinos.lab.comparisons.errors import ComparisonError
from cabinos.lab.comparisons.log import Log
from cabinos.lab.comparisons.pair import Candidates, Pair

__all__ = ["Labelling", "Vote", "summary"]

Verdict = Literal["first", "second", "tie", "bad", "skip"]
SIDES: Mapping[tuple[str, bool], Verdict] = {
    ("left", False): "first",
    ("right", False): "second",
    ("left", True): "second",
    ("right", True): "first",
}


@dataclass(frozen=True, slots=True)
class Vote:
    """What was said about one thing, the `item` of that id."""

    item: str
    verdict: Verdict  # of the two answers as they are in the file
    flipped: bool
    repeat: bool
    seconds: float
    rater: str
    at: float  # seconds since 1970

    def to_json(self) -> dict[str, Any]:
        """A line of the log."""
        return {key: getattr(self, key) for key in self.__slots__}

    @property
    def choice(self) -> Choice:
        """The same in terms of the sides."""
        if self.verdict in ("first", "second"):
            return "left" if (self.verdict == "second") == self.flipped else "right"
        return self.verdict  # type: ignore[return-value] # what is left are words of both


class Labelling:
    """A ballot over a list of candidates; see `collect.Ballot`. The log must stay open."""

    def __init__(self, items: Sequence[Candidates], log: Log, rater: str = "") -> None:
        self._items = {item.id: item for item in items}
        self._log = log
        self._rater = rater
        self._seed = str(log.identity["seed"])
        self._order = list(self._items)
        dice(self._seed, "order", 0).shuffle(self._order)
        self._asked: Vote | None = None
        self.votes = list(votes(log.entries))

    @property
    def total(self) -> int:
        """How many things there are to compare, repeats aside."""
        return len(self._order)

    @property
    def done(self) -> int:
        """How many of them are answered or skipped."""
        return sum(not vote.repeat for vote in self.votes)

    def next(self) -> Question | None:
        """See `Ballot`."""
        number = len(self.votes)
        earlier = [(vote.item, vote.repeat, vote.verdict == "skip") for vote in self.votes]
        again = repeat_of(self._seed, earlier)
        if again is None and self.done == self.total:
            return None
        item = self._items[again or self._order[self.done]]
        turned = flipped(self._seed, number)
        self._asked = Vote(item.id, "skip", turned, again is not None, 0.0, self._rater, 0.0)
        left, right = item.responses[::-1] if turned else item.responses
        return Question(str(number), item.prompt, left, right)

    def cast(self, question: Question, choice: Choice, seconds: float) -> None:
        """See `Ballot`."""
        asked = self._asked
        assert asked is not None
        assert question.id == str(len(self.votes))
        verdict: Verdict = SIDES.get((choice, asked.flipped), choice)  # type: ignore[arg-type]
        vote = Vote(
            asked.item,
            verdict,
            asked.flipped,
            asked.repeat,
            round(seconds, 3),
            asked.rater,
            round(time(), 3),
        )
        self._log.append(vote.to_json())
        self.votes.append(vote)

    def undo(self) -> bool:
        """See `Ballot`."""
        if not self.votes:
            return False
        self._log.append({"undo": self.votes[-1].item})
        self.votes.pop()
        return True

    def pairs(self) -> Iterator[Pair]:
        """What was said, in the one format; without repeats and what was skipped."""
        for vote in self.votes:
            if not vote.repeat and vote.verdict != "skip":
                yield _pair(self._items[vote.item], vote)


def _pair(item: Candidates, vote: Vote) -> Pair:
    first, second = item.responses
    chosen, rejected = (second, first) if vote.verdict == "second" else (first, second)
    more = {key: value for key, value in item.more.items() if key != "source"}
    return Pair(
        item.prompt,
        chosen,
        rejected,
        item.tools,
        tie=vote.verdict in ("tie", "bad"),
        both_bad=vote.verdict == "bad",
        source=str(item.more.get("source") or ""),
        rater=vote.rater,
        seconds=vote.seconds,
        more=more,
    )


def votes(entries: Sequence[Mapping[str, Any]]) -> Iterator[Vote]:
    """What holds of a log: the answers, without those that were taken back."""
    kept: list[Vote] = []
    for entry in entries:
        try:
            if "undo" in entry:
                kept.pop()
            else:
                kept.append(Vote(**entry))
        except (IndexError, TypeError):
            raise ComparisonError(f"a log of labels has a line that is none: {entry}.") from None
    return iter(kept)


def summary(found: Sequence[Vote]) -> tuple[Agreement, Lean]:
    """(self-agreement over the repeats, how often the left side won)."""
    before = {vote.item: vote.verdict for vote in found if not vote.repeat}
    again = [vote for vote in found if vote.repeat and vote.verdict != "skip"]
    same = agreement([before[vote.item] for vote in again], [vote.verdict for vote in again])
    return same, lean([vote.choice for vote in found])
