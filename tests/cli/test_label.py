"""`cabin label` and `cabin pairs` as a person uses them."""

import json
import signal
from pathlib import Path

import pytest

from tests.cli.support import Cabin, Terminal

KEYS = "q quit"


def said(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


@pytest.fixture
def file(cabin: Cabin) -> Path:
    rows = [
        {
            "prompt": [said("user", f"question {n}")],
            "responses": [[said("assistant", f"yes {n}")], [said("assistant", f"no {n}")]],
        }
        for n in range(12)
    ]
    path = cabin.home / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_are_answers_and_the_next_time_goes_on(cabin: Cabin, file: Path) -> None:
    first = cabin.json("label", file, "--seed", "1", "--rater", "me", stdin="1\nt\nb\ns\n")
    assert first["pairs"] == 3
    assert (first["ties"], first["both_bad"], first["skipped"]) == (1, 1, 1)
    found = rows(cabin.home / "chats-labelled.jsonl")
    assert [row.get("tie", False) for row in found] == [False, True, True]
    assert {row["rater"] for row in found} == {"me"}
    result = cabin("label", file, stdin="2\n")
    assert result.returncode == 0, result.stderr
    assert "5 of 12" in result.stderr
    assert rows(cabin.home / "chats-labelled.jsonl")[:3] == found
    report = cabin.json("pairs", "report", "chats-labelled.jsonl")
    assert (report["pairs"], report["ties"], report["both_bad"]) == (4, 2, 1)


def test_at_a_terminal_keys_are_answers_and_text_is_cleaned(cabin: Cabin) -> None:
    hostile = "\x1b[2Jred\u202eder \x07[bold]x[/bold]"
    row = {
        "prompt": [said("user", "why?")],
        "responses": [[said("assistant", hostile)], [said("assistant", "because")]],
    }
    path = cabin.home / "x.jsonl"
    path.write_text(json.dumps(row))
    terminal = Terminal(cabin, "label", path)
    shown = terminal.expect(KEYS)
    assert "[2Jredder [bold]x[/bold]" in shown
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown
    assert "\x07" not in shown
    terminal.type("x")
    terminal.expect("none of the keys")
    terminal.expect(KEYS)
    terminal.press("1", "1 of 1 done")  # what is typed before the question stands is thrown away
    assert terminal.end() == 0


def test_ctrl_c_and_kill_lose_nothing_and_two_at_once_are_refused(cabin: Cabin, file: Path) -> None:
    terminal = Terminal(cabin, "label", file)
    terminal.expect(KEYS)
    terminal.type("t")
    terminal.expect(KEYS)
    second = cabin("label", file)
    assert second.returncode == 1
    assert "another program is writing" in second.stderr
    terminal.type("b")
    terminal.expect(KEYS)
    terminal.process.send_signal(signal.SIGKILL)
    terminal.process.wait()
    assert not (cabin.home / "chats-labelled.jsonl").exists()
    assert cabin.json("label", file, "--report")["pairs"] == 2
    again = Terminal(cabin, "label", file)
    again.expect("3 of 12")
    again.expect(KEYS)
    again.press("\x03", "2 of 12 done")
    assert again.end() == 0
    assert len(rows(cabin.home / "chats-labelled.jsonl")) == 2


def test_what_is_wrong_is_said(cabin: Cabin, file: Path) -> None:
    empty = cabin.home / "empty.jsonl"
    empty.touch()
    assert "nothing to compare" in cabin("label", empty).stderr
    assert cabin("label", file, "--out", file).returncode == 2
    cabin("label", file, stdin="1\n")
    file.write_text(file.read_text().replace("question 0", "another"))
    assert "was begun for something else" in cabin("label", file).stderr
    bad = cabin.home / "bad.jsonl"
    bad.write_text('{"chosen": 3}\n')
    result = cabin("pairs", "convert", bad, "out.jsonl")
    assert result.returncode == 1
    assert "bad.jsonl, line 1" in result.stderr
    assert not (cabin.home / "out.jsonl").exists()


def test_from_format_to_format(cabin: Cabin) -> None:
    hh = cabin.home / "hh.jsonl"
    row = {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}
    hh.write_text(json.dumps(row) + "\n")
    assert "1 pairs" in cabin("pairs", "convert", hh, "own.jsonl").stdout
    result = cabin.json("pairs", "convert", "own.jsonl", "again.jsonl", "--as", "hh")
    assert result == {"pairs": 1, "left_out": {}}
    assert rows(cabin.home / "again.jsonl") == [row]
