"""Looking at processes and acting on them, with and without a running kernel."""

import json
import re
import sqlite3
import subprocess

import pytest

from tests.cli.support import PATIENCE, Cabin, Terminal


def test_before_anything_there_is_nothing(cabin: Cabin) -> None:
    assert cabin.json("ps") == {"kernel": None, "processes": []}
    assert "No processes" in cabin("ps").stderr
    for verb in (
        ["log"],
        ["top", "--once"],
        ["asks"],
        ["kill", "1"],
        ["replay", "1"],
        ["cont", "1"],
    ):
        result = cabin(*verb)
        assert result.returncode == 1
        assert "there is no store yet" in result.stderr
    assert not (cabin.home / "cabin.db").exists()


@pytest.mark.parametrize("verb", ["stop", "kill", "cont", "attach", "log", "fork", "replay"])
def test_a_stranger_is_named(cabin: Cabin, verb: str) -> None:
    cabin("say hi")
    result = cabin(verb, "77")
    assert result.returncode == 1
    assert "there is no process 77" in result.stderr
    assert cabin(verb, "seven").returncode == 2


def test_ps_shows_those_that_live_and_with_all_the_others(cabin: Cabin) -> None:
    cabin("say hi")
    cabin("fail")
    assert [p["pid"] for p in cabin.json("ps")["processes"]] == [2]
    first, second = cabin.json("ps", "--all")["processes"]
    assert (first["state"], first["title"]) == ("exited", "say hi")
    assert (second["state"], second["waiting"]) == ("stopped", "puppet: the strings are cut.")
    assert "strings are cut" in cabin("ps").stdout


def test_children_stand_below_their_parents(cabin: Cabin) -> None:
    cabin('call spawn {"request": "say child"}')
    lines = cabin("ps", "--all", "--tree").stdout.splitlines()
    assert lines[1].split()[0] == "1"
    assert re.search(r"2 .* {2}say child", lines[2])


def test_titles_cannot_reach_the_terminal(cabin: Cabin) -> None:
    cabin("say \x1b[2J\u202eevil")
    for verb in (["ps", "-a"], ["top", "--once"], ["log", "1"], ["mem", "list", "1"]):
        terminal = Terminal(cabin, *verb)
        assert terminal.end() == 0
        assert "\u202e" not in terminal.seen
        assert "\x1b[2J" not in terminal.seen.replace("\x1b[2J\x1b[H", "")


def test_log_tells_the_whole_story(cabin: Cabin) -> None:
    cabin("call rumour")
    told = cabin("log", "1").stdout
    for text in ("spawn", "user: call rumour", "think", "the moon is cheese", "exit"):
        assert text in told
    entries = [json.loads(line) for line in cabin("log", "1", "--json").stdout.splitlines()]
    assert [e["kind"] for e in entries] == ["spawn", "think", "rumour", "think", "exit"]
    assert entries[2]["pages"] == [
        {"role": "tool", "label": "untrusted", "text": "the moon is cheese"}
    ]


def test_log_follows_to_the_end(cabin: Cabin) -> None:
    up = cabin.up()
    pid = cabin("spawn", "hang").stdout.strip()
    cabin.wait_for("ready")
    log = cabin.start("log", pid, "-f", "--json")
    assert log.stdout is not None
    assert json.loads(log.stdout.readline())["kind"] == "spawn"
    assert cabin("kill", pid).returncode == 0
    rest, _ = log.communicate(timeout=PATIENCE)
    assert "exit" in [json.loads(line)["kind"] for line in rest.splitlines()]
    cabin.interrupt(up)
    assert up.returncode == 0


def test_replay_says_whether_it_is_the_same(cabin: Cabin) -> None:
    cabin("call rumour")
    assert cabin("replay", "1").stdout == "process 1: 4 steps and 0 decisions, all the same\n"
    with sqlite3.connect(cabin.home / "cabin.db") as db:
        db.execute("UPDATE journal SET kind = 'paint' WHERE kind = 'rumour'")
    db.close()
    result = cabin("replay", "1")
    assert result.returncode == 1
    assert "asks for rumour" in result.stderr
    assert cabin.json("replay", "1", code=1)["same"] is False


# ---- acting, where no kernel runs ----------------------------------------------------------------


def stopped(cabin: Cabin) -> None:
    """Process 1, stopped in its first thought."""
    process = cabin.start("hang")
    cabin.wait_for("ready")
    cabin.interrupt(process)
    assert cabin.state() == "stopped"


def test_signals_without_a_kernel_run_nobody(cabin: Cabin) -> None:
    stopped(cabin)
    assert cabin.json("cont", "1", "--detach") == {"pids": [1], "done": "continued", "kernel": None}
    assert cabin.state() == "ready"
    assert cabin("nice", "1", "-5").returncode == 0
    assert cabin.json("ps")["processes"][0]["nice"] == -5
    assert cabin("stop", "1").returncode == 0
    assert cabin.state() == "stopped"
    assert cabin("kill", "1").returncode == 0
    assert cabin.state() == "exited"
    result = cabin("cont", "1", "-d")
    assert result.returncode == 1
    assert "not stopped but exited" in result.stderr


def test_a_message_is_read_when_it_goes_on(cabin: Cabin) -> None:
    stopped(cabin)
    assert cabin("send", "1", "say enough", "-d").returncode == 0
    result = cabin("cont", "1")
    assert (result.returncode, result.stdout) == (0, "enough\n")
    assert cabin("send", "1", "more").returncode == 1


