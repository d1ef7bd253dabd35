"""What can go wrong with the index, each with a message a person can act on."""

__all__ = ["ExtraMissing", "SearchError"]


class SearchError(Exception):
    """Base of all errors of the index."""


class ExtraMissing(SearchError):
    """A file needs a part of Cabin that is not installed; the message says which."""
