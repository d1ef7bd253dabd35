"""run.c shared by threads, under the compiler's sanitizers: no race, no fault, no page left."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.engine.conftest import ModelMaker

STRESS_C = Path(__file__).parent / "stress.c"


@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_threads_sharing_a_model(sanitizer: str, tmp_path: Path, tiny_model: ModelMaker) -> None:
    compiler = os.environ.get("CC") or shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler")
    program = tmp_path / "stress"
    flags = ["-g", "-O1", "-w", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=undefined"]
    command = [compiler, *flags, STRESS_C, "-o", program, "-lm", "-lpthread"]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip(f"this compiler has no {sanitizer} sanitizer")
    models = [tiny_model("q8_0", layers=1), tiny_model("f16", "qwen3", layers=1)]
    environment = os.environ | {"TSAN_OPTIONS": "halt_on_error=1", "ASAN_OPTIONS": "detect_leaks=1"}
    result = subprocess.run([program, *models], capture_output=True, text=True, env=environment)
    if "unexpected memory mapping" in result.stderr:
        pytest.skip("this kernel's address layout is too random for ThreadSanitizer")
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.split() == ["0", "0"]
