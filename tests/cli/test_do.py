"""`cabin "request"`: the answer, the way to it, and every way it can end."""

import json
import os
import resource
import signal
from pathlib import Path

import pytest

from cabinos.cli.interrupt import control_c_waits
from tests.cli.support import PATIENCE, Cabin, Terminal


def test_the_answer_goes_to_stdout_and_the_way_to_stderr(cabin: Cabin) -> None:
    result = cabin("call rumour")
    assert result.returncode == 0
    assert result.stdout == "it says: the moon is cheese\n"
    assert "· rumour" in result.stderr
    assert "→ the moon is cheese" in result.stderr
    assert cabin("call rumour", "-q").stderr == ""


def test_a_request_needs_no_verb_and_options_may_come_first(cabin: Cabin) -> None:
    assert cabin("--quiet", "say hi").stdout == cabin("do", "say hi", "-q").stdout == "hi\n"


def test_json_has_everything(cabin: Cabin) -> None:
    data = cabin.json("call rumour")
    assert set(data) == {
        "pid", "status", "text", "label", "value", "model", "usage", "calls", "asks", "sources",
        "annotations",
    }  # fmt: skip
    assert (data["pid"], data["status"], data["model"]) == (1, "done", "puppet")
    assert data["text"] == "it says: the moon is cheese"
    assert data["usage"]["tokens"] > 50
    assert data["usage"]["usd"] > 0
    assert data["calls"] == [{"id": "c1-0", "name": "rumour", "arguments": {}, "ok": True}]


def test_a_schema_gives_a_value(cabin: Cabin, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object", "required": ["n"]}')
    assert cabin.json("how many?", "--schema", schema)["value"] == {"n": 1}
    assert json.loads(cabin("how many?", "--schema", schema).stdout) == {"n": 1}


@pytest.mark.parametrize(
    ("text", "told"), [("{", "not JSON"), ("[]", "object"), ('{"type": 7}', "not a JSON schema")]
)
def test_a_bad_schema_is_named(cabin: Cabin, tmp_path: Path, text: str, told: str) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(text)
    result = cabin("how many?", "--schema", schema)
    assert result.returncode == 1
    assert "schema.json" in result.stderr
    assert told in result.stderr


def test_what_is_piped_in_is_read_and_not_trusted(cabin: Cabin) -> None:
    assert cabin("read", stdin="x" * 100).stdout == "100 characters\n"
    (process,) = cabin.json("ps", "--all")["processes"]
    assert process["label"] == "untrusted"


def test_piped_bytes_that_are_no_text_are_refused(cabin: Cabin) -> None:
    process = cabin.start("read", stdin=-1, text=False)
    _, stderr = process.communicate(b"a\xff", timeout=PATIENCE)  # type: ignore[arg-type]
    assert process.returncode == 1
    assert b"stdin: not UTF-8 text (byte 1 is 0xff)" in stderr  # type: ignore[operator]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["moddels"], "'models'"),
        (["chta"], "'chat'"),
        (["  "], "empty"),
        (["say hi", "--files", "/nowhere/at/all"], "/nowhere/at/all"),
        (["say hi", "--time", "soon"], "soon"),
        (["say hi", "--budget-tokens", "-1"], "-1"),
        (["say hi", "--budget-usd", "much"], "much"),
        (["say hi", "--schema", "/nowhere.json"], "/nowhere.json"),
        (["say hi", "two"], "two"),
        (["say hi", "--nonsense"], "--nonsense"),
    ],
)
def test_a_wrong_command_line_exits_with_2(cabin: Cabin, arguments: list[str], told: str) -> None:
    result = cabin(*arguments)
    assert result.returncode == 2
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert not (cabin.home / "cabin.db").exists()


def test_one_word_that_is_like_no_verb_is_a_request(cabin: Cabin) -> None:
    assert cabin("xylophone").stdout == "you said: xylophone\n"


