"""What can go wrong with comparisons, each with a message a person can act on."""

__all__ = ["ComparisonError"]


class ComparisonError(Exception):
    """A file of comparisons is missing, in use, damaged or not what it should be."""
