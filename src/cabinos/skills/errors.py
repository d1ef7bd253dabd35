"""What can go wrong with skills, with a message a person can act on."""

from pathlib import Path

__all__ = ["SkillError"]


class SkillError(Exception):
    """A skill, or what was asked of it, is wrong; the message says what and where."""

    def __init__(self, message: str, path: Path | None = None, line: int | None = None) -> None:
        where = "" if path is None else f"{path}:{line}: " if line else f"{path}: "
        super().__init__(f"{where}{message}")
