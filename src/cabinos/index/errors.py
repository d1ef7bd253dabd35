"""What can go wrong with the index, each with a message a person can act on."""

__all__ = ["SearchError"]


class SearchError(Exception):
    """Base of all errors of the index."""
