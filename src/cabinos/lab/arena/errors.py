"""What can go wrong in the arena, each with a message a person can act on."""

from cabinos.lab.comparisons.errors import ComparisonError

__all__ = ["ArenaError"]


class ArenaError(ComparisonError):
    """The arena's folder, its models or its prompts are not what they should be."""
