"""`cabin verify` on the brain in the box, and on one that somebody changed."""

import shutil
from pathlib import Path

from cabinos.brain.manifest import manifest_path, signature_path
from cabinos.drivers.model.brain import BUILT_IN
from tests.cli.support import Cabin


def test_the_brain_in_the_box_is_the_signed_one(cabin: Cabin) -> None:
    result = cabin("verify")
    assert result.returncode == 0, result.stderr
    assert "as signed by" in result.stdout


def test_a_changed_brain_is_refused_in_a_line(cabin: Cabin, tmp_path: Path) -> None:
    weights = tmp_path / BUILT_IN.name
    for path in (BUILT_IN, manifest_path(BUILT_IN), signature_path(BUILT_IN)):
        shutil.copyfile(path, tmp_path / path.name)
    assert cabin("verify", weights).returncode == 0
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    result = cabin("verify", weights)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "not those that were signed" in result.stderr
    result = cabin("sign", weights, "--key", tmp_path / "absent.key")
    assert result.returncode == 1
    assert result.stderr.startswith("cabin: error:")
    assert "absent.key: no such file" in result.stderr
