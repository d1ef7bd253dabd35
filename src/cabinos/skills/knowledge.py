"""Principles, as a person writes them in Markdown that any assistant can read, and as data.

    ## Fermentation is driven by temperature {#temperature}

    **Claim.** One sentence that can be true or false.

    **Explanation.** What it means.

    **Why.** The reason behind it.

    > a quote, word for word
    > — [bread-manual] any words

    **Technique.** What to do.
    **Use when** it helps. **Fails when** it does not.

    **Links.** requires #flour; contrasts other-skill#sourdough

A paragraph begins a field with its name in bold; what follows up to the next name belongs to it.
Text before the first such heading is for readers.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cabinos.skills.errors import SkillError
from cabinos.skills.folder import Folder

__all__ = ["KINDS", "KNOWLEDGE", "Link", "Principle", "Quote", "Technique", "read_knowledge"]

KNOWLEDGE = "knowledge"
KINDS = ("requires", "supports", "contrasts", "specialises", "example-of", "same-as")
REQUIRED = ("claim", "explanation", "why")
HEADING = re.compile(r"##\s+(?P<title>.+?)\s*\{#(?P<id>[^}]*)\}\s*$")
ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
FIELD = re.compile(
    r"\*\*(?P<name>Claim|Explanation|Why|Technique|Use when|Fails when|Links)\.?\*\*\s*"
)
BY = re.compile(r"(?:—|--)\s*(?P<words>.*)")
NAMED = re.compile(r"\[([^\]]+)\]")
TARGET = re.compile(r"(?P<skill>[\w-]*)#(?P<id>[a-z0-9-]+)")


@dataclass(frozen=True, slots=True)
class Quote:
    """What a source says, word for word."""

    text: str
    source: str  # the id of a source
    line: int  # in the knowledge file


@dataclass(frozen=True, slots=True)
class Technique:
    """What to do with a principle."""

    text: str
    use_when: str = ""
    fails_when: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """An edge that an author vouches for."""

    kind: str  # one of KINDS
    target: str  # skill#principle
    line: int


@dataclass(slots=True)
class Principle:
    """One thing that is claimed, with the reasons for believing it."""

    skill: str
    id: str
    title: str
    path: Path
    line: int
    claim: str = ""
    explanation: str = ""
    why: str = ""
    quotes: list[Quote] = field(default_factory=list)
    techniques: list[Technique] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    @property
    def key(self) -> str:
        """Its name everywhere: skill#id."""
        return f"{self.skill}#{self.id}"


def read_knowledge(folder: Folder, skill: str) -> list[Principle]:
    """The principles of a skill in order. Raises SkillError, naming the line, for what is wrong."""
    found: list[Principle] = []
    if not folder.has(KNOWLEDGE):
        return found
    for inner in folder.files(KNOWLEDGE, ".md"):
        found += parse(folder.text(inner), skill, folder.path / inner)
    seen: dict[str, Principle] = {}
    for principle in found:
        if (other := seen.setdefault(principle.id, principle)) is not principle:
            where = f"{other.path.name}:{other.line}"
            wrong = f"the id {principle.id!r} is already that of {where}."
            raise SkillError(wrong, principle.path, principle.line)
    return found


def parse(text: str, skill: str, path: Path) -> list[Principle]:
    """The principles in one file."""
    found: list[Principle] = []
    fields: list[tuple[str, list[str]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("## "):
            if found:
                _fill(found[-1], fields)
            found.append(_begin(line, skill, path, number))
            fields = []
        elif found and line.startswith("# "):  # a new part of the file: text for readers
            fields.append(("", []))
        elif found and line.startswith(">"):
            quoted = line[1:].strip()
            if not fields or fields[-1][0] != "quote":
                fields.append(("quote", [str(number)]))
            fields[-1][1].append(quoted)
        elif found:
            if fields and fields[-1][0] == "quote":
                fields.append(("", []))
            for name, words in _pieces(line):
                if name:
                    fields.append((name, [str(number)]))
                if words and fields:
                    fields[-1][1].append(words)
    if found:
        _fill(found[-1], fields)
    return found


def _begin(line: str, skill: str, path: Path, number: int) -> Principle:
    heading = HEADING.fullmatch(line)
    if heading is None:
        raise SkillError("a principle's heading ends with its id: `## Title {#id}`.", path, number)
    if not ID.fullmatch(heading["id"]):
        wrong = f"{heading['id']!r} is no id: lowercase letters, digits and single hyphens."
        raise SkillError(wrong, path, number)
    return Principle(skill, heading["id"], heading["title"], path, number)


def _pieces(line: str) -> Iterator[tuple[str, str]]:
    """(field that begins, its words) of a line, which may hold several."""
    marks = list(FIELD.finditer(line))
    ends = [mark.start() for mark in marks] + [len(line)]
    yield "", line[: ends[0]].strip()
    for mark, end in zip(marks, ends[1:], strict=True):
        yield mark["name"].lower(), line[mark.end() : end].strip()


def _fill(principle: Principle, fields: list[tuple[str, list[str]]]) -> None:
    """Puts what was read into the principle. Raises SkillError for what is wrong."""
    for name, parts in fields:
        if not name:
            continue
        line, words = int(parts[0]), " ".join(part for part in parts[1:] if part)
        if name in REQUIRED:
            if getattr(principle, name):
                raise SkillError(f"{principle.id}: {name} stands here twice.", principle.path, line)
            setattr(principle, name, words)
        elif name == "quote":
            principle.quotes.append(_quote(parts[1:], principle, line))
        elif name == "technique":
            principle.techniques.append(Technique(words))
        elif name == "links":
            principle.links += _links(words, principle, line)
        else:
            _condition(principle, name, words, line)
    for name in REQUIRED:
        if not getattr(principle, name):
            wrong = f"{principle.id}: there is no **{name.capitalize()}.**"
            raise SkillError(wrong, principle.path, principle.line)


def _quote(parts: list[str], principle: Principle, line: int) -> Quote:
    """A block quote whose last line says where it is from."""
    by = BY.fullmatch(parts[-1])
    named = NAMED.search(by["words"]) if by else None
    if named is None:
        wrong = f"{principle.id}: a quote's last line names its source: `> — [source]`."
        raise SkillError(wrong, principle.path, line)
    return Quote(" ".join(part for part in parts[:-1] if part), named[1].strip(), line)


def _condition(principle: Principle, name: str, words: str, line: int) -> None:
    if not principle.techniques:
        wrong = f"{principle.id}: {name!r} stands before any technique."
        raise SkillError(wrong, principle.path, line)
    last = principle.techniques[-1]
    use, fails = last.use_when, last.fails_when
    if name == "use when":
        use = words
    else:
        fails = words
    principle.techniques[-1] = Technique(last.text, use, fails)


def _links(words: str, principle: Principle, line: int) -> list[Link]:
    """`requires #a, other#b; contrasts #c.` as links."""
    found = []
    for part in words.rstrip(". ").split(";"):
        kind, _, targets = part.strip().partition(" ")
        if kind not in KINDS:
            wrong = f"{principle.id}: {kind!r} is no kind of link: {', '.join(KINDS)}."
            raise SkillError(wrong, principle.path, line)
        for target in targets.split(","):
            named = TARGET.fullmatch(target.strip())
            if named is None:
                wrong = f"{principle.id}: {target.strip()!r}: a link leads to skill#id or #id."
                raise SkillError(wrong, principle.path, line)
            full = f"{named['skill'] or principle.skill}#{named['id']}"
            found.append(Link(kind, full, line))
    return found
