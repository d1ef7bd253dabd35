"""`cabin skill`: packages of instructions and checked knowledge: make, check, find, share them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cabinos.cli.errors import Failure
from cabinos.cli.options import as_json
from cabinos.cli.terminal import note, print_json, show

if TYPE_CHECKING:
    from cabinos.skills.catalog import Catalog, Entry
    from cabinos.skills.check import Report
    from cabinos.skills.graph import Graph
    from cabinos.skills.package import Skill

__all__ = ["skill_group"]

FOLDER = click.Path(path_type=Path)


@click.group("skill")
def skill_group() -> None:
    """Make, check, find and share skills: instructions with checked knowledge.

    They have the Agent Skills format, and are found in Cabin's home, in the box, and in
    .agents/skills and .claude/skills of the current and the home folder. A NAME below may also be
    the path of a skill's folder.
    """


# ---- Making --------------------------------------------------------------------------------------


@skill_group.command("new")
@click.argument("folder", type=FOLDER)
@click.option("--description", help="What it does, and when to use it.")
def new_command(folder: Path, description: str | None) -> None:
    """Make a small skill at FOLDER that passes its own check, to be filled."""
    from cabinos.skills.template import create

    name = folder.name.replace("-", " ")
    made = create(folder, description or f"{name.capitalize()}. Use when the user asks for it.")
    for path in made:
        show([str(path)])
    note(f"Fill it, then: cabin skill check {folder} --record")


@skill_group.command("check")
@click.argument("names", nargs=-1)
@click.option("--record", is_flag=True, help="Write what was measured, and seal the sources.")
@as_json
def check_command(names: tuple[str, ...], record: bool, as_json: bool) -> None:
    """Check skills: specification, quotes, links, and evals against what was recorded.

    Without NAMES, all that are in the box and in Cabin's home. Exit code 1 if anything is wrong.
    """
    from cabinos.skills.check import check

    catalog = _catalog()
    own = [e.skill.folder.path for e in catalog.entries if e.origin != "found"]
    paths = [_path(catalog, name) for name in names] or own
    reports = []
    for path in paths:
        report = check(path, _with(catalog, path))
        if record and report.skill is not None:
            report = _record(report, catalog)
        reports.append(report)
        if not as_json:
            _tell(report)
    if as_json:
        print_json({"ok": all(r.ok for r in reports), "skills": list(map(_as_data, reports))})
    if not all(report.ok for report in reports):
        raise SystemExit(1)


def _record(report: "Report", catalog: "Catalog") -> "Report":
    """Writes what was measured, unless something else is wrong, and checks again."""
    from cabinos.skills.check import check
    from cabinos.skills.evals import RECORDED, to_record

    skill, scores = report.skill, report.scores
    wrong = any(f.level == "error" and not f.recorded for f in report.findings)
    if skill is None or scores is None or wrong:
        return report
    path = skill.folder.path / RECORDED
    path.parent.mkdir(exist_ok=True)
    path.write_text(to_record(skill, scores), encoding="utf-8")
    return check(report.path, _with(catalog, report.path))


def _tell(report: "Report") -> None:
    for finding in report.findings:
        show([str(finding)])
    if report.skill is not None:
        counts = f"{len(report.skill.principles)} principles, {len(report.skill.sources)} sources"
        scores = report.scores
        told = [
            f"{name} {value:.2f}"
            for name in ("shown", "fired", "misfired", "found")
            if scores is not None and (value := getattr(scores, name)) is not None
        ]
        verdict = "ok" if report.ok else "wrong"
        show([f"{report.skill.name}: {verdict} ({', '.join([counts, *told])})"])


def _as_data(report: "Report") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "path": str(report.path),
        "name": report.skill.name if report.skill else None,
        "ok": report.ok,
        "findings": [
            {"level": f.level, "message": f.message, "path": str(f.path), "line": f.line}
            for f in report.findings
        ],
        "scores": asdict(report.scores) if report.scores else None,
    }


@skill_group.command("build")
@click.argument("names", nargs=-1)
@click.option("-o", "--out", type=FOLDER, help="Where; otherwise graph.json in Cabin's home.")
def build_command(names: tuple[str, ...], out: Path | None) -> None:
    """Compile skills to one graph, as JSON for other programs; without NAMES, all there are."""
    import json

    from cabinos.skills.catalog import installed_folder

    graph = _graph(names, suggest=True)
    path = out or installed_folder() / "graph.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(graph.to_json(), ensure_ascii=False, indent=1) + "\n", "utf-8")
    counts = f"{len(graph.skills)} skills, {len(graph.principles)} principles, {len(graph.edges)}"
    note(f"{counts} links, {len(graph.suggested)} suggestions.")
    show([str(path)])


# ---- Looking -------------------------------------------------------------------------------------


@skill_group.command("list")
@as_json
def list_command(as_json: bool) -> None:
    """List the skills there are; a * marks those that are not trusted."""
    catalog = _catalog()
    if as_json:
        skills = [_entry_data(entry) for entry in catalog.entries]
        broken = [{"path": str(b.path), "why": b.why} for b in catalog.broken]
        print_json({"skills": skills, "broken": broken})
        return
    width = max((len(entry.skill.name) for entry in catalog.entries), default=0)
    for entry in catalog.entries:
        mark = " " if entry.trusted else "*"
        what = entry.skill.description.split(". ")[0].rstrip(".")
        show([f"{mark} {entry.skill.name:<{width}}  {what[:100]}"])
    for bad in catalog.broken:
        note(f"left out: {bad.path}: {bad.why.removeprefix(f'{bad.path}: ')}")


def _entry_data(entry: "Entry") -> dict[str, Any]:
    return {
        "name": entry.skill.name,
        "description": entry.skill.description,
        "path": str(entry.skill.folder.path),
        "origin": entry.origin,
        "trusted": entry.trusted,
        "principles": len(entry.skill.principles),
        "problems": entry.skill.problems,
    }


@skill_group.command("search")
@click.argument("words", nargs=-1, required=True)
@click.option("-n", "limit", type=click.IntRange(1, 50), default=5, help="How many at most.")
@as_json
def search_command(words: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Find the skills and principles for a question."""
    from cabinos.skills.meaning import encoder
    from cabinos.skills.retrieval import Chooser, Searcher, told

    catalog = _catalog()
    graph = _compile(catalog.skills)
    question = " ".join(words)
    vectors = encoder()
    chosen = Chooser(catalog.skills, vectors).choose(question, limit=limit)
    searcher = Searcher(graph, vectors)
    found = searcher.search(question, limit=limit)
    found += searcher.companions(found, limit=limit)
    if as_json:
        print_json(
            {
                "skills": [
                    {"name": c.skill.name, "score": round(c.score, 4), "fires": c.fires,
                     "words": list(c.words)}
                    for c in chosen
                ],
                "principles": [
                    {"id": f.principle.key, "title": f.principle.title, "score": round(f.score, 4),
                     "led_by": f.led_by or None, "from": f.from_ or None}
                    for f in found
                ],
            }
        )  # fmt: skip
        return
    for one in chosen:
        mark = "→" if one.fires else " "
        show([f"{mark} {one.skill.name}  {one.score:.2f}  ({', '.join(one.words)})"])
    for one_found in found:
        show(["", told(graph, one_found)])
    if not chosen and not found:
        note("No skill speaks of that.")