def test_a_fork_of_one_that_has_ended_is_a_conversation(cabin: Cabin) -> None:
    cabin("say hi")
    assert cabin("fork", "1").stdout == "2\n"
    result = cabin("send", "2", "say again")
    assert (result.returncode, result.stdout) == (0, "again\n")
    assert cabin.state(2) == "blocked"
    assert cabin.json("replay", "2")["same"] is True


def test_approve_and_deny(cabin: Cabin) -> None:
    cabin('call paint {"wall": "west"}')
    cabin('call paint {"wall": "east"}')
    assert "paint" in cabin("asks").stdout
    assert [a["id"] for a in cabin.json("asks", "2")["asks"]] == [2]
    assert cabin("approve", "1").stdout == "it says: west is painted\n"
    assert "refused" in cabin("deny", "2").stdout
    assert cabin.world.read_text() == "painted west\n"
    assert "has been answered" in cabin("approve", "1").stderr
    assert cabin.json("asks") == {"asks": []}


# ---- beside a running kernel ---------------------------------------------------------------------


@pytest.fixture
def up(cabin: Cabin) -> "subprocess.Popen[str]":
    """A kernel that runs in another process."""
    return cabin.up()


def test_orders_are_carried_out_by_the_kernel_that_runs(
    cabin: Cabin, up: "subprocess.Popen[str]"
) -> None:
    assert cabin("spawn", "hang").stdout == "1\n"
    cabin.wait_for("ready")
    assert cabin.json("ps")["kernel"] == up.pid
    assert cabin.json("top", "--once")["states"]["ready"] == 1
    assert cabin.json("stop", "1")["kernel"] == up.pid
    assert cabin.state() == "stopped"
    assert cabin("send", "1", "say done").returncode == 0
    assert cabin("cont", "1").returncode == 0
    cabin.wait_for("exited")
    result = cabin("cont", "1")
    assert result.returncode == 1
    assert "not stopped but exited" in result.stderr
    assert cabin.json("fork", "1") == {"pid": 2, "original": 1}


def test_questions_are_answered_from_another_terminal(
    cabin: Cabin, up: "subprocess.Popen[str]"
) -> None:
    cabin("spawn", 'call paint {"wall": "west"}')
    cabin.wait_for("blocked")
    assert cabin("approve", "1").returncode == 0
    cabin.wait_for("exited")
    assert cabin.world.read_text() == "painted west\n"
    told, _ = cabin.interrupt(up)
    assert "`cabin approve 1`" in told
    assert "done: it says: west is painted" in told


def test_the_main_job_says_who_has_the_store(cabin: Cabin, up: "subprocess.Popen[str]") -> None:
    for verb in (["say hi"], ["chat"], ["exec", "1"], ["up"]):
        result = cabin(*verb)
        assert result.returncode == 1
        assert f"in use by process {up.pid}" in result.stderr


def test_attach_shows_what_is_committed(cabin: Cabin, up: "subprocess.Popen[str]") -> None:
    cabin("spawn", "say hi")
    cabin.wait_for("exited")
    result = cabin("attach", "1")
    assert result.returncode == 0
    assert "hi" in result.stdout


def test_a_kernel_that_does_not_listen_is_reported(
    cabin: Cabin, up: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    cabin("spawn", "hang")
    cabin.wait_for("ready")
    up.send_signal(signal.SIGSTOP)
    try:
        result = cabin("kill", "1")
        assert result.returncode == 1
        assert f"process {up.pid}" in result.stderr
        assert "withdrawn" in result.stderr
    finally:
        up.send_signal(signal.SIGCONT)
    assert cabin.state() == "ready"


# ---- up ------------------------------------------------------------------------------------------


def test_up_runs_what_was_left(cabin: Cabin) -> None:
    assert cabin("spawn", "say hi").stdout == "1\n"
    assert cabin.state() == "ready"
    result = cabin("up", "--until-idle")
    assert result.returncode == 0
    assert "done: hi" in result.stdout
    events = cabin("up", "--until-idle", "--json")
    assert events.stdout == ""


def test_up_waits_for_the_clock(cabin: Cabin) -> None:
    cabin("spawn", 'call sleep {"seconds": 0.5}')
    result = cabin("up", "--until-idle", "--json")
    kinds = [json.loads(line)["kind"] for line in result.stdout.splitlines()]
    assert kinds[0] == "state"
    assert kinds[-1] == "exit"


def test_up_ends_in_order_on_a_signal(cabin: Cabin, up: "subprocess.Popen[str]") -> None:
    cabin("spawn", "hang")
    cabin.wait_for("ready")
    up.terminate()
    _, stderr = up.communicate(timeout=PATIENCE)
    assert up.returncode == 0
    assert "Traceback" not in stderr
    assert cabin.state() == "ready"


def test_a_corrupt_store_is_named(cabin: Cabin) -> None:
    (cabin.home / "cabin.db").write_bytes(b"not a database" * 1000)
    for verb in (["say hi"], ["ps"], ["kill", "1"], ["chat"]):
        result = cabin(*verb)
        assert result.returncode == 1
        assert "cabin.db" in result.stderr
        assert "Traceback" not in result.stderr
    findings = {f["name"]: f for f in cabin.json("doctor", code=1)["findings"]}
    assert findings["store"]["state"] == "broken"


def test_a_home_that_cannot_be_made_is_named(cabin: Cabin) -> None:
    (cabin.home / "file").write_text("")
    result = cabin("say hi", CABIN_HOME=str(cabin.home / "file" / "home"))
    assert result.returncode == 1
    assert "file/home" in result.stderr
    assert "Traceback" not in result.stderr
