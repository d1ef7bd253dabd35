"""Verbs that act: by the kernel that runs, or where none does, by one opened for the moment."""

import time
from typing import Any

from cabinos.cli.errors import Failure
from cabinos.cli.view import holder, look

__all__ = ["carry_out", "done_with"]

PATIENCE = 10.0  # seconds that a running kernel has
GLANCE = 0.05  # seconds between two looks


def carry_out(verb: str, **body: Any) -> int:
    """Leaves an order, waits until it is carried out, and returns the pid it was about.

    The kernel on the store does it; where none runs, an idle one does, and whoever is ready then
    goes on when a kernel runs again. Raises KernelError with what was said against it.
    """
    from cabinos.cli.session import Session
    from cabinos.kernel.control import withdraw
    from cabinos.store.errors import StoreBusy
    from cabinos.store.home import store_path

    number, after = leave(verb, **body)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            with Session(None, idle=True):
                return done_with(number, after, deadline)
        except StoreBusy:
            pid = outcome(number, after)
            if pid is not None:
                return pid
            time.sleep(GLANCE)
    if withdraw(store_path(), number):
        raise Failure(
            f"the kernel (process {holder(store_path())}) did not take the order {verb!r} within "
            f"{PATIENCE:g} s. It was withdrawn."
        )
    return done_with(number, after, time.monotonic() + 1)


def leave(verb: str, **body: Any) -> tuple[int, int]:
    """Leaves an order; its number, and the row of the journal after which its outcome comes."""
    from cabinos.kernel.control import order
    from cabinos.store.home import store_path

    with look() as view:
        after = view.store.rows("SELECT coalesce(max(seq), 0) FROM journal")[0][0]
    return order(store_path(), verb, **body), after


def done_with(number: int, after: int, deadline: float) -> int:
    """Waits for an order's outcome: the pid it was about. Raises KernelError if it was refused."""
    while time.monotonic() < deadline:
        pid = outcome(number, after)
        if pid is not None:
            return pid
        time.sleep(GLANCE)
    raise Failure("the kernel was busy for too long; `cabin log` tells what became of the order.")


def outcome(number: int, after: int) -> int | None:
    """The pid an order was about, None while it waits. Raises KernelError if it was refused."""
    from cabinos.kernel import control

    with look() as view:
        return control.outcome(view.journal, number, after)
