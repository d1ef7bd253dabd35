"""Reminders at the terminal: due while somebody is there, or long before."""

import sqlite3

import pytest

from cabinos.cli.bell import _ago
from tests.cli.support import Cabin, Terminal

IN_A_SECOND = 'call notes_remind {"text": "the tea", "when": "in 1 second"}'


def told(cabin: Cabin) -> bool:
    with sqlite3.connect(cabin.home / "cabin.db") as db:
        return bool(db.execute("SELECT told IS NOT NULL FROM note").fetchone()[0])


def test_one_that_fell_due_meanwhile_is_told_once_and_at_a_terminal(cabin: Cabin) -> None:
    cabin(IN_A_SECOND)
    with sqlite3.connect(cabin.home / "cabin.db") as db:
        db.execute("UPDATE note SET due = due - 9000")
    db.close()
    assert "Reminder (2 hours ago): the tea" in cabin("say hi").stderr  # perhaps nobody reads it
    assert not told(cabin)
    terminal = Terminal(cabin, "chat")
    terminal.expect("Reminder (2 hours ago): the tea")
    terminal.type("say bye\n")
    terminal.expect("\nbye")
    terminal.expect("> ")
    terminal.type("\x04")
    assert terminal.end() == 0
    assert told(cabin)
    assert "Reminder" not in cabin("say hi").stderr


def test_one_comes_while_a_line_is_typed_and_the_line_stays(cabin: Cabin) -> None:
    terminal = Terminal(cabin, "chat")
    terminal.expect("> ")
    terminal.type(f"{IN_A_SECOND}\n")
    terminal.expect("Reminder 1 is set for")
    terminal.expect("Reminder: the tea")
    terminal.type("say hel")
    terminal.expect("say hel")
    terminal.type("lo\n")
    terminal.expect("hello")
    terminal.expect("> ")
    terminal.type("\x04")
    assert terminal.end() == 0
    assert told(cabin)


def test_the_kernel_that_runs_tells_of_it(cabin: Cabin) -> None:
    kernel = cabin.up()
    cabin("spawn", IN_A_SECOND)
    assert kernel.stderr is not None
    while "Reminder: the tea" not in (line := kernel.stderr.readline()):
        assert line, "the kernel ended"
    cabin.interrupt(kernel)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, ""),
        (59, ""),
        (61, " (1 minute ago)"),
        (7_300, " (2 hours ago)"),
        (200_000, " (2 days ago)"),
    ],
)
def test_how_late_it_is(seconds: float, text: str) -> None:
    assert _ago(seconds) == text
