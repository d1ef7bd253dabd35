"""A short kill -9 campaign: nothing lost, nothing repeated, every doubt shown."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHAOS = ROOT / "bench" / "kernel" / "chaos.py"
KILLS = 20


def test_kill_9_loses_repeats_and_hides_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(CHAOS), "--kills", str(KILLS), "--results", str(tmp_path)]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path / "stores")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    counted = {row["what"]: row["value"] for row in found["rows"]}
    assert found["kills"] == KILLS
    assert found["wrong"] == []
    points = ("before intent", "after intent", "after effect", "before result")
    assert all(counted[f"kills, {point}"] >= 3 for point in points)
    assert counted["effects outside"] > 0
