"""A skill for others: an archive for Claude, a folder for OpenClaw, a page for ChatGPT."""

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Literal

from cabinos.skills.errors import SkillError
from cabinos.skills.graph import Graph
from cabinos.skills.package import Skill
from cabinos.skills.retrieval import Found, told

__all__ = ["Target", "export"]

Target = Literal["claude", "openclaw", "chatgpt"]
MOMENT = (1980, 1, 1, 0, 0, 0)  # of every file in an archive: equal skills give equal archives


def export(skill: Skill, graph: Graph, target: Target, out: Path) -> Path:
    """Writes the skill for another assistant and returns where; `out`: a file or a folder.

    Raises SkillError if the skill breaks the specification, or if there is something already.
    """
    if skill.problems:
        raise SkillError(" ".join(skill.problems), skill.folder.path)
    ending = {"claude": f"{skill.name}.zip", "openclaw": skill.name, "chatgpt": f"{skill.name}.md"}
    path = out / ending[target] if out.is_dir() else out
    if path.exists():
        raise SkillError("there is something already; give another name with -o.", path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write = {"claude": _archive, "openclaw": _folder, "chatgpt": _page}[target]
    with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as stage:
        draft = Path(stage, "draft")  # a full disk leaves no half of a skill
        write(skill, graph, draft)
        draft.rename(path)
    return path


def _archive(skill: Skill, _graph: Graph, path: Path) -> None:
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as archive:
        for inner in skill.folder.files():
            info = zipfile.ZipInfo(f"{skill.name}/{inner}", MOMENT)
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, skill.folder.locate(inner).read_bytes())


def _folder(skill: Skill, _graph: Graph, path: Path) -> None:
    for inner in skill.folder.files():
        target = path / inner
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(skill.folder.locate(inner), target)


def _page(skill: Skill, graph: Graph, path: Path) -> None:
    """All of it in one text: instructions, principles with their quotes, and the sources' names."""
    parts = [f"# {skill.name}", skill.description, skill.body.strip()]
    if skill.principles:
        parts.append("# Principles")
    for principle in skill.principles:
        lines = told(graph, Found(principle, 1.0)).splitlines()
        links = [f"{link.kind} {link.target}" for link in principle.links]
        if links:
            lines.append(f"Links: {'; '.join(links)}.")
        parts.append("\n\n".join([f"## {lines[0]}", *lines[1:]]))
    if skill.sources:
        parts.append("# Sources")
        parts.append(
            "\n".join(
                f"- [{s.id}] {s.cited}. {s.url} ({s.license})" for s in skill.sources.values()
            )
        )
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
