"""Battles decided by somebody who rates: the ballot of `cabin arena vote`.

Who meets follows from the battles so far, so nothing has to be kept beside them. Nobody sees names;
sides are random, and one battle in ten is shown a second time.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from random import Random
from time import time
from typing import Literal

from cabinos.lab.arena.answers import Answer
from cabinos.lab.arena.battles import Battle, Battles, Meeting, Winner, battle_of, meetings
from cabinos.lab.arena.matchmaker import Outcome, rank_pairs
from cabinos.lab.comparisons.agreement import Agreement, Lean, agreement, lean
from cabinos.lab.comparisons.chance import dice, flipped, repeat_of
from cabinos.lab.comparisons.collect import Choice, Question
from cabinos.lab.comparisons.pair import Pair

__all__ = ["Voting", "as_pairs", "human_habits", "next_meeting", "outcomes"]

WORTH: Mapping[str, float] = {"a": 1.0, "b": 0.0, "tie": 0.5, "bad": 0.5}


class Voting:
    """A ballot over the answers of an arena; see `collect.Ballot`."""

    def __init__(
        self,
        answers: Mapping[tuple[str, str], Answer],
        battles: Battles,
        by: str,
        *,
        seed: int = 0,
    ) -> None:
        self._answers = answers
        self._battles = battles
        self._by = by
        self._seed = f"{seed}/{by}"
        self._pairs = meetings(answers)
        self._asked: Battle | None = None

    @property
    def mine(self) -> list[Battle]:
        """What this rater has decided so far."""
        return [battle for battle in self._battles.found if battle.by == self._by]

    def next(self) -> Question | None:
        """See `Ballot`."""
        mine = self.mine
        earlier = [(battle.meeting, battle.repeat, battle.winner == "skip") for battle in mine]
        again = repeat_of(self._seed, earlier)
        meeting = again or next_meeting(
            self._pairs,
            self._battles.found,
            {battle.meeting for battle in mine},
            dice(self._seed, "meeting", len(mine)),
        )
        if meeting is None:
            return None
        one, other = (self._answers[model, meeting[2]] for model in meeting[:2])
        turned = flipped(self._seed, len(mine))
        left: Literal["a", "b"] = "b" if turned else "a"
        self._asked = battle_of(one, other, "skip", self._by, left=left, repeat=again is not None)
        shown = (other, one) if turned else (one, other)
        prompt = ({"role": "user", "content": one.turns[0]},)
        return Question(str(len(mine)), prompt, shown[0].messages, shown[1].messages)

    def cast(self, question: Question, choice: Choice, seconds: float) -> None:
        """See `Ballot`."""
        asked = self._asked
        assert asked is not None
        assert question.id == str(len(self.mine))
        winner: Winner = choice  # type: ignore[assignment] # unless it names a side
        if choice in ("left", "right"):
            winner = "a" if (choice == "left") == (asked.left == "a") else "b"
        told = {"left": asked.left, "repeat": asked.repeat}
        one, other = (self._answers[model, asked.prompt] for model in (asked.a, asked.b))
        when = {"seconds": round(seconds, 3), "at": round(time(), 3)}
        self._battles.add(battle_of(one, other, winner, self._by, **told, **when))

    def undo(self) -> bool:
        """See `Ballot`."""
        return self._battles.undo(self._by)


def next_meeting(
    pairs: Mapping[tuple[str, str], list[str]],
    battles: Iterable[Battle],
    seen: Collection[Meeting],
    random: Random,
) -> Meeting | None:
    """The two who should meet, about a prompt over which the rater has not `seen` them meet.

    None if there is nothing new.
    """
    names = sorted({name for pair in pairs for name in pair})
    number = {name: place for place, name in enumerate(names)}
    allowed = {(number[a], number[b]): (a, b) for a, b in pairs}
    known = list(outcomes(battles, number))
    for pair in rank_pairs(len(names), known, random, allowed=sorted(allowed)):
        a, b = allowed[pair]
        fresh = [prompt for prompt in sorted(pairs[a, b]) if (a, b, prompt) not in seen]
        if fresh:
            return a, b, random.choice(fresh)
    return None


def outcomes(battles: Iterable[Battle], number: Mapping[str, int]) -> Iterable[Outcome]:
    """Those of the battles that count, between the models that have a number."""
    for battle in battles:
        known = battle.a in number and battle.b in number
        if known and not battle.repeat and battle.winner != "skip":
            yield number[battle.a], number[battle.b], WORTH[battle.winner]


def human_habits(battles: Iterable[Battle]) -> tuple[Agreement, Lean]:
    """(self-agreement of the people who voted, how often the left side won)."""
    shown = [battle for battle in battles if battle.left]
    before = {(b.by, b.meeting): b.winner for b in shown if not b.repeat}
    again = [b for b in shown if b.repeat and b.winner != "skip" and (b.by, b.meeting) in before]
    same = agreement([before[b.by, b.meeting] for b in again], [b.winner for b in again])
    return same, lean([battle.choice for battle in shown])


def as_pairs(
    battles: Iterable[Battle], answers: Mapping[tuple[str, str], Answer]
) -> Iterator[Pair]:
    """Battles over texts as comparisons to learn from; without repeats and what was skipped."""
    for battle in battles:
        if battle.repeat or battle.winner == "skip" or battle.style is None:
            continue
        both = [answers.get((model, battle.prompt)) for model in (battle.a, battle.b)]
        if battle.winner == "b":
            both.reverse()
        chosen, rejected = both
        if chosen is None or rejected is None:
            continue
        yield Pair(
            ({"role": "user", "content": chosen.turns[0]},),
            chosen.messages,
            rejected.messages,
            tie=battle.winner in ("tie", "bad"),
            both_bad=battle.winner == "bad",
            source="arena",
            rater=battle.by,
            seconds=battle.seconds or None,
            more={"models": [chosen.model, rejected.model]},
        )
