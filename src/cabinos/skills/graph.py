"""The graph that skills make together: principles, and the edges that authors vouch for.

Authored edges are facts. Suggested ones (likeness of words) are kept apart, carry a score, and
never count where something is proved or walked.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cabinos.skills.knowledge import Principle
from cabinos.skills.package import Skill
from cabinos.skills.rank import Ranker

__all__ = [
    "BOTH_WAYS",
    "Edge",
    "Graph",
    "Step",
    "Suggestion",
    "compile_graph",
    "explain",
    "fields_of",
]

BOTH_WAYS = ("contrasts", "same-as")  # kinds that say the same in either direction
NEIGHBOURS = 3  # a suggestion: each of two principles is among so many of the other's likest
LEAST = 0.1  # of likeness


@dataclass(frozen=True, slots=True)
class Edge:
    """`source` requires, supports, … `target`."""

    source: str
    kind: str
    target: str


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Two principles that may belong together; nobody vouches for it."""

    source: str
    target: str
    score: float


@dataclass(frozen=True, slots=True)
class Step:
    """One edge on a way, and whether it is walked against its direction."""

    edge: Edge
    backwards: bool

    @property
    def start(self) -> str:
        """Where the step begins."""
        return self.edge.target if self.backwards else self.edge.source

    @property
    def end(self) -> str:
        """Where it leads."""
        return self.edge.source if self.backwards else self.edge.target


@dataclass(slots=True)
class Graph:
    """Plain data: skills and principles by their names, and edges between principles."""

    skills: dict[str, Skill] = field(default_factory=dict)
    principles: dict[str, Principle] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    suggested: list[Suggestion] = field(default_factory=list)

    def around(self, key: str) -> Iterator[Step]:
        """The authored edges of a principle, those that leave it first."""
        for edge in self.edges:
            if edge.source == key:
                yield Step(edge, backwards=False)
        for edge in self.edges:
            if edge.target == key:
                yield Step(edge, backwards=True)

    def path(self, start: str, goal: str) -> list[Step] | None:
        """A shortest way along authored edges in either direction; None if there is none."""
        came: dict[str, Step | None] = {start: None}
        waiting = deque([start])
        while waiting and goal not in came:
            for step in self.around(waiting.popleft()):
                if step.end in self.principles and step.end not in came:
                    came[step.end] = step
                    waiting.append(step.end)
        if goal not in came:
            return None
        steps: list[Step] = []
        while (last := came[steps[-1].start if steps else goal]) is not None:
            steps.append(last)
        return steps[::-1]

    def cycle(self) -> list[str] | None:
        """Principles each of which requires the next, and the last the first; None if none do."""
        needs: dict[str, list[str]] = {}
        for edge in self.edges:
            if edge.kind == "requires":
                needs.setdefault(edge.source, []).append(edge.target)
        done: set[str] = set()
        for first, targets in needs.items():
            trail = [first]
            branches = [iter(targets)]
            while trail and first not in done:
                following = next(branches[-1], None)
                if following is None:
                    done.add(trail.pop())
                    branches.pop()
                elif following in trail:
                    return trail[trail.index(following) :]
                elif following not in done:
                    trail.append(following)
                    branches.append(iter(needs.get(following, ())))
        return None

    def to_json(self) -> dict[str, Any]:
        """All of it for other programs."""
        return {
            "format": "cabin-skill-graph-1",
            "skills": [
                {"name": s.name, "description": s.description, "license": s.license}
                for s in self.skills.values()
            ],
            "principles": [self.to_json_of(p) for p in self.principles.values()],
            "edges": [[e.source, e.kind, e.target] for e in self.edges],
            "suggested": [[s.source, s.target, round(s.score, 3)] for s in self.suggested],
        }

    def to_json_of(self, p: Principle) -> dict[str, Any]:
        """One principle, its quotes with the places where they stand."""
        return {
            "id": p.key,
            "title": p.title,
            "claim": p.claim,
            "explanation": p.explanation,
            "why": p.why,
            "quotes": [self.cited(p, n) for n in range(len(p.quotes))],
            "techniques": [
                {"text": t.text, "use_when": t.use_when, "fails_when": t.fails_when}
                for t in p.techniques
            ],
        }

    def cited(self, principle: Principle, number: int) -> dict[str, Any]:
        """A quote with its source and where it stands in it."""
        quote = principle.quotes[number]
        source = self.skills[principle.skill].sources.get(quote.source)
        place = source.find(quote.text) if source else None
        return {
            "text": quote.text,
            "source": quote.source,
            "cited": source.cited if source else quote.source,
            "url": source.url if source else "",
            "file": f"sources/{quote.source}.md",
            "line": place.line if place else None,
            "heading": place.heading if place else None,
        }


def compile_graph(skills: Iterable[Skill], *, suggest: bool = False) -> Graph:
    """The graph of skills, each of another name, with what they know."""
    graph = Graph()
    for skill in skills:
        graph.skills[skill.name] = skill
        for principle in skill.principles:
            graph.principles[principle.key] = principle
    for principle in graph.principles.values():
        graph.edges += [Edge(principle.key, link.kind, link.target) for link in principle.links]
    if suggest:
        graph.suggested = _suggestions(graph)
    return graph


def fields_of(principle: Principle) -> list[tuple[float, str]]:
    """A principle's words, weighed: its name says most."""
    return [
        (2.0, principle.title),
        (2.0, principle.id.replace("-", " ")),
        (1.5, principle.claim),
        (1.0, principle.explanation),
        (1.0, principle.why),
        (0.5, " ".join(quote.text for quote in principle.quotes)),
        (0.5, " ".join(f"{t.text} {t.use_when} {t.fails_when}" for t in principle.techniques)),
    ]


def _suggestions(graph: Graph) -> list[Suggestion]:
    """Pairs that are among each other's likest and that no author has linked."""
    keys = list(graph.principles)
    ranker = Ranker([fields_of(p) for p in graph.principles.values()])
    likest: dict[str, dict[str, float]] = {}
    for key, principle in graph.principles.items():
        scores = ranker.scores(f"{principle.title} {principle.claim}")
        order = sorted(range(len(keys)), key=lambda n: (-scores[n].fused, keys[n]))
        near = [n for n in order if keys[n] != key][:NEIGHBOURS]
        likest[key] = {keys[n]: scores[n].fused for n in near if scores[n].fused >= LEAST}
    linked = {frozenset((e.source, e.target)) for e in graph.edges}
    found = [
        Suggestion(a, b, (score + likest[b][a]) / 2)
        for a, near in likest.items()
        for b, score in near.items()
        if a < b and a in likest[b] and frozenset((a, b)) not in linked
    ]
    return sorted(found, key=lambda s: (-s.score, s.source, s.target))


def explain(graph: Graph, steps: Sequence[Step]) -> list[str]:
    """A way in sentences, one for each step."""
    said = []
    for step in steps:
        edge = step.edge
        source, target = graph.principles[edge.source], graph.principles[edge.target]
        verb = {"example-of": "is an example of", "same-as": "is the same as"}.get(
            edge.kind, edge.kind
        )
        if step.backwards and edge.kind in BOTH_WAYS:
            source, target = target, source
        said.append(f"“{source.title}” {verb} “{target.title}”")
    return said
