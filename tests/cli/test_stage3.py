"""`cabin prefer` and `cabin rl` as a person types them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("torch")

from cabinos.cli.main import main
from cabinos.engine.gguf import read_gguf
from tests.train.comparisons import make_base, write_pairs
from tests.train.fixtures import prepared

PLAIN = ["--device", "cpu", "--dtype", "float32", "--no-compile", "--threads", 1]
SMALL = ["--batch-tokens", 1024, "--micro-tokens", 512, "--context", 128, *PLAIN]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = prepared(tmp_path_factory.mktemp("data"))
    return make_base(data, tmp_path_factory.mktemp("base") / "hf")


def cabin(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_a_reward_model_is_trained_and_tested(base: Path, tmp_path: Path) -> None:
    pairs, out = write_pairs(tmp_path / "pairs.jsonl", 60), tmp_path / "reward"
    words = ["prefer", "reward", out, "--base", base, "--pairs", pairs, "--held", 0.3, *SMALL]
    result = cabin(*words, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["accuracy_low"] <= found["accuracy"] <= found["accuracy_high"]
    again = cabin(*words)  # done already: it only says what came of it
    assert "18 pairs held out: accuracy" in again.output
    tested = json.loads(cabin("prefer", "test", out, "--pairs", pairs, "--json").stdout)
    assert tested["pairs"] == 60
    refused = cabin("train", "export", out)
    assert refused.exit_code == 1
    assert "a reward model. It scores answers" in refused.output


def test_dpo_leaves_a_model_that_can_be_exported(base: Path, tmp_path: Path) -> None:
    pairs, out = write_pairs(tmp_path / "pairs.jsonl", 30), tmp_path / "dpo"
    result = cabin("prefer", "dpo", out, "--base", base, "--pairs", pairs, "--normalised",
                   "--beta", 2, *SMALL)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "3 pairs held out: accuracy" in result.output
    facts = json.loads(cabin("train", "export", out, "--json").stdout)
    assert read_gguf(facts["path"]).metadata["cabin.assistant"] is True


def test_a_line_that_is_no_pair_is_named(base: Path, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs.jsonl", 1)
    pairs.write_text(pairs.read_text() + '{"chosen": "\\n\\nHuman: hi"}\n')
    result = cabin("prefer", "dpo", tmp_path / "dpo", "--base", base, "--pairs", pairs, *SMALL)
    assert result.exit_code == 1
    assert "pairs.jsonl:2: not a pair: 'prompt' is no list of messages" in result.output
    assert "Traceback" not in result.output


def test_puzzles_are_played(base: Path, tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.jsonl", tmp_path / "rl"
    result = cabin("rl", "rows", rows, "--count", 3)
    assert result.output == f"{rows}: 3 puzzles\n"
    words = ["rl", "train", out, "--base", base, "--task", "countdown", "--rounds", 2,
             "--cases", 1, "--samples", 2, "--answer-tokens", 8, "--held", 2,
             "--micro-tokens", 512, "--context", 128, *PLAIN]  # fmt: skip
    result = cabin(*words)
    assert result.exit_code == 0, result.output
    assert "2 updates" in result.output
    assert "in round 1; engine and torch differ by at most" in result.output
    told = json.loads(cabin(*words, "--json").stdout)
    assert [one["round"] for one in told["rounds"]] == [0, 1]


def test_word_problems_need_their_rows(base: Path, tmp_path: Path) -> None:
    result = cabin("rl", "train", tmp_path / "rl", "--base", base, "--task", "gsm8k",
                   "--data", tmp_path, *PLAIN)  # fmt: skip
    assert result.exit_code == 1
    assert "cabin data get gsm8k_train" in result.output
