"""`cabin compress` and `cabin decompress` as a person types them."""

import json
import subprocess
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from cabinos.cli.compress import compress_command, decompress_command
from tests.cli.support import CABIN, Cabin

TEXT = "The old house stood by the river, and nobody had lived in it for years.\n" * 2


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "letter.txt"
    path.write_text(TEXT)
    return path


def run(command: object, *words: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(command, [*map(str, words), "--threads", "1"])  # type: ignore[arg-type]
    assert result.exit_code == code, result.output
    return result.output


def test_there_and_back(file: Path, tmp_path: Path) -> None:
    said = run(compress_command, file)
    packed = tmp_path / "letter.txt.cz"
    assert f"{len(TEXT)} → {packed.stat().st_size} bytes" in said
    assert packed.stat().st_size < len(TEXT) * 0.7
    assert "exists already" in run(compress_command, file, code=1)
    assert "exists already" in run(decompress_command, packed, code=1)
    run(decompress_command, packed, "-o", tmp_path / "again.txt", "-q")
    assert (tmp_path / "again.txt").read_text() == TEXT
    run(decompress_command, packed, "--force")
    assert file.read_text() == TEXT


def test_noise_is_stored_and_nobody_waits_for_the_model(tmp_path: Path) -> None:
    noise = Random(1).randbytes(300_000)
    (tmp_path / "noise").write_bytes(noise)
    said = run(compress_command, tmp_path / "noise")
    assert "begin as no text" in " ".join(said.split())
    assert "kB/s" not in said
    packed = tmp_path / "noise.cz"
    assert 0 < packed.stat().st_size - len(noise) < 100
    assert "bits a byte" not in run(decompress_command, packed, "-o", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == noise


def test_through_pipes(cabin: Cabin) -> None:
    data = bytes(range(256)) * 8
    packed = subprocess.run(
        [*CABIN, "compress", "-"], input=data, capture_output=True, env=cabin.environment
    )
    assert packed.returncode == 0, packed.stderr
    back = subprocess.run(
        [*CABIN, "decompress", "-", "-q"],
        input=packed.stdout,
        capture_output=True,
        env=cabin.environment,
    )
    assert (back.returncode, back.stdout, back.stderr) == (0, data, b"")


def test_damage_leaves_no_file(cabin: Cabin, file: Path, tmp_path: Path) -> None:
    run(compress_command, file, "-q")
    packed = tmp_path / "letter.txt.cz"
    data = bytearray(packed.read_bytes())
    data[-20] ^= 1
    packed.write_bytes(data)
    result = cabin("decompress", packed, "-o", tmp_path / "back", "--threads", "1")
    assert result.returncode == 1
    assert "damaged" in result.stderr
    assert "Traceback" not in result.stderr
    assert not [path for path in tmp_path.iterdir() if "back" in path.name]
    packed.write_bytes(data[:-30])
    result = cabin("decompress", packed, "-o", tmp_path / "back", "--threads", "1")
    assert "truncated" in result.stderr
    assert not [path for path in tmp_path.iterdir() if "back" in path.name]


def test_what_is_not_packed(cabin: Cabin, file: Path) -> None:
    result = cabin("decompress", file, "-o", "x")
    assert result.returncode == 1
    assert "was not packed by" in result.stderr
    assert "does not end in .cz" in run(decompress_command, file, code=2)
    assert "absent" in cabin("compress", "absent").stderr
    assert "1k to 16m" in run(compress_command, file, "--chunk", "4", code=2)


def test_what_a_text_costs(file: Path, tmp_path: Path) -> None:
    facts = json.loads(run(compress_command, file, "--explain", "--json"))
    assert "".join(piece["text"] for piece in facts["pieces"]) == TEXT
    assert sum(piece["bits"] for piece in facts["pieces"]) == pytest.approx(facts["bits"], abs=0.1)
    shown = run(compress_command, file, "--explain")
    assert "bits a byte" in shown
    run(compress_command, file, "--html", tmp_path / "page.html")
    assert "river" in (tmp_path / "page.html").read_text()
    assert not (tmp_path / "letter.txt.cz").exists()
