"""`cabin data` and `cabin train` as a person types them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cabinos.cli.main import main
from cabinos.engine.gguf import read_gguf
from tests.train.conversations import write_rows
from tests.train.fixtures import prepared


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("data"))


def cabin(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from cabinos.cli.main import main\n"
        "for words in (['--help'], ['data', 'get', '--help'], ['train', 'pretrain', '--help'],\n"
        "              ['train', 'finetune', '--help']):\n"
        "    assert CliRunner().invoke(main, words).exit_code == 0\n"
        "print([m for m in ('torch', 'numpy', 'tokenizers', 'rich') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr


def test_a_source_from_a_folder_is_verified(tmp_path: Path) -> None:
    (tmp_path / "names.jsonl").write_text('{"text": "emma"}\n')
    result = cabin("data", "get", "names", "--from", tmp_path, "--data", tmp_path / "out")
    assert result.exit_code == 1
    assert "cabin: error: names: the rows have SHA-256" in result.output


def test_an_unknown_source_is_named(tmp_path: Path) -> None:
    result = cabin("data", "get", "novels", "--data", tmp_path)
    assert result.exit_code == 1
    assert "no such source" in result.output


def test_a_report_on_nothing_says_what_to_do(tmp_path: Path) -> None:
    result = cabin("data", "report", "--data", tmp_path)
    assert result.exit_code == 1
    assert "cabin data get" in result.output


def test_numbers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    result = cabin("train", "pretrain", tmp_path / "run", "--data", tmp_path, "--depth", 0)
    assert result.exit_code == 1
    assert "cabin: error:" in result.output
    assert "Traceback" not in result.output


def test_training_without_data_says_what_to_do(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    result = cabin("train", "pretrain", tmp_path / "run", "--data", tmp_path, "--device", "cpu")
    assert result.exit_code == 1
    assert "cabin data get" in result.output


def test_exporting_what_is_no_run_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    result = cabin("train", "export", tmp_path)
    assert result.exit_code == 1
    assert "give the folder of a training run" in result.output


def test_pretrain_then_export_then_dream(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    sizes = ["--depth", 1, "--tokens", 512, "--batch-tokens", 256, "--micro-tokens", 256,
             "--context", 32, "--long-context", 64, "--no-compile", "--device", "cpu"]  # fmt: skip
    result = cabin("train", "pretrain", out, "--data", data, *sizes, "--mix", "books=3,maths=1")
    assert result.exit_code == 0, result.output
    result = cabin("train", "export", out, "--type", "q8_0", "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["path"] == str(out / "base-q8_0.gguf")
    result = cabin("run", facts["path"], "Dorothy", "--max-tokens", 4, "--seed", 1, "--json")
    assert json.loads(result.stdout)["generated_tokens"] == 4
    result = cabin("train", "export", out, "-o", tmp_path / "hf")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "hf" / "config.json").is_file()


def test_finetune_then_export_then_call(data: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 20)
    small = ["--device", "cpu", "--dtype", "float32", "--no-compile"]
    sizes = ["--depth", 1, "--tokens", 256, "--batch-tokens", 256, "--context", 256]
    base, out = tmp_path / "base", tmp_path / "chat"
    result = cabin("train", "pretrain", base, "--data", data, *sizes, "--long-context", 256,
                   "--mix", "books=1", *small)  # fmt: skip
    assert result.exit_code == 0, result.output
    result = cabin("train", "finetune", out, "--base", base, "--rows", rows, "--held", rows,
                   "--tokens", 1024, "--batch-tokens", 512, "--micro-tokens", 512,
                   "--context", 256, *small)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "2 updates" in result.output
    facts = json.loads(cabin("train", "export", out, "--json").stdout)
    assert facts["path"] == str(out / "assistant-q8_0.gguf")
    metadata = read_gguf(facts["path"]).metadata
    assert metadata["cabin.assistant"] is True


def test_a_line_that_is_no_row_is_named(data: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 2)
    rows.write_text(rows.read_text() + "{")
    base = tmp_path / "base"
    sizes = ["--depth", 1, "--tokens", 32, "--batch-tokens", 32, "--context", 32]
    cabin("train", "pretrain", base, "--data", data, *sizes, "--long-context", 32,
          "--mix", "books=1", "--device", "cpu", "--dtype", "float32", "--no-compile")  # fmt: skip
    result = cabin("train", "finetune", tmp_path / "chat", "--base", base, "--rows", rows,
                   "--device", "cpu", "--dtype", "float32")  # fmt: skip
    assert result.exit_code == 1
    assert "rows.jsonl:3: not a row" in result.output
    assert "Traceback" not in result.output


def test_a_report_is_a_table_or_json(data: Path) -> None:
    result = cabin("data", "report", "--data", data)
    assert "bytes per token" in result.output
    facts = json.loads(cabin("data", "report", "--data", data, "--json").stdout)
    assert {row["domain"] for row in facts["domains"]} == {"books", "maths"}
