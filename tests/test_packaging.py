"""Building and locking: what a wheel holds, what an sdist needs, what a person is told.

The builds are real, of a copy of the repository whose C is one function long: compiling the
engine for every level takes half a minute.
"""

import ctypes
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import cabinos

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
C_SOURCE = '__attribute__((visibility("default"))) int cabin_answer(void) { return 42; }\n'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the build reads, with the short C."""
    tree = tmp_path / "tree"
    left_out = shutil.ignore_patterns("lib", "__pycache__", "*.c")
    shutil.copytree(ROOT / "src", tree / "src", ignore=left_out)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, tree / name)
    (tree / "src/cabinos/engine/run.c").write_text(C_SOURCE)
    (tree / "src/cabinos/engine/library.c").write_text('#include "run.c"\n')
    return tree


def build(tree: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "build", "--no-isolation", *options, str(tree)]
    env = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, env=env)


def compiler(folder: Path, body: str) -> str:
    """A compiler command made of a shell script."""
    script = folder / "fake-cc"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return str(script)


def test_the_sdist_holds_the_source_and_builds_the_wheel(tree: Path) -> None:
    (tree / "src/cabinos/brain/nano.gguf").write_bytes(b"GGUF")
    (tree / "src/cabinos/engine/mine.gguf").write_bytes(b"GGUF")
    result = build(tree)  # the sdist first, then the wheel from the sdist
    assert result.returncode == 0, result.stdout + result.stderr
    (sdist,) = (tree / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"src/cabinos/engine/{c}" for c in ("run.c", "library.c")} <= names
    assert {"hatch_build.py", "LICENSE"} <= names
    brains = {name for name in names if name.endswith(".gguf")}
    assert "src/cabinos/brain/nano.gguf" in brains
    assert all(name.startswith("src/cabinos/brain/") for name in brains)
    assert not any(name.endswith((".so", ".pyc")) for name in names)

    (wheel,) = (tree / "dist").glob("*.whl")
    assert re.fullmatch(rf"cabinos-{re.escape(cabinos.__version__)}-py3-none-\w+\.whl", wheel.name)
    assert "any" not in wheel.stem.split("-")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tree / "unpacked")
    assert {"cabinos/py.typed", "cabinos/engine/run.c"} <= names
    brains = {name for name in names if name.endswith(".gguf")}
    assert "cabinos/brain/nano.gguf" in brains
    assert all(name.startswith("cabinos/brain/") for name in brains)
    libraries = sorted((tree / "unpacked/cabinos/engine/lib").iterdir())
    assert "librun-generic.so" in [library.name for library in libraries]
    generic = next(library for library in libraries if "generic" in library.name)
    assert ctypes.CDLL(str(generic)).cabin_answer() == 42


def test_every_module_of_the_tree_is_in_the_wheel(tree: Path) -> None:
    assert build(tree, "--wheel").returncode == 0
    (wheel,) = (tree / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.endswith(".py")}
    source = ROOT / "src"
    assert packed == {str(path.relative_to(source)) for path in source.rglob("*.py")}


def test_a_level_the_compiler_does_not_know_is_left_out(tree: Path, tmp_path: Path) -> None:
    body = 'for a in "$@"; do case $a in -march=*v[34]|*dotprod) exit 1;; esac; done; exec cc "$@"'
    stale = tree / "src/cabinos/engine/lib/librun-avx512.so"
    stale.parent.mkdir()
    stale.write_text("of an older build")
    result = build(tree, "--wheel", CC=compiler(tmp_path, body))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "is left out" in result.stdout + result.stderr
    assert [path.name for path in stale.parent.iterdir()] == ["librun-generic.so"]


def test_without_a_compiler_the_message_says_what_to_install(tree: Path, tmp_path: Path) -> None:
    result = build(tree, "--wheel", CC="", PATH=str(tmp_path))
    message = result.stdout + result.stderr
    assert result.returncode != 0
    assert "No C compiler was found" in message
    assert "apt install gcc" in message
    assert "xcode-select" in message
    assert "Traceback" not in message


def test_a_wrong_cc_is_named(tree: Path) -> None:
    result = build(tree, "--wheel", CC="no-such-compiler -O2")
    assert result.returncode != 0
    assert "'no-such-compiler'" in result.stdout + result.stderr


def test_a_failing_compiler_is_quoted_and_leaves_nothing_behind(tree: Path, tmp_path: Path) -> None:
    body = 'case "$*" in *library.c*) echo "run.c:1: stdio.h: not found" >&2; exit 1;; esac'
    result = build(tree, "--wheel", CC=compiler(tmp_path, body))
    message = result.stdout + result.stderr
    assert result.returncode != 0
    assert "run.c:1: stdio.h: not found" in message
    assert "libc6-dev" in message
    assert list((tree / "src/cabinos/engine/lib").iterdir()) == []


def locked(name: str) -> dict[str, str]:
    """Package -> version of a lock file."""
    text = (ROOT / "requirements" / f"{name}.lock").read_text()
    return {
        canonicalize_name(n): v for n, v in re.findall(r"^(\S+?)==(\S+) \\$", text, re.MULTILINE)
    }


@pytest.mark.parametrize(("name", "extra"), [("core", "pack"), ("dev", "dev")])
def test_the_lock_satisfies_the_project(name: str, extra: str) -> None:
    versions = locked(name)
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"][extra]
    requirements = [Requirement(text) for text in wanted]
    assert len(requirements) > 5
    for requirement in requirements:
        if requirement.name != "cabinos":
            assert versions[canonicalize_name(requirement.name)] in requirement.specifier


@pytest.mark.parametrize("name", ["core", "dev"])
def test_every_locked_package_has_hashes_and_no_address(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.lock").read_text()
    entries = re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(locked(name)) > 20
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
    assert not re.search(r"^(--index|--extra|--find|--trusted|-i|-f)", text, re.MULTILINE)
    assert "torch" not in locked(name)


def test_the_two_locks_agree() -> None:
    core, dev = locked("core"), locked("dev")
    assert core.items() <= dev.items()


def test_the_version_is_in_the_changelog() -> None:
    assert f"## [{cabinos.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
