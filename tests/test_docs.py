"""What the documentation shows works: Python runs, commands run, links lead somewhere."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


SNIPPETS = [
    pytest.param(code, id=f"{page.name}-{number}")
    for page in PAGES
    for number, code in enumerate(blocks(page, "python"), 1)
]
COMMANDS = [
    line.partition("  #")[0].strip()
    for page in PAGES
    for block in blocks(page, "sh")
    for line in block.splitlines()
    if re.search(r"\bcabin (run|models)\b", line)
]


@pytest.fixture
def folder(oz_model: Path, tmp_path: Path) -> Path:
    """A folder with the files that the documentation speaks of."""
    for name in ("model.gguf", "base.gguf"):
        (tmp_path / name).symlink_to(oz_model)
    (tmp_path / "OUT").mkdir()
    (tmp_path / "OUT" / "nano-base.gguf").symlink_to(oz_model)
    (tmp_path / "notes.txt").write_text("The Lion said")
    (tmp_path / "person.json").write_text(
        '{"type": "object", "properties": {"n": {"type": "null"}}}'
    )
    (tmp_path / "cabin").write_text(f'#!/bin/sh\nexec {sys.executable} -m cabinos "$@"\n')
    (tmp_path / "cabin").chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("code", SNIPPETS)
def test_python_runs(code: str, folder: Path) -> None:
    home = {"CABIN_HOME": f"{folder}/home", "CABIN_MODEL": f"{folder}/model.gguf"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | home,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_command_runs(command: str, folder: Path) -> None:
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout


def test_the_two_files_run_without_python(folder: Path) -> None:
    (program,) = (block for block in blocks(ROOT / "README.md", "sh") if block.startswith("cc "))
    (folder / "src").symlink_to(ROOT / "src")
    result = subprocess.run(["sh", "-ec", program], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.split()) > 20


def test_there_is_something_to_run() -> None:
    assert len(SNIPPETS) >= 2
    assert len(COMMANDS) >= 3


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {
        shlex.split(line)[1]
        for page in PAGES
        for block in blocks(page, "sh")
        for line in block.splitlines()
        if line.startswith("make ")
    }
    assert {"demo", "test", "lint"} <= named
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in named)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_text_exist(page: Path) -> None:
    """`engine/x.py` in running text is a file of the source tree."""
    for name in re.findall(
        r"`((?:engine|cli|src|bench|tests|tools|docs)/[\w/.]+)`", page.read_text()
    ):
        assert any((base / name).exists() for base in (ROOT, ROOT / "src/cabinos")), name
