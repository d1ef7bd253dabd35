"""`cabin` in real processes, for tests to call, to interrupt and to type at."""

import json
import os
import pty
import select
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CABIN = [sys.executable, "-m", "cabinos"]
PATIENCE = 60  # seconds for anything at all


@dataclass
class Cabin:
    """`cabin` in a home of its own: call it with arguments."""

    home: Path
    environment: dict[str, str]
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def world(self) -> Path:
        """What the effects of the plug-in's tools were."""
        return Path(self.environment["PUPPET_WORLD"])

    def struck(self) -> bool:
        """Whether an effect is wholly there: a file is created before it has a line."""
        return self.world.exists() and self.world.read_text().endswith("\n")

    def __call__(
        self, *arguments: str | Path, stdin: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*CABIN, *map(str, arguments)],
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            env={**self.environment, **environment},
            cwd=self.home,
            timeout=PATIENCE,
        )

    def json(self, *arguments: str | Path, code: int = 0, stdin: str | None = None) -> Any:
        """What it prints as JSON, after it has exited with `code`."""
        result = self(*arguments, "--json", stdin=stdin)
        assert result.returncode == code, result.stderr
        return json.loads(result.stdout)

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Leaves it running."""
        process = subprocess.Popen(
            [*CABIN, *map(str, arguments)],
            **{
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "text": True,
                "env": self.environment,
                "cwd": self.home,
                **options,
            },
        )
        self.running.append(process)
        return process

    def up(self) -> subprocess.Popen[str]:
        """A kernel that runs, and has said so."""
        process = self.start("up")
        assert process.stderr is not None
        assert "The kernel runs" in process.stderr.readline()
        return process

    def state(self, pid: int = 1) -> str | None:
        """The state of a process, as the store has it; None if there is none."""
        path = self.home / "cabin.db"
        if not path.exists():
            return None
        db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            found = db.execute("SELECT state FROM process WHERE pid = ?", (pid,)).fetchone()
        except sqlite3.OperationalError:  # the tables are being made
            return None
        finally:
            db.close()
        return found[0] if found else None

    def wait_for(self, state: str, pid: int = 1) -> None:
        """Waits until a process is in this state."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.state(pid)) != state:
            assert time.monotonic() < deadline, f"process {pid} is {found}, not {state}"
            died = [p for p in self.running if p.poll() is not None]
            assert len(died) < len(self.running), died[-1].communicate()
            time.sleep(0.05)

    def interrupt(self, process: subprocess.Popen[str]) -> tuple[str, str]:
        """Ctrl-C, and all that was said until the end."""
        process.send_signal(signal.SIGINT)
        return process.communicate(timeout=PATIENCE)


class Terminal:
    """A process whose stdin, stdout and stderr are one terminal."""

    def __init__(self, cabin: Cabin, *arguments: str | Path, **options: Any) -> None:
        self._ours, theirs = pty.openpty()
        self.process = cabin.start(
            *arguments,
            **{
                "stdin": theirs,
                "stdout": theirs,
                "stderr": theirs,
                "text": False,
                "start_new_session": True,
                "preexec_fn": lambda: _control(theirs),
                **options,
            },
        )
        os.close(theirs)
        self.seen = ""
        self._read = 0

    def expect(self, text: str) -> str:
        """Reads until `text` has come; returns what came before it since the last time."""
        deadline = time.monotonic() + PATIENCE
        while (at := self.seen.find(text, self._read)) < 0:
            assert time.monotonic() < deadline, f"no {text!r} in {self.seen!r}"
            assert self._more(), f"no {text!r} in {self.seen!r}"
        before = self.seen[self._read : at]
        self._read = at + len(text)
        return before

    def _more(self) -> bool:
        if not select.select([self._ours], [], [], 1)[0]:
            return True
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # the other side is closed
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)

    def type(self, text: str) -> None:
        """Keys as a person presses them; \x03 is Ctrl-C, \x04 is Ctrl-D."""
        os.write(self._ours, text.encode())

    def press(self, key: str, text: str) -> None:
        """A key, again each second until `text` has come.

        CPython loses a Ctrl-C that comes between a prompt and its `select`; a person presses again.
        """
        deadline = time.monotonic() + PATIENCE
        pressed = 0.0
        while (at := self.seen.find(text, self._read)) < 0:
            now = time.monotonic()
            assert now < deadline, f"no {text!r} in {self.seen!r}"
            if now - pressed > 1:
                pressed = now
                self.type(key)
            assert self._more(), f"no {text!r} in {self.seen!r}"
        self._read = at + len(text)

    def end(self) -> int:
        """Reads to the end and returns the exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._more() and self.process.poll() is None:
            assert time.monotonic() < deadline, self.seen
        while self._more() and select.select([self._ours], [], [], 0)[0]:
            pass
        os.close(self._ours)
        return self.process.wait(PATIENCE)


def _control(terminal: int) -> None:
    """Makes the terminal the one that Ctrl-C is typed at."""
    import fcntl
    import termios

    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
