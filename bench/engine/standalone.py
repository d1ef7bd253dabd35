"""The standalone program: run.c compiled, and started as a process of its own."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import harness


class ProgramError(Exception):
    """A program could not be built, or failed; the message has its last words."""


# A child inherits the peak of the process that started it, so a small one must do that.
LAUNCHER = """
import os, sys
_, status, usage = os.wait4(os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:]), 0)
print(os.linesep + str(usage.ru_maxrss))
sys.exit(status != 0)
"""


@dataclass
class Ended:
    """One finished process: seconds to its first byte of output and to its end."""

    first: float
    end: float


def start(command: list[str]) -> Ended:
    """Run `command` to its end. Raises ProgramError if it fails."""
    begin = time.perf_counter()
    with (
        tempfile.TemporaryFile() as words,  # a file, since a full pipe nobody reads would stop it
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=words, stdin=subprocess.DEVNULL
        ) as process,
    ):
        assert process.stdout is not None
        process.stdout.read(1)
        first = time.perf_counter() - begin
        process.stdout.read()
        status = process.wait()
        end = time.perf_counter() - begin
        words.seek(0)
        last = words.read()[-500:].decode(errors="replace").strip()
    if status != 0:
        raise ProgramError(f"{Path(command[0]).name} ended with {status}: {last}")
    return Ended(first, end)


def peak_memory(command: list[str]) -> int:
    """Peak resident bytes of `command`, mapped files included. Raises ProgramError if it fails."""
    launch = [sys.executable, "-I", "-S", "-c", LAUNCHER, *command]
    done = subprocess.run(launch, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        last = done.stderr[-500:].decode(errors="replace").strip()
        raise ProgramError(f"{Path(command[0]).name} failed: {last}")
    # Linux counts in KiB, macOS in bytes
    return int(done.stdout.split()[-1]) * (1 if sys.platform == "darwin" else 1024)


def build(folder: Path) -> Path:
    """Compile run.c into `folder`. Raises ProgramError if there is no compiler or it fails."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise ProgramError("no C compiler found; install one, or name it with CC=")
    source = harness.ROOT / "src/cabinos/engine/run.c"
    program = folder / "run"
    flags = ["-O3", "-march=native", "-ffp-contract=off", "-lm", "-lpthread"]
    done = subprocess.run(
        [compiler, str(source), "-o", str(program), *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ProgramError(f"run.c does not compile: {done.stderr[-500:].strip()}")
    return program


@contextmanager
def private_copy(model: Path) -> Iterator[Path]:
    """A hard link in a folder of its own, where a cache can be made and removed."""
    with tempfile.TemporaryDirectory(dir=model.parent, prefix="bench-") as folder:
        copy = Path(folder) / model.name
        copy.hardlink_to(model)
        yield copy


def forget_cache(copy: Path) -> None:
    """Remove what an earlier open left beside a private copy."""
    for path in copy.parent.iterdir():
        if path != copy:
            path.unlink()


def warm(path: Path) -> None:
    """Read the file once, so that it is in the page cache."""
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass
