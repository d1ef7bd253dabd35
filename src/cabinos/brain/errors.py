"""What can be wrong with a brain's papers."""

__all__ = ["BrainError"]


class BrainError(Exception):
    """A manifest, a key or a signature that is missing, damaged or false."""
