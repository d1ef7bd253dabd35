"""`cabin arena` with local and served brains."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import Cabin, Terminal
from tests.fixtures.chat_model import tiny_chat_gguf
from tests.fixtures.stub_server import Reply, StubServer

CONFIG = """
[model.served]
provider = "openai"
base_url = "{url}"
model = "{model}"
window = 4096
price = [{price}, {price}]

[model.umpire]
provider = "openai"
base_url = "{url}"
model = "umpire"
window = 4096
"""


def speak(body: Any) -> Reply:
    """The umpire prefers what the served model says; who asks for a failure gets one."""
    last = body["messages"][-1]["content"]
    if body["model"] == "umpire":
        first = last.index("Answer A")
        winner = "A" if last.find("forty-two", first) < last.index("Answer B") else "B"
        return Reply(json.dumps({"reason": "it knows", "winner": winner}))
    if "fail" in last:
        return Reply.error(400, "no")
    return Reply(f"forty-two: {last[-8:]}")


@pytest.fixture
def prompts(cabin: Cabin) -> Path:
    path = cabin.home / "prompts.jsonl"
    rows = [{"prompt": f"what is it, {n}?", "check": {"one_of": ["forty-two"]}} for n in range(4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return tiny_chat_gguf(tmp_path / "tiny.gguf")


def configure(cabin: Cabin, url: str, model: str = "m", price: float = 0.0) -> None:
    (cabin.home / "config.toml").write_text(CONFIG.format(url=url, model=model, price=price))


def test_from_answers_to_a_picture(cabin: Cabin, prompts: Path, tiny: Path) -> None:
    pytest.importorskip("openai", reason="openai is not installed")
    with StubServer(speak) as server:
        configure(cabin, server.url)
        words = ("arena", "run", tiny, "served", "--prompts", prompts, "--max-tokens", "8")
        ran = cabin.json(*words, "--threads", "1")
        assert ran["answers"] == {"tiny": 4, "served": 4}
        asked = len(server.requests)
        assert cabin.json("arena", "run", "served", "--prompts", prompts)["answers"]["served"] == 4
        assert len(server.requests) == asked  # all of it was there

        assert cabin.json("arena", "battle", "--by", "checker")["new"] == 4
        assert cabin.json("arena", "battle", "--by", "checker")["new"] == 0
        judged = ("arena", "battle", "--by", "judge", "--judge", "umpire", "--battles", "3")
        assert cabin.json(*judged) == {"new": 3, "without_verdict": 0}

    voted = cabin.json("arena", "vote", "--rater", "me", stdin="1\n2\nt\nu\nq\n")
    assert (voted["new"], voted["battles"]) == (2, 2)
    facts = "[{}]\nopen = {}\nreleased = {}\n"
    (cabin.home / "arena" / "arena.toml").write_text(
        facts.format("tiny", "true", "2026-01-01") + facts.format("served", "false", "2025-01-01")
    )
    board = cabin.json("arena", "leaderboard", "--by", "checker")
    assert [row["model"] for row in board["standings"]] == ["served", "tiny"]
    assert board["drawn"] is True
    assert [row["open"] for row in board["standings"]] == [False, True]
    everything = cabin.json("arena", "leaderboard", "--style")
    assert everything["by"] == {"checker": 4, "judge:umpire": 3, "human:me": 2}
    assert everything["consistent"] == {"judge:umpire": 1.0}
    table = cabin("arena", "leaderboard")
    assert "served" in table.stdout
    assert "said the same both ways round in 100 %" in table.stderr
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    drawn = cabin.json("arena", "plot")
    assert [moment["day"] for moment in drawn["gap"]] == ["2026-01-01"]
    assert (cabin.home / drawn["picture"]).read_bytes().startswith(b"\x89PNG")
    pairs = cabin.json("arena", "pairs", "pairs.jsonl")
    assert pairs["pairs"] == 2
    assert cabin.json("pairs", "report", "pairs.jsonl")["sources"] == {"arena": 2}


def test_a_killed_run_asks_only_what_is_missing(cabin: Cabin, prompts: Path) -> None:
    pytest.importorskip("openai", reason="openai is not installed")
    stuck = [True]

    def sometimes(body: Any) -> Reply:
        last = body["messages"][-1]["content"]
        return (
            Reply("no", fault="hang before headers") if stuck[0] and "3?" in last else Reply("ok")
        )

    answers = cabin.home / "arena" / "answers.jsonl"
    with StubServer(sometimes) as server:
        configure(cabin, server.url)
        words = ("arena", "run", "served", "--prompts", prompts)
        process = cabin.start(*words)
        while not answers.is_file() or answers.read_bytes().count(b"\n") < 4:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.kill()
        process.wait()
        stuck[0] = False
        asked = len(server.requests)
        assert cabin.json(*words)["answers"] == {"served": 4}
        assert len(server.requests) == asked + 1


def test_who_fails_is_told_and_the_others_answer(cabin: Cabin, prompts: Path, tiny: Path) -> None:
    pytest.importorskip("openai", reason="openai is not installed")
    prompts.write_text('{"prompt": "fine"}\n{"prompt": "please fail"}\n')
    with StubServer(speak) as server:
        configure(cabin, server.url)
        words = ("arena", "run", "served", tiny, "--prompts", prompts, "--max-tokens", "8")
        result = cabin.json(*words, "--threads", "1", code=1)
    assert result["answers"]["tiny"] == 2
    assert "served" in result["troubles"]


def test_money_is_not_spent_unasked(cabin: Cabin, prompts: Path) -> None:
    pytest.importorskip("openai", reason="openai is not installed")
    with StubServer(speak) as server:
        configure(cabin, server.url, price=10.0)
        refused = cabin("arena", "run", "served", "--prompts", prompts)
        assert refused.returncode == 1
        assert "at most $0.02" in refused.stderr
        assert not server.requests
        assert cabin("arena", "run", "served", "--prompts", prompts, "--yes").returncode == 0
        assert len(server.requests) == 4
        assert "$" not in cabin("arena", "run", "served", "--prompts", prompts).stderr
        words = ("arena", "battle", "--by", "judge", "--judge", "served", "--battles", "5")
        assert "for 5 battles" in cabin(*words).stderr
        assert "costs money" in cabin("arena", "run", "served", "--suite", "arithmetic").stderr
        assert len(server.requests) == 4


def test_votes_at_a_terminal_survive_a_kill(cabin: Cabin, prompts: Path, tiny: Path) -> None:
    other = tiny_chat_gguf(tiny.with_name("other.gguf"), seed=2)
    words = ("arena", "run", tiny, other, "--prompts", prompts, "--max-tokens", "4")
    assert cabin(*words, "--threads", "1", "--temperature", "0").returncode == 0
    terminal = Terminal(cabin, "arena", "vote")
    terminal.expect("battle 1")
    shown = terminal.expect("q quit")
    assert "tiny" not in shown
    assert "other" not in shown
    terminal.type("1")
    terminal.expect("battle 2")
    terminal.expect("q quit")
    assert "another program is writing" in cabin("arena", "vote").stderr
    terminal.process.kill()
    terminal.process.wait()
    assert cabin.json("arena", "leaderboard")["battles"] == 1


def test_what_is_missing_is_said(cabin: Cabin, prompts: Path) -> None:
    assert "nobody has answered here yet" in cabin("arena", "vote").stderr
    assert "no battle has been decided yet" in cabin("arena", "leaderboard").stderr
    result = cabin("arena", "run", "nobody", "--prompts", prompts)
    assert result.returncode == 1
    assert "no such model" in result.stderr
    assert cabin("arena", "battle", "--by", "judge").returncode == 2
    missing = cabin("arena", "run", "nano", "--data", cabin.home)
    assert "cabin data get --eval arena_prompts" in missing.stderr
    assert "Traceback" not in missing.stderr
