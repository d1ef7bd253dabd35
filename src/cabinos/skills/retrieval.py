"""Which skills a request is for, and which principles answer a question.

A skill is *shown* (name and description, a few dozen tokens) if it is among the best few for the
request, and *fires* (its instructions and principles come into the prompt) only if it is clearly
the best and the request is mostly about it. Nothing lists all skills, so a hundred of them cost no
more than five. A skill that the user pinned always fires.

Principles are found by their words and meaning. What is one typed step away from them, what they
require and what speaks against them, comes after them as company and takes the place of none: to
let it compete finds no more (`bench/skills/hop.py`).
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cabinos.drivers.ranking import stems
from cabinos.skills.graph import Graph, fields_of
from cabinos.skills.knowledge import Principle
from cabinos.skills.package import Skill
from cabinos.skills.rank import Ranker, Score

if TYPE_CHECKING:
    from cabinos.index.encoder import Encoder

__all__ = ["FIRES", "SHOWN", "Chooser", "Chosen", "Found", "Searcher", "pack", "told"]

SHOWN = 5  # skills that a model is shown for a request
FIRES = 0.34  # the least score of a skill that comes into the prompt unasked
LEAD = 1.7  # and how many times the next one's it must be
LEAST = 0.02  # of a score: below, a text and a request have nothing in common
HOPS = ("requires", "contrasts")  # kinds of links that are followed once, in this order
NOTHING = Score(0.0, 0.0, 0.0, ())


@dataclass(frozen=True, slots=True)
class Chosen:
    """A skill for a request."""

    skill: Skill
    score: float
    fires: bool
    pinned: bool
    words: tuple[str, ...]  # that it shares with the request, as stems


class Chooser:
    """Chooses among many skills, again and again.

    A skill is as good as the best of its parts: what it says of itself, or one of its principles.
    """

    def __init__(self, skills: Sequence[Skill], encoder: "Encoder | None" = None) -> None:
        self.skills = list(skills)
        parts = [(n, fields) for n, skill in enumerate(skills) for fields in _parts(skill)]
        self._owners = [n for n, _ in parts]
        self._names = [set(stems(skill.name.replace("-", " "))) for skill in skills]
        self._ranker = Ranker([fields for _, fields in parts], encoder)

    def choose(
        self, request: str, *, limit: int = SHOWN, pinned: Collection[str] = ()
    ) -> list[Chosen]:
        """At most `limit` skills, the best first, and before them every pinned one."""
        best = [NOTHING] * len(self.skills)
        for n, score in zip(self._owners, self._ranker.scores(request), strict=True):
            best[n] = max(best[n], score)
        names = [skill.name for skill in self.skills]
        order = sorted(range(len(names)), key=lambda n: (-best[n].fused, names[n]))
        first, second = ([best[n].fused for n in order] + [0.0, 0.0])[:2]
        clear = first >= FIRES and first >= LEAD * second and self._says(order[0], best[order[0]])
        found = []
        for place, n in enumerate(order):
            pin = names[n] in pinned
            if pin or (place < limit and best[n].fused >= LEAST):
                fires = pin or (place == 0 and clear)
                found.append(Chosen(self.skills[n], best[n].fused, fires, pin, best[n].words))
        return sorted(found, key=lambda chosen: not chosen.pinned)

    def _says(self, number: int, score: Score) -> bool:
        """Whether a skill and a request share more than one word that stands there by chance."""
        return len(score.words) > 1 or bool(self._names[number].intersection(score.words))


def _parts(skill: Skill) -> Iterator[list[tuple[float, str]]]:
    """What may answer a request, each by itself: the skill, and each of its principles."""
    name = skill.name.replace("-", " ")
    yield [(2.0, name), (1.0, skill.description)]
    for principle in skill.principles:
        yield fields_of(principle)


# ---- Principles ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """A principle for a question, and what led to it."""

    principle: Principle
    score: float
    led_by: str = ""  # "requires" or "contrasts", if a link did
    from_: str = ""  # the principle that the link belongs to


class Searcher:
    """Searches one graph, again and again."""

    def __init__(self, graph: Graph, encoder: "Encoder | None" = None) -> None:
        self.graph = graph
        self._keys = list(graph.principles)
        self._at = {key: n for n, key in enumerate(self._keys)}
        self._ranker = Ranker([fields_of(p) for p in graph.principles.values()], encoder)
        self._flows = list(_flows(graph))

    def search(self, question: str, *, limit: int = 5, flow: float = 0.0) -> list[Found]:
        """At most `limit` principles, the best first.

        `flow`: the share of a principle's score that goes to what it requires or contrasts with;
        none by default, since that finds no more (`bench/skills/hop.py`).
        """
        own = [score.fused for score in self._ranker.scores(question)]
        raised = dict(zip(self._keys, own, strict=True))
        for source, _, target in self._flows if flow else ():
            more = own[self._at[target]] + flow * own[self._at[source]]
            raised[target] = max(raised[target], more)
        order = sorted(raised, key=lambda key: (-raised[key], key))
        found = [Found(self.graph.principles[key], raised[key]) for key in order[:limit]]
        return [one for one in found if one.score >= LEAST]

    def companions(self, found: Sequence[Found], *, limit: int = 5) -> list[Found]:
        """What the links of those found lead to and is not among them: needs, then other sides."""
        led: dict[str, Found] = {one.principle.key: one for one in found}
        for kind in HOPS:
            for one in found:
                for source, how, target in self._flows:
                    if source == one.principle.key and how == kind:
                        principle = self.graph.principles[target]
                        led.setdefault(target, Found(principle, one.score, kind, source))
        return list(led.values())[len(found) : len(found) + limit]


def _flows(graph: Graph) -> Iterator[tuple[str, str, str]]:
    """(from, kind, to): from a principle to what it requires, and to either side of a contrast."""
    for edge in graph.edges:
        if edge.kind in HOPS and edge.target in graph.principles:
            yield edge.source, edge.kind, edge.target
            if edge.kind == "contrasts":
                yield edge.target, edge.kind, edge.source


# ---- Telling -------------------------------------------------------------------------------------


def told(graph: Graph, found: Found) -> str:
    """A principle as a model reads it: claim, why, quotes with their places, techniques."""
    principle = found.principle
    led = ""
    if found.led_by == "requires":
        led = f" (needed for {found.from_})"
    elif found.led_by == "contrasts":
        led = f" (the other side of {found.from_})"
    lines = [f"[{principle.key}] {principle.title}{led}", principle.claim, f"Why: {principle.why}"]
    for number in range(len(principle.quotes)):
        quote = graph.cited(principle, number)
        where = f"{quote['file']}:{quote['line']}" if quote["line"] else quote["file"]
        lines.append(f"“{quote['text']}” — {quote['cited']}, {where}")
    for technique in principle.techniques:
        use = f" Use when {technique.use_when}" if technique.use_when else ""
        fails = f" Fails when {technique.fails_when}" if technique.fails_when else ""
        lines.append(f"Technique: {technique.text}{use}{fails}")
    return "\n".join(lines)


def pack(texts: Sequence[str], count: Callable[[str], int], tokens: int) -> list[str]:
    """The first texts that fit into so many tokens; one that does not fit ends it."""
    kept, used = [], 0
    for text in texts:
        used += count(text)
        if used > tokens:
            break
        kept.append(text)
    return kept
