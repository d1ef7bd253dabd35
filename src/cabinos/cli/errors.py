"""How the `cabin` command ends: one clear line for what a person did, a traceback for a bug.

Exit codes: 0 done · 1 it could not be done · 2 the command line is wrong · 3 the process has
stopped or waits for a person · 130 stopped by Ctrl-C · 141 the reader of the output went away
(128 + the signal's number, as a shell reports it).
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

BLOCKED = 3
INTERRUPTED = 130
BROKEN_PIPE = 141


class Failure(click.ClickException):
    """Something could not be done: shown as `cabin: error: …` on stderr, exit code 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message to `file`, by default stderr."""
        click.echo(f"cabin: error: {self.message}", file=file or sys.stderr)


@contextmanager
def clear_errors(debug: bool) -> Iterator[None]:
    """Turn what the block raises into an exit code and, where a person should read it, one line.

    With `debug`, errors pass through and Python prints the traceback.
    """
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        if debug:
            raise
        click.echo(err=True)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        # Python flushes stdout once more at exit; let that go nowhere instead of failing again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(BROKEN_PIPE) from None
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        raise Failure(f"{where}{error.strerror or error}") from error
    except Exception as error:
        if debug or not _is_own(error):
            raise
        raise Failure(str(error)) from error


OWN = (
    ("cabinos.brain.errors", "BrainError"),
    ("cabinos.engine.errors", "EngineError"),
    ("cabinos.index.errors", "SearchError"),
    ("cabinos.kernel.errors", "KernelError"),
    ("cabinos.lab.comparisons.errors", "ComparisonError"),
    ("cabinos.lab.compress.errors", "CompressError"),
    ("cabinos.lab.evaluate.errors", "EvalError"),
    ("cabinos.skills.errors", "SkillError"),
    ("cabinos.store.errors", "StoreError"),
    ("cabinos.train.errors", "TrainError"),
)


def _is_own(error: Exception) -> bool:
    """Whether one of Cabin's rooms raised it on purpose. What was not imported raised nothing."""
    return any(
        module in sys.modules and isinstance(error, getattr(sys.modules[module], name))
        for module, name in OWN
    )
