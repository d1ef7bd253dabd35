"""A skill's folder, read with suspicion: nothing outside of it, nothing huge, no device."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from cabinos.skills.errors import SkillError

__all__ = ["MAX_BYTES", "MAX_FILE", "MAX_FILES", "Folder"]

MAX_FILE = 1 << 20  # bytes of a file that is read as text
MAX_FILES = 2_000
MAX_BYTES = 64 << 20  # bytes of a whole skill
LEFT_OUT = ("__pycache__", "node_modules")  # and whatever begins with a dot


class Folder:
    """The files of one skill. Paths are relative, with slashes, and never climb."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._root = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or "a loop of links"
            raise SkillError(f"cannot be opened ({reason}).", path) from None
        if not self._root.is_dir():
            raise SkillError("this is no folder; a skill is a folder with a SKILL.md.", path)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.name or self._root.name

    def locate(self, inner: str) -> Path:
        """Where a file of this skill is. Raises SkillError if it lies outside, or is none."""
        parts = PurePosixPath(inner).parts
        hidden = any(_is_left_out(part) for part in parts)  # ".." is, too
        if "\0" in inner or "\\" in inner or inner.startswith(("/", "~")) or hidden:
            raise SkillError(f"{inner!r} is not a path within the skill.", self.path)
        path = self.path.joinpath(*parts)
        try:
            real = path.resolve(strict=True)
            mode = real.stat().st_mode
        except (OSError, RuntimeError, ValueError):
            raise SkillError(f"there is no file {inner!r}.", self.path) from None
        if not real.is_relative_to(self._root):
            raise SkillError(f"{inner!r} is a link to a place outside of the skill.", self.path)
        if not stat.S_ISREG(mode):
            raise SkillError(f"{inner!r} is not a plain file.", self.path)
        return path

    def has(self, inner: str) -> bool:
        """Whether there is something of this name, of whatever kind."""
        return os.path.lexists(self.path.joinpath(inner))

    def text(self, inner: str) -> str:
        """The text of a file. Raises SkillError if it is huge or not UTF-8."""
        path = self.locate(inner)
        try:
            with path.open("rb") as file:
                data = file.read(MAX_FILE + 1)
        except OSError as error:
            raise SkillError(f"cannot be read ({error.strerror}).", path) from None
        if len(data) > MAX_FILE:
            raise SkillError(f"more than {MAX_FILE >> 20} MiB of text.", path)
        try:
            return data.decode("utf-8").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise SkillError(f"not UTF-8 text (byte {error.start}).", path, line) from None

    def files(self, below: str = "", ending: str = "") -> list[str]:
        """The plain files below a folder, sorted; hidden ones and build output left out.

        Raises SkillError if there are more, or larger ones, than a skill may have.
        """
        found: list[str] = []
        total = 0
        for number, (inner, size) in enumerate(self._walk(below), 1):
            total += size
            if number > MAX_FILES or total > MAX_BYTES:
                most = f"{MAX_FILES:,} files or {MAX_BYTES >> 20} MiB"
                raise SkillError(f"a skill may have at most {most}.", self.path)
            if inner.endswith(ending):
                found.append(inner)
        return sorted(found)

    def _walk(self, below: str) -> Iterator[tuple[str, int]]:
        """(path, bytes) of each file; links are not followed."""
        for where, folders, names in os.walk(self._root.joinpath(below)):
            folders[:] = sorted(name for name in folders if not _is_left_out(name))
            for name in names:
                path = Path(where, name)
                found = path.lstat()
                if stat.S_ISREG(found.st_mode) and not _is_left_out(name):
                    yield path.relative_to(self._root).as_posix(), found.st_size


def _is_left_out(name: str) -> bool:
    """Whether a file or folder is no part of a skill: it is neither read, copied nor hashed."""
    return name.startswith(".") or name in LEFT_OUT
