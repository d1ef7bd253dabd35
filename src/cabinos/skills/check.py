"""Whether a skill is what it says: the specification, its quotes, links and evals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cabinos.skills.errors import SkillError
from cabinos.skills.evals import Scores, measure, read_recorded, sealed
from cabinos.skills.graph import Graph, compile_graph
from cabinos.skills.package import MAIN, MAX_LINES, Skill, read_skill
from cabinos.skills.sources import LEAST_QUOTE

__all__ = ["Finding", "Report", "check", "check_knowledge"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong (`error`), or that could be better (`warning`)."""

    level: Literal["error", "warning"]
    message: str
    path: Path
    line: int | None = None
    recorded: bool = False  # it is about what was recorded, and recording anew settles it

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else str(self.path)
        return f"{where}: {self.level}: {self.message}"


@dataclass(slots=True)
class Report:
    """What was found in one skill, and what was measured."""

    path: Path
    skill: Skill | None
    findings: list[Finding]
    scores: Scores | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; warnings may be left."""
        return not any(finding.level == "error" for finding in self.findings)


def check(path: Path, others: Sequence[Skill] = ()) -> Report:
    """Checks the skill at `path` among others, which its links may lead to."""
    try:
        skill = read_skill(path)
    except SkillError as error:
        return Report(path, None, [Finding("error", _without(str(error), path), path)])
    around = [other for other in others if other.name != skill.name]
    graph = compile_graph([skill, *around])
    findings = [*_head(skill), *check_knowledge(skill, graph)]
    report = Report(path, skill, findings)
    try:
        report.scores = measure(skill, around, graph)
        findings += _recorded(skill, report.scores)
    except SkillError as error:
        findings.append(Finding("error", _without(str(error), path), path))
    return report


def _without(message: str, path: Path) -> str:
    return message.removeprefix(f"{path}: ")


def _head(skill: Skill) -> Iterator[Finding]:
    main = skill.folder.path / MAIN
    for problem in skill.problems:
        yield Finding("error", problem, main, 2)
    if (lines := skill.body.count("\n")) > MAX_LINES:
        yield Finding("warning", f"{lines} lines; assistants read at most {MAX_LINES}.", main)
    if not skill.license:
        yield Finding("warning", "no license: nobody may pass it on.", main, 2)
    if scripts := [inner for inner in skill.folder.files() if inner.startswith("scripts/")]:
        told = "run only in a sandbox, and only where a shell is granted"
        yield Finding("warning", f"it has scripts ({len(scripts)}), which {told}.", main)


def check_knowledge(skill: Skill, graph: Graph) -> Iterator[Finding]:
    """Quotes that are not in their sources, links that lead nowhere, circles of `requires`."""
    quoted = set()
    for principle in skill.principles:
        if not principle.quotes:
            wrong = f"{principle.id}: no quote; a claim without a source is an opinion."
            yield Finding("error", wrong, principle.path, principle.line)
        for quote in principle.quotes:
            quoted.add(quote.source)
            source = skill.sources.get(quote.source)
            wrong = ""
            if source is None:
                wrong = f"there is no source {quote.source!r}: sources/{quote.source}.md."
            elif len(quote.text) < LEAST_QUOTE:
                wrong = f"a quote has at least {LEAST_QUOTE} characters, to prove something."
            elif source.find(quote.text) is None:
                wrong = f"not in {source.path.name}, word for word: “{_short(quote.text)}”."
            if wrong:
                yield Finding("error", f"{principle.id}: {wrong}", principle.path, quote.line)
        for link in principle.links:
            if link.target == principle.key:
                wrong = f"{principle.id}: it {link.kind} itself."
                yield Finding("error", wrong, principle.path, link.line)
            elif link.target not in graph.principles:
                wrong = f"{principle.id}: {link.kind} {link.target}, which does not exist."
                yield Finding("error", wrong, principle.path, link.line)
    for source in skill.sources.values():
        if source.id not in quoted:
            yield Finding("warning", "nothing quotes this source.", source.path)
    if circle := graph.cycle():
        first = graph.principles[circle[0]]
        wrong = f"a circle of requires: {' → '.join([*circle, circle[0]])}."
        yield Finding("error", wrong, first.path, first.line)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}…"


def _recorded(skill: Skill, scores: Scores) -> Iterator[Finding]:
    """Sources that changed, and evals that got worse, since they were recorded."""
    recorded = read_recorded(skill)
    where = skill.folder.path / "evals"
    if recorded is None:
        message = "nothing recorded: `cabin skill check --record`."
        yield Finding("warning", message, where, recorded=True)
        return
    before, sources = recorded
    wrong: list[tuple[str, Path]] = []
    for name, seal in sealed(skill).items():
        if name not in sources:
            wrong.append(("a source that is not recorded.", skill.sources[name].path))
        elif sources[name] != seal:
            wrong.append(("changed since it was recorded.", skill.sources[name].path))
    gone = sorted(sources.keys() - skill.sources.keys())
    wrong += [(f"the source {name!r} was recorded and is gone.", where) for name in gone]
    wrong += [(f"{worse}: worse than recorded.", where) for worse in scores.worse_than(before)]
    for message, path in wrong:
        yield Finding("error", message, path, recorded=True)
