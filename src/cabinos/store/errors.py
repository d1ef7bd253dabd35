"""What can go wrong with the store, each with a message a person can act on."""

__all__ = ["StoreBusy", "StoreCorrupt", "StoreError", "StoreFailed", "StoreTooNew"]


class StoreError(Exception):
    """Base of all errors of the store."""


class StoreBusy(StoreError):
    """Another kernel runs on this store."""


class StoreCorrupt(StoreError):
    """The file is not a Cabin store, or it is damaged."""


class StoreTooNew(StoreError):
    """The file was written by a newer Cabin."""


class StoreFailed(StoreError):
    """A commit failed (disk full, disk error): nothing of it was kept, and nothing more is taken.

    The file holds the state of the last commit. No effect was started that it does not know of.
    """
