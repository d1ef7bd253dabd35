"""Reading a person's messages: with line editing and history, several lines at will."""

import sys
from collections.abc import Iterable
from contextlib import suppress
from types import ModuleType

__all__ = ["Prompt"]

HISTORY = 1000  # lines that are kept
FENCE = '"""'  # a line of it begins and ends a message of several lines


class Prompt:
    """Messages from stdin. At a terminal, with the history of earlier conversations."""

    def __init__(self, words: Iterable[str]) -> None:
        from cabinos.store.home import cabin_home

        self.interactive = sys.stdin.isatty() and sys.stdout.isatty()
        self._history = cabin_home() / "chat_history"
        self._readline = _readline(tuple(words)) if self.interactive else None
        self._reading = ""  # the prompt of the line that is being typed
        if self._readline is not None:
            with suppress(OSError):
                self._readline.read_history_file(self._history)
            self._readline.set_history_length(HISTORY)

    def read(self) -> str | None:
        r"""The next message; None at the end of input. Raises KeyboardInterrupt.

        A line that ends with \ goes on in the next; so does all between two lines of FENCE.
        """
        line = self._line("\n> ")
        if line is None:
            return None
        if line.strip() == FENCE:
            return self._fenced()
        lines = [line]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            more = self._line("… ")
            if more is None:
                break
            lines.append(more)
        return "\n".join(lines).strip()

    def _fenced(self) -> str:
        lines: list[str] = []
        while (line := self._line("… ")) is not None and line.strip() != FENCE:
            lines.append(line)
        return "\n".join(lines).strip()

    def _line(self, prompt: str) -> str | None:
        if self.interactive:
            self._reading = prompt
            try:
                return input(prompt)
            except EOFError:
                sys.stdout.write("\n")
                return None
            finally:
                self._reading = ""
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else None

    def again(self) -> None:
        """Shows what is being typed once more, after something was printed over it."""
        if self._reading:
            typed = self._readline.get_line_buffer() if self._readline is not None else ""
            sys.stdout.write(f"{self._reading.lstrip()}{typed}")
            sys.stdout.flush()

    def close(self) -> None:
        """Keeps the history, for nobody else to read."""
        if self._readline is not None:
            with suppress(OSError):
                self._history.touch(mode=0o600)
                self._readline.write_history_file(self._history)


def _readline(words: tuple[str, ...]) -> ModuleType | None:
    """Line editing that completes `words`; None where Python was built without it."""
    try:
        import readline
    except ImportError:
        return None

    def complete(text: str, number: int) -> str | None:
        found = [word for word in words if word.startswith(text)] if text else []
        return found[number] if number < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims(" ")
    editline = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if editline else "tab: complete")
    return readline
