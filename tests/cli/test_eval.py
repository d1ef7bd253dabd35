"""`cabin eval` as a person types it."""

import json
import signal
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cabinos.cli import eval as eval_module
from cabinos.cli.emerge import FEWER, _limits, emerge_command
from cabinos.cli.eval import NAMES
from cabinos.lab.evaluate.suites import NEEDS, SUITES
from tests.cli.support import Cabin
from tests.fixtures.chat_model import CALLS_A_TOOL, tiny_chat_gguf


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_chat_gguf(tmp_path / "tiny.gguf", follows=CALLS_A_TOOL, control=True)


def test_the_verb_knows_the_suites() -> None:
    assert tuple(SUITES) == NAMES == tuple(NEEDS)


def test_help_imports_nothing_heavy() -> None:
    result = CliRunner().invoke(eval_module.eval_command, ["--help"])
    assert result.exit_code == 0
    assert "templates" in result.output


def test_a_run_goes_on_where_it_was(cabin: Cabin, model: Path) -> None:
    words = ("eval", model, "--suite", "arithmetic", "--threads", "1", "--out", "r.jsonl")
    first = cabin.json(*words, "--limit", "2")
    assert first["whole"] is True
    assert {row["measure"] for row in first["rows"]} == {"exact value"}
    assert first["rows"][0]["n"] == 2
    lines = (cabin.home / "r.jsonl").read_text().splitlines()
    assert len(lines) == 3
    second = cabin.json(*words, "--limit", "3")
    assert second["rows"][0]["n"] == 3
    assert (cabin.home / "r.jsonl").read_text().splitlines()[:3] == lines


def test_a_table_for_people(cabin: Cabin, model: Path) -> None:
    words = ("eval", model, "--suite", "arithmetic", "--threads", "1", "--limit", "1")
    result = cabin(*words)
    assert result.returncode == 0, result.stderr
    assert "exact value" in result.stdout
    assert "95 % interval" in result.stdout
    assert (cabin.home / "eval-tiny.jsonl").is_file()


def test_ctrl_c_keeps_what_is_done(cabin: Cabin, model: Path) -> None:
    process = cabin.start("eval", model, "--suite", "arithmetic", "--threads", "1", "--json")
    file = cabin.home / "eval-tiny.jsonl"
    while not file.is_file() or len(file.read_text().splitlines()) < 3:
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    facts = json.loads(out)
    assert facts["whole"] is False
    assert 2 <= facts["rows"][0]["n"] < 1000
    assert "the same command goes on" in err


def test_what_is_missing_is_said(cabin: Cabin, model: Path) -> None:
    result = cabin("eval", model, "--suite", "clinc", "--data", cabin.home)
    assert result.returncode == 1
    assert "cabin data get --eval clinc_val" in result.stderr
    assert cabin("eval", "no-such.gguf").returncode == 1
    assert "no such model" in cabin("eval", "nobody").stderr
    result = cabin("emerge", cabin.home)
    assert result.returncode == 1


def test_cases_of_a_snapshot_may_be_limited_by_suite(tmp_path: Path) -> None:
    def limits(*given: str) -> dict[str, int]:
        return _limits(click.Context(emerge_command), emerge_command.params[0], given)

    assert limits() == FEWER
    assert limits("100") == {"blimp": 100, "facts": 100, "sums": 100, "bytes": 64}
    assert limits("bytes=12", "100", "blimp=670") == {
        "blimp": 670, "facts": 100, "sums": 100, "bytes": 12,
    }  # fmt: skip
    for wrong in ("0", "many", "clinc=3", "=", "blimp="):
        result = CliRunner().invoke(emerge_command, [str(tmp_path), "--limit", wrong])
        assert result.exit_code == 2
        assert "write it as 100, or as blimp=100" in " ".join(result.output.split())


def test_another_model_is_not_mixed_in(cabin: Cabin, model: Path, tmp_path: Path) -> None:
    words = ("--suite", "arithmetic", "--threads", "1", "--limit", "1", "--out", "r.jsonl")
    assert cabin("eval", model, *words).returncode == 0
    other = tiny_chat_gguf(tmp_path / "other.gguf")
    result = cabin("eval", other, *words)
    assert result.returncode == 1
    assert "another model or seed" in result.stderr
    assert cabin("eval", other, *words, "--fresh").returncode == 0
