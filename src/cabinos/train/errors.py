"""What can go wrong in the workshop, each with a message a person can act on."""

from importlib.util import find_spec

__all__ = ["CorpusError", "NotANumber", "SourceError", "TrainError", "require_torch"]


class TrainError(Exception):
    """Base of all errors of the workshop."""


class SourceError(TrainError):
    """A source could not be fetched, or what came is not what the manifest pins."""


class CorpusError(TrainError):
    """The prepared texts or shards are missing, damaged or do not fit the request."""


class NotANumber(TrainError):
    """The loss or the gradient stopped being a number; training must not go on."""


def require_torch() -> None:
    """Raise TrainError, with what to do, if torch is not installed."""
    if find_spec("torch") is None:
        raise TrainError("Training needs torch: pip install 'cabinos[train]'.")