def test_folders_are_granted(cabin: Cabin, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("buy milk")
    request = 'call files_read {"path": "notes/a.txt"}'
    assert "buy milk" in cabin(request, "--files", tmp_path / "notes").stdout
    assert "buy milk" not in cabin(request).stdout
    write = 'call files_write {"path": "notes/b.txt", "text": "x"}'
    cabin(write, "--files", tmp_path / "notes")
    assert not (tmp_path / "notes" / "b.txt").exists()


def test_only_the_tools_that_were_named(cabin: Cabin) -> None:
    assert "not given the tool" in cabin("call rumour", "--tools", "paint,clock_now").stdout
    assert "cheese" in cabin("call rumour", "--tools", "rumour").stdout
    assert "not given the tool" in cabin("call rumour", "--tools", "none").stdout


def test_a_model_that_fails_stops_the_process(cabin: Cabin) -> None:
    result = cabin("fail")
    assert result.returncode == 3
    assert "the strings are cut" in result.stderr
    assert "`cabin cont 1`" in result.stderr
    assert result.stdout == ""
    data = cabin.json("fail", code=3)
    assert (data["status"], data["text"]) == ("stopped", "")
    assert "strings" in data["why"]


@pytest.mark.parametrize("flag", ["--plan", "--no-plan"])
def test_a_plan_is_wanted_or_not(cabin: Cabin, flag: str) -> None:
    """The puppet says whatever back: that is no plan, and it goes on."""
    done = cabin.json("do", "say hello", flag)
    assert done["text"] == "hello"
    steps = cabin.json("replay", str(done["pid"]))["steps"]
    assert [name for step in steps for name in step.values()].count("think") == (
        2 if flag == "--plan" else 1
    )


def test_a_budget_stops_it_and_cont_raises_it(cabin: Cabin) -> None:
    result = cabin("say hi", "--budget-tokens", "10")
    assert result.returncode == 3
    assert "10 tokens" in result.stderr
    assert "--budget-tokens" in result.stderr
    assert cabin("cont", "1").returncode == 3
    result = cabin("cont", "1", "--budget-tokens", "5000")
    assert (result.returncode, result.stdout) == (0, "hi\n")


def test_nobody_there_to_be_asked(cabin: Cabin) -> None:
    result = cabin('call paint {"wall": "west"}')
    assert result.returncode == 3
    assert "`cabin approve 1`" in result.stderr
    assert not cabin.world.exists()
    data = cabin.json('call paint {"wall": "east"}', code=3)
    assert data["status"] == "blocked"
    assert data["asks"][0]["detail"]["arguments"] == {"wall": "east"}


@pytest.mark.parametrize(("typed", "painted"), [("y\n", True), ("\n", False), ("Yeah\n", False)])
def test_a_person_at_the_terminal_is_asked(cabin: Cabin, typed: str, painted: bool) -> None:
    terminal = Terminal(cabin, 'call paint {"wall": "west\\u001b[2J\\u202e"}')
    shown = terminal.expect("[y/N] ")
    assert "Allow paint?" in shown
    assert "│ west\\u001b[2J\\u202e" in shown
    terminal.type(typed)
    assert terminal.end() == 0
    assert cabin.world.exists() is painted
    assert ("refused" in terminal.seen) is not painted


def test_end_of_input_leaves_the_question_open(cabin: Cabin) -> None:
    terminal = Terminal(cabin, 'call paint {"wall": "west"}')
    terminal.expect("[y/N] ")
    terminal.type("\x04")
    assert terminal.end() == 3
    assert len(cabin.json("asks")["asks"]) == 1
    assert not cabin.world.exists()


def test_a_question_is_answered_in_words(cabin: Cabin) -> None:
    terminal = Terminal(cabin, 'call ask {"question": "Which\\nwall?"}')
    shown = terminal.expect("> ")
    assert "│ Which" in shown
    terminal.type("the west one\n")
    terminal.expect("it says: the west one")
    assert terminal.end() == 0


def test_what_a_terminal_would_obey_is_not_shown_to_it(cabin: Cabin) -> None:
    request = "say a\\x1b[31mb\\x9bc\\u202ed\\U000e0041e"
    terminal = Terminal(cabin, request, "-q")
    terminal.expect("a[31mbcde")
    assert terminal.end() == 0
    assert "\x1b" not in terminal.seen
    assert cabin(request).stdout == "a\x1b[31mb\x9bc\u202ed\U000e0041e\n"


def test_control_c_stops_the_process_and_cont_goes_on(cabin: Cabin) -> None:
    process = cabin.start("hang", "--time", "1h", stdout=-1)
    cabin.wait_for("ready")
    stdout, stderr = cabin.interrupt(process)
    assert process.returncode == 130
    assert "`cabin cont 1`" in stderr
    assert "Traceback" not in stderr
    assert stdout == ""
    assert cabin.state() == "stopped"
    terminal = Terminal(cabin, "cont", "1")
    terminal.expect("Thinking about it.")
    terminal.type("\x03")
    assert terminal.end() == 130
    assert cabin.state() == "stopped"


def test_control_c_at_the_very_beginning_stops_the_process(cabin: Cabin) -> None:
    result = cabin("interrupt")  # before the command knows the number of what it has begun
    assert result.returncode == 130
    assert "`cabin cont 1`" in result.stderr
    assert cabin.state() == "stopped"


def test_control_c_waits_for_the_end_of_a_beginning() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), control_c_waits():  # noqa: PT012
        with control_c_waits():
            signal.raise_signal(signal.SIGINT)
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"]
    with pytest.raises(KeyboardInterrupt), control_c_waits():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        done.append("a second one waits")
    assert len(done) == 2
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_control_c_at_a_terminal(cabin: Cabin) -> None:
    terminal = Terminal(cabin, "hang")
    terminal.expect("Thinking about it.")
    terminal.type("\x03")
    terminal.expect("`cabin cont 1`")
    assert terminal.end() == 130