@skill_group.command("show")
@click.argument("name")
@as_json
def show_command(name: str, as_json: bool) -> None:
    """Show a skill, or a principle by its id: NAME#ID."""
    from cabinos.skills.retrieval import Found, told

    catalog = _catalog()
    if "#" in name:
        graph = _compile(catalog.skills)
        principle = graph.principles.get(name)
        if principle is None:
            owner = name.split("#", maxsplit=1)[0]
            raise Failure(f"there is no {name!r}; `cabin skill show {owner}` lists them.")
        if as_json:
            print_json(graph.to_json_of(principle))
            return
        show([told(graph, Found(principle, 1.0)), f"Explanation: {principle.explanation}"])
        for step in graph.around(name):
            kind = f"{step.edge.kind} (of it)" if step.backwards else step.edge.kind
            show([f"Link: {kind} {step.end}"])
        return
    skill = _load(catalog, name)
    if as_json:
        print_json(
            {
                "name": skill.name,
                "description": skill.description,
                "license": skill.license,
                "body": skill.body,
                "principles": [p.key for p in skill.principles],
                "sources": {s.id: s.cited for s in skill.sources.values()},
                "files": skill.folder.files(),
            }
        )
        return
    show([skill.description, "", skill.body.strip()])
    for principle in skill.principles:
        show([f"#{principle.id}  {principle.claim}"])


