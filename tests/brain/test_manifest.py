"""A brain's papers: what fits, and what any change of any of its files does to that."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cabinos.brain.errors import BrainError
from cabinos.brain.manifest import (
    Manifest,
    examine,
    manifest_path,
    sha256,
    sign,
    signature_path,
)
from cabinos.brain.minisign import SecretKey

KEY = SecretKey(b"12345678", bytes(range(32)))
Brain = tuple[Path, Path]


@pytest.fixture
def brain(tmp_path: Path) -> Brain:
    weights, runner = tmp_path / "a.gguf", tmp_path / "run.c"
    weights.write_bytes(b"GGUF" + bytes(1000))
    runner.write_text("int main(void) { return 0; }\n")
    data = [{"name": "books", "licence": "public domain", "sha256": "00"}]
    manifest = Manifest(sha256(weights), 1004, sha256(runner), command="make it", data=data)
    sign(weights, manifest, KEY, "release 1")
    return weights, runner


def test_a_brain_as_it_was_signed(brain: Brain) -> None:
    papers = examine(*brain, KEY.public())
    assert papers.problem == ""
    assert (papers.signed_by, papers.comment) == (KEY.public().line(), "release 1")
    assert papers.manifest is not None
    assert papers.manifest.data[0]["licence"] == "public domain"


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


CHANGES: list[tuple[Callable[[Path, Path], object], str]] = [
    (lambda weights, _: _flip(weights), "weights are not"),
    (lambda weights, _: weights.write_bytes(weights.read_bytes()[:-1]), "weights are not"),
    (lambda _, runner: _flip(runner), "run.c is not"),
    (lambda _, runner: runner.unlink(), "run.c"),
    (lambda weights, _: _flip(manifest_path(weights)), "manifest"),
    (lambda weights, _: manifest_path(weights).unlink(), "no manifest"),
    (lambda weights, _: signature_path(weights).unlink(), "no such file"),
    (lambda weights, _: manifest_path(weights).write_text("{}"), "damaged"),
    (lambda weights, _: manifest_path(weights).write_text("[1"), "damaged"),
    (lambda weights, _: manifest_path(weights).write_text('{"format": 9}'), "update cabin"),
    (lambda weights, _: manifest_path(weights).write_text(
        manifest_path(weights).read_text().replace("make it", "make that")), "was changed"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "problem"), CHANGES)
def test_any_change_is_seen(
    brain: Brain, change: Callable[[Path, Path], object], problem: str
) -> None:
    change(*brain)
    assert problem in examine(*brain, KEY.public()).problem


def test_another_key_is_not_ours(brain: Brain) -> None:
    papers = examine(*brain, replace(KEY, id=b"87654321").public())
    assert "signed by key" in papers.problem
    assert papers.signed_by == ""


def test_what_cannot_be_written_leaves_nothing_half(tmp_path: Path) -> None:
    weights = tmp_path / "absent" / "a.gguf"
    with pytest.raises(BrainError, match="cannot be written"):
        sign(weights, Manifest("", 0, ""), KEY, "x")
