"""Battles: two models, one prompt, and who won; in a file that only grows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, Self

from cabinos.lab.arena.answers import Answer
from cabinos.lab.arena.errors import ArenaError
from cabinos.lab.arena.style import style_of
from cabinos.lab.comparisons.collect import Choice
from cabinos.lab.comparisons.log import Log, read_log

__all__ = ["Battle", "Battles", "Meeting", "Winner", "battle_of", "meetings", "read_battles"]

Winner = Literal["a", "b", "tie", "bad", "skip"]
Meeting = tuple[str, str, str]  # (model a, model b, prompt), a before b


@dataclass(frozen=True, slots=True)
class Battle:
    """Who won. Without sides (`left` "") where nobody saw one answer before the other."""

    a: str
    b: str
    prompt: str
    winner: Winner
    by: str  # human:NAME, judge:MODEL or checker
    left: Literal["a", "b", ""] = ""
    repeat: bool = False  # was decided before by the same person: counts only for agreement
    consistent: bool = True  # a judge said the same both ways round
    category: str = ""
    style: tuple[tuple[int, ...], tuple[int, ...]] | None = None  # of a's answer, of b's
    seconds: float = 0.0
    at: float = 0.0  # seconds since 1970

    @property
    def meeting(self) -> Meeting:
        """What it was about."""
        return self.a, self.b, self.prompt

    @property
    def choice(self) -> Choice:
        """The same in terms of the sides that a person saw."""
        if self.winner in ("a", "b"):
            return "left" if self.winner == self.left else "right"
        return self.winner  # type: ignore[return-value] # what is left are words of both


class Battles:
    """The file, to which more can be added; a context manager, as `Log` is."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = Log(folder / "battles.jsonl", {"log": "battles", "version": 1})
        try:
            self.found = list(_standing(self._log.entries, self._log.path))
        except BaseException:
            self._log.close()
            raise

    def add(self, battle: Battle) -> None:
        """Keeps a battle, for good."""
        self._log.append(asdict(battle))
        self.found.append(battle)

    def undo(self, by: str) -> bool:
        """Takes the last one of this rater back; False if there is none."""
        place = next((n for n in reversed(range(len(self.found))) if self.found[n].by == by), None)
        if place is None:
            return False
        self._log.append({"undo": by})
        del self.found[place]
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()


def read_battles(folder: Path) -> list[Battle]:
    """The battles so far, also while more are fought."""
    path = folder / "battles.jsonl"
    return list(_standing(read_log(path, "battles")[1], path))


def _standing(entries: Iterable[Mapping[str, Any]], path: Path) -> Iterator[Battle]:
    """The battles of a log without those that were taken back."""
    kept: list[Battle] = []
    for number, entry in enumerate(entries, 2):
        try:
            if "undo" in entry:
                last = max(n for n, battle in enumerate(kept) if battle.by == entry["undo"])
                del kept[last]
            else:
                style = entry.get("style")
                both = (tuple(style[0]), tuple(style[1])) if style else None
                kept.append(Battle(**{**entry, "style": both}))
        except (KeyError, TypeError, ValueError, IndexError):
            raise ArenaError(f"{path}, line {number}: not a battle.") from None
    return iter(kept)


def meetings(
    answers: Mapping[tuple[str, str], Answer], *, scored: bool = False
) -> dict[tuple[str, str], list[str]]:
    """For each two models, in alphabetical order, the prompts that both have answered.

    `scored`: those where both answers were verified; else those with texts to compare, unless both
    said the same.
    """
    by_prompt: dict[str, list[Answer]] = {}
    for answer in answers.values():
        if answer.score is not None if scored else answer.said:
            by_prompt.setdefault(answer.prompt, []).append(answer)
    found: dict[tuple[str, str], list[str]] = {}
    for prompt, given in by_prompt.items():
        for one, other in combinations(sorted(given, key=lambda answer: answer.model), 2):
            if scored or one.said != other.said:
                found.setdefault((one.model, other.model), []).append(prompt)
    return found


def battle_of(one: Answer, other: Answer, winner: Winner, by: str, **more: Any) -> Battle:
    """The battle between two answers to one prompt."""
    texts: Sequence[str] = ["\n".join(answer.said) for answer in (one, other)]
    style = (style_of(texts[0]), style_of(texts[1])) if one.said and other.said else None
    return Battle(
        one.model, other.model, one.prompt, winner, by, category=one.category, style=style, **more
    )
