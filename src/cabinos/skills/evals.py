"""What a skill promises of itself, in numbers that can be measured again.

Triggers: of the requests that should call for the skill, the share for which it is among those
shown; of those that should not, the share for which it fires. Questions: the share of the expected
principles that are among the first five. All of it by words alone, so that the numbers are the same
on every machine. `recorded.json` keeps what was measured, and seals the sources by their hashes: a
source that was changed afterwards, to fit a quote, is noticed.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cabinos.skills.errors import SkillError
from cabinos.skills.graph import Graph
from cabinos.skills.package import Skill
from cabinos.skills.retrieval import Chooser, Chosen, Searcher

__all__ = ["RECORDED", "Scores", "measure", "read_recorded", "sealed", "to_record"]

TRIGGERS, QUESTIONS, RECORDED = "evals/triggers.json", "evals/questions.json", "evals/recorded.json"
FIRST = 5  # principles among which an answer counts as found


@dataclass(frozen=True, slots=True)
class Scores:
    """Shares from 0 to 1; None where the skill has no such cases."""

    shown: float | None = None  # of the requests that should call for it
    fired: float | None = None  # of those that should
    misfired: float | None = None  # of those that should not
    found: float | None = None  # of the principles that answer its questions

    def worse_than(self, other: "Scores") -> list[str]:
        """What got worse, in words."""
        said = []
        for name, value in asdict(self).items():
            before = getattr(other, name)
            worse = before is not None and (
                value is None or (value > before if name == "misfired" else value < before)
            )
            if worse:
                said.append(
                    f"{name} was {before:.3f} and is {'nothing' if value is None else value}"
                )
        return said


def measure(skill: Skill, others: Sequence[Skill], graph: Graph) -> Scores:
    """Measures a skill among others, as they would be on one machine. Raises SkillError."""
    shown = fired = misfired = found = None
    triggers = _triggers(skill)
    chooser = Chooser([skill, *(other for other in others if other.name != skill.name)])
    if triggers["should"]:
        chosen = [_own(chooser, request, skill) for request in triggers["should"]]
        shown = _share(one is not None for one in chosen)
        fired = _share(one is not None and one.fires for one in chosen)
    if triggers["should_not"]:
        chosen = [_own(chooser, request, skill) for request in triggers["should_not"]]
        misfired = _share(one is not None and one.fires for one in chosen)
    if questions := _questions(skill):
        searcher = Searcher(graph)
        shares = []
        for question, wanted in questions:
            keys = {one.principle.key for one in searcher.search(question, limit=FIRST)}
            shares.append(len(keys & wanted) / len(wanted))
        found = round(sum(shares) / len(shares), 4)
    return Scores(shown, fired, misfired, found)


def _own(chooser: Chooser, request: str, skill: Skill) -> Chosen | None:
    return next((c for c in chooser.choose(request) if c.skill.name == skill.name), None)


def _share(verdicts: Iterable[bool]) -> float:
    seen = list(verdicts)
    return round(sum(seen) / len(seen), 4)


def _triggers(skill: Skill) -> dict[str, list[str]]:
    data = _json(skill, TRIGGERS, {})
    if not isinstance(data, dict) or set(data) - {"should", "should_not"}:
        raise SkillError(
            'must be {"should": […], "should_not": […]}.', skill.folder.path / TRIGGERS
        )
    for kind in ("should", "should_not"):
        requests = data.setdefault(kind, [])
        if not isinstance(requests, list) or not all(isinstance(r, str) for r in requests):
            raise SkillError(f"{kind} must be a list of texts.", skill.folder.path / TRIGGERS)
    return data


def _questions(skill: Skill) -> list[tuple[str, set[str]]]:
    path = skill.folder.path / QUESTIONS
    known = {principle.id for principle in skill.principles}
    found = []
    rows = _json(skill, QUESTIONS, [])
    for row in rows if isinstance(rows, list) else [rows]:
        given = row if isinstance(row, dict) else {}
        question, ids = given.get("question"), given.get("principles")
        if not isinstance(question, str) or not isinstance(ids, list) or not ids:
            raise SkillError('must be a list of {"question": …, "principles": […]}.', path)
        if unknown := [one for one in ids if one not in known]:
            raise SkillError(f"{unknown[0]!r} is no principle of this skill.", path)
        found.append((question, {f"{skill.name}#{one}" for one in ids}))
    return found


def _json(skill: Skill, inner: str, default: Any) -> Any:
    if not skill.folder.has(inner):
        return default
    try:
        return json.loads(skill.folder.text(inner))
    except (ValueError, RecursionError) as error:
        raise SkillError(f"not JSON: {error}.", skill.folder.path / inner) from None


# ---- What was recorded ---------------------------------------------------------------------------


def sealed(skill: Skill) -> dict[str, str]:
    """The SHA-256 of each source's text."""
    return {
        source.id: hashlib.sha256(source.text.encode()).hexdigest()
        for source in skill.sources.values()
    }


def to_record(skill: Skill, scores: Scores) -> str:
    """The content of `recorded.json`."""
    return json.dumps({"scores": asdict(scores), "sources": sealed(skill)}, indent=1) + "\n"


def read_recorded(skill: Skill) -> tuple[Scores, Mapping[str, str]] | None:
    """What was recorded; None if nothing was. Raises SkillError if the file is damaged."""
    data = _json(skill, RECORDED, None)
    if data is None:
        return None
    try:
        scores = Scores(
            **{name: None if v is None else float(v) for name, v in data["scores"].items()}
        )
        sources = {str(k): str(v) for k, v in data["sources"].items()}
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        path = skill.folder.path / RECORDED
        raise SkillError(f"not what `cabin skill check --record` writes ({error}).", path) from None
    return scores, sources
