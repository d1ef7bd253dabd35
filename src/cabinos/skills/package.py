"""A skill: a folder that any assistant of the Agent Skills specification reads, and more beside.

NAME/
SKILL.md                  when to use it, and how; the head is the specification's, no more
knowledge/*.md            principles (knowledge.py)
sources/*.md              what they quote (sources.py)
evals/triggers.json       requests that should, and should not, call for the skill
evals/questions.json      questions, and the principles that answer them
evals/recorded.json       what `cabin skill check --record` measured and sealed
scripts/ references/ assets/     as in the specification, which is at agentskills.io
"""

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cabinos.skills.errors import SkillError
from cabinos.skills.folder import Folder
from cabinos.skills.frontmatter import split
from cabinos.skills.knowledge import Principle, read_knowledge
from cabinos.skills.sources import Source, read_sources

__all__ = ["MAIN", "MAX_DESCRIPTION", "Skill", "name_problems", "read_head", "read_skill"]

MAIN = "SKILL.md"
MAX_NAME, MAX_DESCRIPTION, MAX_COMPATIBILITY = 64, 1024, 500  # characters
TEXTS = ("name", "description", "license", "compatibility", "allowed-tools")
KEYS = (*TEXTS, "metadata")
MAX_LINES = 500  # of SKILL.md, as the specification recommends


@dataclass(slots=True)
class Skill:
    """What is known of a skill; knowledge and sources once they are read."""

    name: str
    description: str
    folder: Folder
    body: str
    first_line: int  # of the body in SKILL.md
    license: str = ""
    compatibility: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    allowed_tools: str = ""
    principles: list[Principle] = field(default_factory=list)
    sources: dict[str, Source] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)  # what in its head breaks the specification

    @property
    def headings(self) -> list[str]:
        """Of its instructions."""
        return [line.lstrip("#").strip() for line in self.body.splitlines() if line.startswith("#")]


def read_head(path: Path) -> Skill:
    """A skill without its knowledge.

    Many skills in the world break the specification somewhere; `problems` says where. Raises
    SkillError only for one that cannot be used: no head, no name to call it by, no description.
    """
    folder = Folder(path)
    if not folder.has(MAIN):
        raise SkillError(f"there is no {MAIN}.", path)
    file = path / MAIN
    head, body, first = split(folder.text(MAIN), file)
    texts = {key: head[key].strip() for key in TEXTS if isinstance(head.get(key), str)}
    for key in ("name", "description"):
        if not texts.get(key):
            raise SkillError(f"the head has no {key}.", file, 2)
    if wrong := list(name_problems(texts["name"])):
        raise SkillError(" ".join(wrong), file, 2)
    metadata = head.get("metadata")
    return Skill(
        unicodedata.normalize("NFKC", texts["name"]),
        texts["description"],
        folder,
        body,
        first,
        texts.get("license", ""),
        texts.get("compatibility", ""),
        {k: str(v) for k, v in metadata.items()} if isinstance(metadata, dict) else {},
        texts.get("allowed-tools", ""),
        problems=list(head_problems(head, folder.name)),
    )


def read_skill(path: Path) -> Skill:
    """A skill with all that it knows. Raises SkillError for the first thing that is wrong."""
    skill = read_head(path)
    skill.sources = read_sources(skill.folder)
    skill.principles = read_knowledge(skill.folder, skill.name)
    return skill


def head_problems(head: Mapping[str, Any], folder: str) -> Iterator[str]:
    """What in a head breaks the specification, each as a sentence."""
    if unknown := [key for key in head if key not in KEYS]:
        wrong = ", ".join(map(repr, unknown))
        yield f"{wrong}: the head may have {', '.join(KEYS)}; put your own under metadata."
    for key in TEXTS:
        if key in head and not isinstance(head[key], str):
            yield f"{key} must be text."
    if isinstance(name := head.get("name"), str):
        yield from name_problems(name.strip(), folder)
    if isinstance(text := head.get("description"), str):
        if len(text) > MAX_DESCRIPTION:
            yield f"the description has {len(text)} characters; {MAX_DESCRIPTION} are allowed."
        if "<" in text or ">" in text:
            yield "the description has < or >, which some assistants refuse."
    if isinstance(text := head.get("compatibility"), str) and len(text) > MAX_COMPATIBILITY:
        yield f"compatibility has {len(text)} characters; {MAX_COMPATIBILITY} are allowed."
    metadata = head.get("metadata", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        yield "metadata must be a mapping from words to text."


def name_problems(name: str, folder: str | None = None) -> Iterator[str]:
    """What is wrong with a skill's name; `folder`: the folder's, which must be the same."""
    name = unicodedata.normalize("NFKC", name)
    if not name:
        yield "the name is empty."
    if len(name) > MAX_NAME:
        yield f"the name has {len(name)} characters; {MAX_NAME} are allowed."
    letters = all(c.isalnum() or c == "-" for c in name)
    if name != name.lower() or not letters or name.strip("-") != name or "--" in name:
        yield f"the name {name!r} must be lowercase letters, digits and single hyphens."
    if len(scripts := {_script(c) for c in name if c.isalpha()}) > 1:
        mixed = " and ".join(sorted(scripts))
        yield f"the name {name!r} mixes letters that look alike: {mixed}."
    if folder is not None and unicodedata.normalize("NFKC", folder) != name:
        yield f"the folder is called {folder!r}, and the skill {name!r}: they must be the same."


def _script(letter: str) -> str:
    """LATIN, CYRILLIC and so on."""
    return unicodedata.name(letter, "UNKNOWN").split()[0]
