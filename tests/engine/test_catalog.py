"""`cabin models`: what is on this machine, what it needs, and what is broken."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cabinos.cli.main import main
from cabinos.drivers.model import brain
from cabinos.engine.catalog import describe, list_models, model_folders
from cabinos.engine.errors import ModelFileError
from tests.engine.fixtures import tiny_gguf


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good models, one of them deeper down, and three broken files."""
    folder = tmp_path_factory.mktemp("shelf")
    small = tiny_gguf(folder / "a-small.gguf", "q4_k")
    (folder / "team" / "x").mkdir(parents=True)
    tiny_gguf(folder / "team" / "x" / "b-wide.gguf", "q8_0", "qwen3", head_dim=64, layers=3)
    (folder / "c-cut.gguf").write_bytes(small.read_bytes()[:-5000])
    (folder / "d-empty.gguf").touch()
    (folder / "e-text.gguf").write_text("hello")
    (folder / "notes.txt").write_text("not a model")
    (folder / ".hidden.gguf").write_text("left alone")
    return folder


def test_entry(shelf: Path) -> None:
    entry = describe(shelf / "a-small.gguf")
    assert entry.error is None
    assert entry.supported
    assert (entry.architecture, entry.quantisation, entry.name) == ("llama", "Q4_K", "tiny")
    assert entry.context_length == 512
    assert entry.parameters == 1_443_072
    assert entry.size == (shelf / "a-small.gguf").stat().st_size
    assert entry.kv_bytes_per_token == 2 * 4 * (32 + 32) * 2
    assert entry.memory() == entry.size + 512 * 1024
    assert entry.memory(1000) == entry.size + 1000 * 1024
    wide = describe(shelf / "team" / "x" / "b-wide.gguf")
    assert wide.kv_bytes_per_token == 3 * 4 * (64 + 64) * 2
    assert wide.quantisation == "Q8_0"


def test_list_finds_all_and_names_what_is_broken(shelf: Path) -> None:
    entries = list_models([shelf])
    assert [e.path.name for e in entries] == [
        "a-small.gguf", "b-wide.gguf", "c-cut.gguf", "d-empty.gguf", "e-text.gguf",
    ]  # fmt: skip
    errors = [e.error for e in entries]
    assert errors[:2] == [None, None]
    assert "but the file has" in str(errors[2])
    assert "empty" in str(errors[3])
    assert "not a GGUF file" in str(errors[4])
    # The same file by two ways is listed once.
    assert len(list_models([shelf, shelf / "a-small.gguf"])) == 5
    assert [e.path.name for e in list_models([shelf / "team"])] == ["b-wide.gguf"]
    with pytest.raises(ModelFileError, match="nowhere: no such file or folder"):
        list_models([shelf / "nowhere"])


def test_not_runnable_here(tmp_path: Path) -> None:
    import gguf
    import numpy as np

    def write(path: Path, architecture: str, kind: gguf.GGMLQuantizationType) -> Path:
        writer = gguf.GGUFWriter(path, architecture)
        for key in ("context_length", "block_count", "embedding_length"):
            writer.add_uint32(f"{architecture}.{key}", 32)
        writer.add_head_count([4, 8])
        writer.add_tensor(
            "w", gguf.quants.quantize(np.ones((1, 32), np.float32), kind), raw_dtype=kind
        )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    other = describe(write(tmp_path / "gemma.gguf", "gemma3", gguf.GGMLQuantizationType.Q8_0))
    assert (other.error, other.supported) == (None, False)
    assert other.kv_bytes_per_token == 32 * 8 * (4 + 4) * 2  # per-layer numbers: the largest
    odd = describe(write(tmp_path / "odd.gguf", "llama", gguf.GGMLQuantizationType.Q5_0))
    assert (odd.error, odd.supported, odd.quantisation) == (None, False, "Q5_0")
    none = tmp_path / "none.gguf"
    writer = gguf.GGUFWriter(none, "clip")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert "metadata 'clip.context_length' is None" in str(describe(none).error)


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CABIN_MODELS", f"{tmp_path}/a:{tmp_path}/b")
    assert model_folders() == [tmp_path / "a", tmp_path / "b", Path()]
    monkeypatch.delenv("CABIN_MODELS")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert model_folders() == [tmp_path / "cabin" / "models", Path()]
    monkeypatch.setattr(sys, "platform", "darwin")
    assert model_folders()[0].parts[-4:] == ("Library", "Application Support", "cabin", "models")


def test_command(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = CliRunner().invoke(main, ["models", str(shelf), "--json"])
    assert run.exit_code == 0, run.output
    models = json.loads(run.stdout)["models"]
    assert models[0]["memory_per_1000_tokens"] == 1_024_000
    assert models[0]["memory_full_context"] == models[0]["size"] + 512 * 1024
    assert set(models[2]) == {"path", "size", "error"}

    run = CliRunner().invoke(main, ["models", str(shelf)])
    assert run.exit_code == 0
    lines = run.stdout.splitlines()
    assert lines[0].split()[:3] == ["file", "model", "params"]
    row = next(line for line in lines if "a-small" in line)
    assert row.split()[1:6] == ["llama", "1.44M", "Q4_K", "906", "kB"]
    assert sum(line.startswith("broken ") for line in lines) == 3

    monkeypatch.setenv("CABIN_MODELS", str(shelf / "team"))
    monkeypatch.chdir(shelf / "team" / "x")
    run = CliRunner().invoke(main, ["models"])
    assert run.stdout.count("b-wide.gguf") == 1
    assert CliRunner().invoke(main, ["models", "/nowhere"]).exit_code == 1


def test_command_without_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CABIN_MODELS", str(tmp_path / "none"))
    monkeypatch.setattr(brain, "BUILT_IN", tmp_path / "none.gguf")
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(main, ["models"])
    assert (run.exit_code, run.stdout) == (0, "")
    assert "No GGUF files" in run.stderr
    assert "cabin pack" in run.stderr
    run = CliRunner().invoke(main, ["models", "--json"])
    assert json.loads(run.stdout) == {"models": []}