def test_kill_9_loses_nothing(cabin: Cabin) -> None:
    process = cabin.start("hang")
    cabin.wait_for("ready")
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE)
    terminal = Terminal(cabin, "attach", "1")
    terminal.expect("Thinking about it.")
    terminal.type("\x03")
    assert terminal.end() == 130
    assert cabin.state() == "stopped"


def test_a_reader_who_goes_away_ends_it_quietly(cabin: Cabin) -> None:
    read, write = os.pipe()
    process = cabin.start("say hi", stdout=write)
    os.close(write)
    os.close(read)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 141
    assert stderr == ""


def test_a_lost_effect_is_decided_by_a_person(cabin: Cabin) -> None:
    process = cabin.start('call strike {"hour": 3}')
    while not cabin.struck():
        assert process.poll() is None
    process.kill()
    process.wait(PATIENCE)
    result = cabin("attach", "1")
    assert result.returncode == 3
    assert "nobody knows whether it happened" in result.stderr
    assert cabin.state() == "in_doubt"
    assert cabin("answer", "1", "perhaps").returncode == 1
    result = cabin("answer", "1", "happened")
    assert result.returncode == 0
    assert "before an interruption" in result.stdout
    assert cabin.world.read_text() == "struck 3\n"


def test_a_full_disk_is_one_clear_error(cabin: Cabin) -> None:
    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    process = cabin.start("read", stdin=-1, preexec_fn=full)
    stdout, stderr = process.communicate("x" * 900_000, timeout=PATIENCE)
    assert (process.returncode, stdout) == (1, "")
    assert stderr.count("a commit failed") == 1
    assert "make room" in stderr
    assert "Traceback" not in stderr
    assert cabin("say hi").stdout == "hi\n"


def test_without_a_configured_model_the_brain_in_the_box_answers(cabin: Cabin) -> None:
    result = cabin("what is 15% of 80", "--tools", "calculate", PUPPET_MODEL="none")
    assert result.returncode == 0, result.stderr
    assert "12" in result.stdout
    assert "15% of 80 = 12" in result.stderr  # the tool's result, exactly


def test_an_unknown_model_is_named_with_those_there_are(cabin: Cabin) -> None:
    result = cabin("say hi", "--model", "hal")
    assert result.returncode == 1
    assert "'hal'" in result.stderr
    assert "puppet" in result.stderr
    missing = cabin("say hi", "--model", "./hal.gguf")
    assert "hal.gguf: no such model file" in missing.stderr