@skill_group.command("graph")
@click.argument("names", nargs=-1)
@click.option("-o", "--out", type=FOLDER, help="Where: .svg, .png or .json; otherwise JSON here.")
@click.option("--path", "way", nargs=2, metavar="A B", help="Explain the way between two ids.")
def graph_command(names: tuple[str, ...], out: Path | None, way: tuple[str, str] | None) -> None:
    """Draw the graph of skills, or explain how two principles are connected."""
    import json

    from cabinos.skills.draw import draw, write
    from cabinos.skills.graph import explain

    graph = _graph(names, suggest=out is None or out.suffix == ".json")
    steps = None
    if way is not None:
        for key in way:
            if key not in graph.principles:
                raise Failure(f"there is no principle {key!r}; `cabin skill search` finds them.")
        steps = graph.path(*way)
        if steps is None:
            raise Failure(f"no way leads from {way[0]} to {way[1]}: nobody has linked them.")
        for sentence in explain(graph, steps):
            show([sentence])
    if out is not None and out.suffix != ".json":
        write(draw(graph, [step.edge for step in steps or ()]), out)
        note(f"{out}: {len(graph.principles)} principles, {len(graph.edges)} links.")
    elif out is not None:
        out.write_text(json.dumps(graph.to_json(), ensure_ascii=False, indent=1) + "\n", "utf-8")
    elif way is None:
        print_json(graph.to_json())


# ---- Sharing -------------------------------------------------------------------------------------


@skill_group.command("install")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--replace", is_flag=True, help="Take the place of the skill of that name.")
@click.option("--trust", is_flag=True, help="Believe it as it is now; without, it is untrusted.")
def install_command(source: Path, replace: bool, trust: bool) -> None:
    """Install the skill in SOURCE, a folder or a zip archive."""
    from cabinos.skills.install import install

    skill = install(source, replace=replace, trust=trust)
    show([str(skill.folder.path)])
    for problem in skill.problems:
        note(f"not as the specification says: {problem}", dim=False)
    if not trust:
        note("It is untrusted: whoever reads it has read a stranger's text. --trust believes it.")


@skill_group.command("remove")
@click.argument("name")
def remove_command(name: str) -> None:
    """Remove an installed skill."""
    from cabinos.skills.install import remove

    show([f"{remove(name)} is gone."])


@skill_group.command("export")
@click.argument("name")
@click.option(
    "--to",
    "target",
    type=click.Choice(["claude", "openclaw", "chatgpt"]),
    required=True,
    help="A zip archive, a folder, or one Markdown file.",
)
@click.option("-o", "--out", type=FOLDER, default=Path(), help="A folder, or the new name.")
def export_command(name: str, target: Any, out: Path) -> None:
    """Write a skill for another assistant."""
    from cabinos.skills.export import export

    catalog = _catalog()
    skill = _load(catalog, name)
    others = [other for other in catalog.skills if other.name != skill.name]
    show([str(export(skill, _compile([skill, *others]), target, out))])


# ---- What several verbs need ---------------------------------------------------------------------


def _catalog() -> "Catalog":
    from cabinos.skills.catalog import Catalog

    return Catalog.read()


def _is_path(name: str) -> bool:
    return "/" in name or name in (".", "..") or Path(name, "SKILL.md").is_file()


def _path(catalog: "Catalog", name: str) -> Path:
    """The folder of a skill, given by its name or as a path."""
    return Path(name).resolve() if _is_path(name) else catalog.get(name).skill.folder.path


def _load(catalog: "Catalog", name: str) -> "Skill":
    from cabinos.skills.package import read_skill

    return read_skill(_path(catalog, name)) if _is_path(name) else catalog.get(name).skill


def _with(catalog: "Catalog", path: Path) -> "list[Skill]":
    """The skills that links may lead to: those there are, and those beside the one at `path`."""
    from cabinos.skills.catalog import skill_folders
    from cabinos.skills.errors import SkillError
    from cabinos.skills.package import read_skill

    around = {e.skill.name: e.skill for e in catalog.entries if e.origin != "found"}
    for folder in skill_folders(path.parent):
        if folder != path and folder.name not in around:
            try:
                around[folder.name] = read_skill(folder)
            except SkillError:  # it has its own check
                continue
    return list(around.values())


def _compile(skills: "Sequence[Skill]") -> "Graph":
    from cabinos.skills.graph import compile_graph

    return compile_graph(skills)


def _graph(names: Sequence[str], *, suggest: bool) -> "Graph":
    from cabinos.skills.graph import compile_graph

    catalog = _catalog()
    skills = [_load(catalog, name) for name in names] or catalog.skills
    return compile_graph(skills, suggest=suggest)
