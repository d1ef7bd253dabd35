"""Ctrl-C: it stops the process that a command is about, and loses nothing."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from cabinos.cli.errors import INTERRUPTED
from cabinos.cli.terminal import note

if TYPE_CHECKING:
    from cabinos.cli.session import Session

__all__ = ["control_c_waits", "stopped_by_control_c"]


@contextmanager
def control_c_waits() -> Iterator[None]:
    """A block that Ctrl-C does not break off: KeyboardInterrupt is raised at its end.

    For a beginning that has to be known before it can be stopped. A second Ctrl-C does not wait.
    Of blocks within blocks the outermost raises.
    """
    usual = signal.getsignal(signal.SIGINT)
    if isinstance(usual, _Press) or not callable(usual):  # ignored, as in a shell's background
        yield
        return
    press = _Press(usual)
    signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if press.came:
        raise KeyboardInterrupt


class _Press:
    """Takes the first Ctrl-C and leaves the next ones to `usual`."""

    def __init__(self, usual: Callable[[int, FrameType | None], object]) -> None:
        self.came = False
        self._usual = usual

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            self._usual(number, frame)
        self.came = True


@contextmanager
def stopped_by_control_c(session: "Session") -> Iterator[None]:
    """A block in which Ctrl-C, or a reader who goes away, stops the session's own process.

    An effect under way is finished first; a second Ctrl-C does not wait for that.
    """
    try:
        yield
    except KeyboardInterrupt:
        if session.own is None:
            raise
        note("\nStopping …")
        session.stop(session.own)
        note(f"Process {session.own} is stopped. `cabin cont {session.own}` goes on.", dim=False)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        if session.own is not None:
            session.stop(session.own)
        raise
