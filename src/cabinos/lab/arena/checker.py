"""Battles decided by what can be verified: the higher score wins; two that fail are both bad."""

from collections.abc import Iterable, Iterator, Mapping
from time import time

from cabinos.lab.arena.answers import Answer
from cabinos.lab.arena.battles import Battle, Winner, battle_of, meetings

__all__ = ["CHECKER", "check"]

CHECKER = "checker"


def check(answers: Mapping[tuple[str, str], Answer], battles: Iterable[Battle]) -> Iterator[Battle]:
    """A battle for each two verified answers to one prompt that have had none."""
    fought = {battle.meeting for battle in battles if battle.by == CHECKER}
    for (a, b), prompts in sorted(meetings(answers, scored=True).items()):
        for prompt in prompts:
            if (a, b, prompt) not in fought:
                one, other = answers[a, prompt], answers[b, prompt]
                yield battle_of(one, other, _winner(one, other), CHECKER, at=round(time(), 3))


def _winner(one: Answer, other: Answer) -> Winner:
    assert one.score is not None
    assert other.score is not None
    if one.score == other.score:
        return "tie" if one.score else "bad"
    return "a" if one.score > other.score else "b"
