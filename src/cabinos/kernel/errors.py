"""What can go wrong in the kernel, each with a message a person can act on."""

__all__ = [
    "BudgetExceeded",
    "ContextOverflow",
    "Denied",
    "InvalidArguments",
    "KernelError",
    "ModelError",
    "NoSuchProcess",
    "ToolError",
]


class KernelError(Exception):
    """Base of all errors of the kernel and its drivers."""


class NoSuchProcess(KernelError):
    """No process has this pid."""


class Denied(KernelError):
    """Policy, a missing capability or a person said no."""


class InvalidArguments(KernelError):
    """A call's arguments do not fit the tool's schema; the message says which and why."""


class ToolError(KernelError):
    """A tool could not do what was asked; the message is for the model, and for a person.

    `readers`: who may read it beyond this machine; None: anybody.
    """

    def __init__(self, message: str, *, readers: frozenset[str] | None = None) -> None:
        super().__init__(message)
        self.readers = readers


class BudgetExceeded(KernelError):
    """A budget of the process or of one of its ancestors does not cover the next step."""


class ModelError(KernelError):
    """A model could not answer. `retryable`: the same request may succeed later."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class ContextOverflow(ModelError):
    """The request is longer than the model's window."""
