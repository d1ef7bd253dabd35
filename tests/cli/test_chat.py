"""`cabin chat`: turns, commands, and coming back."""

import json

from tests.cli.support import Cabin, Terminal


def test_each_line_is_a_message(cabin: Cabin) -> None:
    result = cabin("chat", stdin="say one\nsay two\n")
    assert result.returncode == 0
    assert result.stdout == "one\ntwo\n"
    assert "`cabin chat 1`" in result.stderr
    assert cabin.state() == "blocked"


def test_it_goes_on_by_its_number_and_as_the_last_one(cabin: Cabin) -> None:
    cabin("chat", stdin="say one\n")
    assert cabin("chat", "1", stdin="say two\n").stdout == "two\n"
    assert cabin("chat", "--resume", stdin="say three\n").stdout == "three\n"
    assert [p["pid"] for p in cabin.json("ps")["processes"]] == [1]
    assert cabin("log", "1").stdout.count("think") == 3
    assert cabin.json("replay", "1")["same"] is True


def test_a_finished_request_is_taken_up_as_a_child(cabin: Cabin) -> None:
    cabin("say one")
    result = cabin("chat", "1", stdin="say two\n")
    assert result.stdout == "two\n"
    assert "Process 2 goes on from there" in result.stderr
    assert cabin.state(2) == "blocked"


def test_a_request_that_waits_is_gone_on_with(cabin: Cabin) -> None:
    cabin('call ask {"question": "Which?"}')
    assert cabin.state() == "blocked"
    terminal = Terminal(cabin, "chat", "1")
    terminal.expect("│ Which?")
    terminal.expect("> ")
    terminal.type("west\n")
    terminal.expect("it says: west")
    terminal.expect("> ")
    terminal.type("say more\n")
    terminal.expect("Process 2 goes on from there.")
    terminal.expect("more")
    terminal.expect("> ")
    terminal.type("\x04")
    assert terminal.end() == 0


def test_several_lines_are_one_message(cabin: Cabin) -> None:
    stdin = 'a \\\nb\n"""\nc\n\nd\n"""\n'
    assert cabin("chat", stdin=stdin).stdout.split() == "you said: a b you said: c d".split()
    messages = [
        page["text"] for page in cabin.json("mem", "list", "1")["pages"] if page["role"] == "user"
    ]
    assert messages == ["a \nb", "c\n\nd"]


def test_json_is_a_line_for_each_answer(cabin: Cabin) -> None:
    lines = cabin("chat", "--json", stdin="say one\nfail\nsay two\n").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [
        {"pid": 1, "status": "message", "text": "one", "label": "trusted"},
        {"pid": 1, "status": "stopped", "text": "puppet: the strings are cut.", "label": "trusted"},
        {"pid": 1, "status": "message", "text": "two", "label": "trusted"},
    ]


def test_commands(cabin: Cabin) -> None:
    lines = "/usage\nsay hello\n/ps\n/tools\n/files\n/model\n/model hal\n/usage\n/recall hello\n"
    result = cabin("chat", "--files", cabin.home, stdin=lines + "/fly\n/help\n/quit\nsay never\n")
    assert result.returncode == 0
    assert result.stdout == "hello\n"
    for told in (
        "has not begun",
        "rumour",
        "home (r): ",
        "* puppet",
        "no model 'hal'",
        " tokens, ",
        "[page ",
        "There is no /fly",
        "/help ",
    ):
        assert told in result.stderr, told
    assert "Traceback" not in result.stderr


def test_fork_and_new(cabin: Cabin) -> None:
    result = cabin("chat", stdin="say one\n/fork\nsay two\n/new\nsay three\n")
    assert result.stdout == "one\ntwo\nthree\n"
    assert "Now in process 2" in result.stderr
    assert {p["pid"]: p["steps"] for p in cabin.json("ps")["processes"]}.keys() == {1, 2, 3}
    assert "two" not in cabin("log", "1").stdout


def test_a_program_cannot_be_talked_to(cabin: Cabin) -> None:
    cabin("exec", "1 + 1")
    result = cabin("chat", "1", stdin="hi\n")
    assert result.returncode == 1
    assert "runs a program" in result.stderr
    assert cabin("chat", "--resume").returncode == 1


def test_control_c_at_the_very_beginning_stops_the_answer_alone(cabin: Cabin) -> None:
    result = cabin("chat", stdin="interrupt\nsay hi\n")
    assert result.returncode == 0, result.stderr
    assert "Stopped." in result.stderr
    assert result.stdout == "hi\n"
    assert len(cabin.json("ps", "--all")["processes"]) == 1


def test_at_a_terminal(cabin: Cabin) -> None:
    terminal = Terminal(cabin, "chat")
    terminal.expect("> ")
    terminal.type("hang\n")
    terminal.expect("Thinking about it.")
    terminal.type("\x03")  # stops the answer, not the program
    terminal.expect("Stopped.")
    terminal.expect("> ")
    terminal.type("say hi\\x1b[2J\n")
    terminal.expect("hi[2J")
    terminal.expect("> ")
    terminal.type('call paint {"wall": "west"}\n')
    terminal.expect("[y/N] ")
    terminal.type("y\n")
    terminal.expect("west is painted")
    terminal.expect("> ")
    terminal.type("half a line")
    terminal.expect("half a line")  # it is read: Ctrl-C throws away what the terminal still holds
    terminal.press("\x03", "> ")  # throws the line away
    terminal.type("\x04")
    terminal.expect("`cabin chat 1`")
    assert terminal.end() == 0
    assert cabin.world.read_text() == "painted west\n"
    history = cabin.home / "chat_history"
    assert "say hi" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0

    again = Terminal(cabin, "chat", "1")
    again.expect("west is painted")  # the last words, to remember where one was
    again.expect("> ")
    again.type("/quit\n")
    assert again.end() == 0
