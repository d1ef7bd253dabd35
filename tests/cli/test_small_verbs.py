"""exec, mem, doctor, completion."""

import json
import sqlite3
from pathlib import Path

import pytest

from tests.cli.support import Cabin, Terminal


def test_exec_prints_the_value(cabin: Cabin, tmp_path: Path) -> None:
    assert cabin("exec", "print('so')\n2 ** 100").stdout == f"so\n{2**100}\n"
    assert cabin("exec", "-f", "-", stdin="'a' + 'b'").stdout == "ab\n"
    file = tmp_path / "program.py"
    file.write_text("[1, {'two': 3}]")
    assert cabin.json("exec", "-f", file)["value"] == [1, {"two": 3}]


def test_exec_needs_no_model_and_may_use_one(cabin: Cabin) -> None:
    assert cabin("exec", "6 * 7", PUPPET_MODEL="none").stdout == "42\n"
    assert cabin("exec", "think('say hi')").returncode == 0


def test_exec_that_fails_says_where(cabin: Cabin) -> None:
    result = cabin("exec", "x = 1\nx / 0")
    assert result.returncode == 1
    assert "ZeroDivisionError" in result.stderr
    assert cabin("exec").returncode == 2
    assert cabin("exec", "1", "-f", "x.py").returncode == 2
    assert cabin("exec", "-f", "/nowhere.py").returncode in (1, 2)


def test_exec_reads_what_it_was_granted(cabin: Cabin, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("secret")
    code = "read('in/a.txt')"
    assert "secret" in cabin("exec", code, "--files", tmp_path / "in").stdout
    assert cabin("exec", code).returncode == 1


def test_memory_of_a_process(cabin: Cabin) -> None:
    cabin("call rumour")
    pages = cabin.json("mem", "list", "1")["pages"]
    assert [p["role"] for p in pages] == ["system", "user", "assistant", "tool", "assistant"]
    assert [p["pinned"] for p in pages] == [True, True, False, False, False]
    handle = pages[3]["handle"]
    assert handle in cabin("mem", "list", "1").stdout
    assert cabin("mem", "show", handle).stdout == "the moon is cheese\n"
    assert cabin("mem", "show", "0000000000").returncode == 1
    assert cabin("mem", "show", "%").returncode == 2


def test_memory_is_searched_by_words(cabin: Cabin) -> None:
    cabin("call rumour")
    cabin("say moonlight and cheeses")
    found = cabin.json("mem", "search", "cheese", "nonsense")["pages"]
    texts = [p["text"] for p in found]
    assert "the moon is cheese" in texts
    assert "say moonlight and cheeses" in texts  # by its stem
    assert "call rumour" not in texts
    mine = cabin.json("mem", "search", "cheese", "--pid", "2")["pages"]
    assert "the moon is cheese" not in [p["text"] for p in mine]
    assert "Nothing" in cabin("mem", "search", "elephant").stderr
    assert cabin("mem", "search", "?!").returncode == 2


def test_notes_are_listed_and_found(cabin: Cabin) -> None:
    cabin('call notes_remember {"text": "the door code is 1234"}')
    cabin('call notes_todo_add {"text": "buy milk"}')
    notes = cabin.json("mem", "notes")["notes"]
    assert [(n["kind"], n["text"]) for n in notes] == [
        ("note", "the door code is 1234"),
        ("todo", "buy milk"),
    ]
    assert cabin.json("mem", "search", "doors")["notes"][0]["id"] == 1
    assert "buy milk" in cabin("mem", "notes").stdout


def test_doctor_finds_everything_in_order(cabin: Cabin) -> None:
    cabin("say hi")
    result = cabin("doctor")
    assert result.returncode == 0, result.stdout
    findings = {f["name"]: f for f in cabin.json("doctor")["findings"]}
    for name in ("python", "engine", "config", "devices", "brains", "store", "pages", "journal"):
        assert findings[name]["state"] == "ok", findings[name]
    assert "puppet" in findings["brains"]["detail"]
    assert {"remote", "web", "mcp", "sandbox"} <= findings.keys()


def test_doctor_before_anything(cabin: Cabin) -> None:
    findings = {f["name"]: f for f in cabin.json("doctor")["findings"]}
    assert findings["store"]["state"] == "missing"
    assert not (cabin.home / "cabin.db").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE journal SET body = '{}' WHERE seq = 2", "breaks at row 2"),
        ("UPDATE page SET text = text || '!' WHERE role = 'assistant'", "was changed"),
    ],
)
def test_doctor_finds_what_was_changed(cabin: Cabin, change: str, told: str) -> None:
    cabin("say hi")
    with sqlite3.connect(cabin.home / "cabin.db") as db:
        db.execute(change)
    db.close()
    data = cabin.json("doctor", code=1)
    (broken,) = [f for f in data["findings"] if f["state"] == "broken"]
    assert told in broken["detail"]
    assert "cabin.db" in broken["detail"]


def test_top_refreshes_until_control_c(cabin: Cabin) -> None:
    cabin("fail")
    terminal = Terminal(cabin, "top", "--interval", "0.2")
    terminal.expect("no kernel runs")
    terminal.expect("no kernel runs")
    terminal.type("\x03")
    assert terminal.end() == 130


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(cabin: Cabin, shell: str) -> None:
    assert "_CABIN_COMPLETE" in cabin("completion", shell).stdout


def test_completion_knows_verbs_and_processes(cabin: Cabin) -> None:
    cabin("fail")
    words = {"_CABIN_COMPLETE": "bash_complete", "COMP_CWORD": "1", "COMP_WORDS": "cabin ki"}
    assert cabin(**words).stdout == "plain,kill\n"
    words = {"_CABIN_COMPLETE": "bash_complete", "COMP_CWORD": "2", "COMP_WORDS": "cabin kill "}
    assert cabin(**words).stdout == "plain,1\n"
    assert json.loads(cabin("ps", "--json").stdout)["processes"][0]["pid"] == 1
