"""The skills on this machine: those in the box, those installed, those of other assistants.

    $CABIN_HOME/skills           installed by the user
    (in the box)                 the library that comes with Cabin
    .agents/skills, .claude/skills       of the current folder, then of the home folder

Of two skills of one name the first counts, so no folder that was merely cloned can take the place
of an installed skill or of one in the box. What the box holds is trusted. Anything else is text by
a stranger, until the user trusts it as it is now: trust is bound to a hash of all its files, and
ends with the first change.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cabinos.skills.errors import SkillError
from cabinos.skills.folder import Folder
from cabinos.skills.package import MAIN, Skill, read_head, read_skill
from cabinos.store.home import cabin_home

__all__ = [
    "Broken",
    "Catalog",
    "Entry",
    "digest",
    "installed_folder",
    "library_folder",
    "write_trust",
]

Origin = Literal["installed", "box", "found"]
PLACES = (".agents/skills", ".claude/skills")
MOST = 2_000  # skills of one folder that are read
TRUST = "trust.json"  # beside the installed skills: name → digest


@dataclass(frozen=True, slots=True)
class Entry:
    """A skill and how far it may be believed."""

    skill: Skill
    origin: Origin
    trusted: bool

    @property
    def label(self) -> Literal["trusted", "untrusted"]:
        """Of whoever reads it."""
        return "trusted" if self.trusted else "untrusted"


@dataclass(frozen=True, slots=True)
class Broken:
    """A folder with a SKILL.md that cannot be used, or that another skill hides."""

    path: Path
    why: str


class Catalog:
    """What was found, at the time it was made."""

    def __init__(self, entries: Iterable[Entry], broken: Iterable[Broken] = ()) -> None:
        self.entries = list(entries)
        self.broken = list(broken)
        self._named = {entry.skill.name: entry for entry in self.entries}

    @classmethod
    def read(cls, *, here: Path | None = None, knowledge: bool = True) -> "Catalog":
        """Looks everywhere. `here`: the current folder. Without `knowledge`, only the heads."""
        trusted = read_trust()
        entries: dict[str, Entry] = {}
        broken: list[Broken] = []
        for folder, origin in places(here or Path()):
            for path in skill_folders(folder):
                try:
                    skill = (read_skill if knowledge else read_head)(path)
                except SkillError as error:
                    broken.append(Broken(path, str(error)))
                    continue
                if (other := entries.get(skill.name)) is not None:
                    if not same_place(other.skill.folder.path, path):
                        why = f"{other.skill.folder.path} has the same name and comes first."
                        broken.append(Broken(path, why))
                    continue
                believed = origin == "box"
                if origin == "installed":
                    believed = _is_trusted(skill, trusted)
                entries[skill.name] = Entry(skill, origin, believed)
        return cls(entries.values(), broken)

    @property
    def skills(self) -> list[Skill]:
        """All of them."""
        return [entry.skill for entry in self.entries]

    def get(self, name: str) -> Entry:
        """The skill of a name. Raises SkillError, with what is near, if there is none."""
        if name not in self._named:
            import difflib

            near = difflib.get_close_matches(name, self._named, 1)
            hint = f" Did you mean {near[0]!r}?" if near else " `cabin skill list` has all."
            raise SkillError(f"there is no skill {name!r}.{hint}")
        return self._named[name]


def library_folder() -> Path:
    """The skills that come with Cabin."""
    return Path(__file__).parent / "library"


def installed_folder() -> Path:
    """Where `cabin skill install` puts them. It need not exist yet."""
    return cabin_home() / "skills"


def places(here: Path) -> Iterator[tuple[Path, Origin]]:
    """The folders of skills, the most believed first."""
    yield installed_folder(), "installed"
    yield library_folder(), "box"
    for base in (here, Path.home()):
        for inner in PLACES:
            yield base / inner, "found"


def skill_folders(folder: Path) -> list[Path]:
    """The folders in it that have a SKILL.md, by name."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if not e.name.startswith("."))
    except OSError:  # most of these places do not exist
        return []
    return [path for path in map(folder.joinpath, names[:MOST]) if (path / MAIN).exists()]


def same_place(one: Path, other: Path) -> bool:
    """Whether two paths lead to one folder: many people link these places to each other."""
    try:
        return one.samefile(other)
    except OSError:
        return False


# ---- Trust ---------------------------------------------------------------------------------------


def digest(folder: Folder) -> str:
    """SHA-256 over the names and contents of all files of a skill, as hexadecimal digits."""
    whole = hashlib.sha256()
    for inner in folder.files():
        path = folder.locate(inner)
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").digest()
        whole.update(len(inner.encode()).to_bytes(4, "big") + inner.encode() + content)
    return whole.hexdigest()


def read_trust() -> dict[str, str]:
    """What the user trusts: names and digests. Raises SkillError if the file is damaged."""
    path = installed_folder() / TRUST
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SkillError(f"cannot be read ({error}); delete it to trust nothing.", path) from None
    if not isinstance(data, dict):
        raise SkillError("not a list of trusted skills; delete it to trust nothing.", path)
    return {str(name): str(value) for name, value in data.items()}


def write_trust(names: Sequence[Skill], *, forget: Sequence[str] = ()) -> None:
    """Trusts skills as they are now, and forgets others."""
    trusted = {n: value for n, value in read_trust().items() if n not in forget}
    trusted |= {skill.name: digest(skill.folder) for skill in names}
    path = installed_folder() / TRUST
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{TRUST}.{os.getpid()}")
    draft.write_text(json.dumps(trusted, indent=1) + "\n")
    draft.replace(path)


def _is_trusted(skill: Skill, trusted: dict[str, str]) -> bool:
    return skill.name in trusted and trusted[skill.name] == digest(skill.folder)
