"""`cabin skill`, as a person uses it."""

import json
import zipfile
from pathlib import Path

from tests.cli.support import Cabin


def test_make_check_and_share(cabin: Cabin, tmp_path: Path) -> None:
    path = tmp_path / "tying-knots"
    made = cabin("skill", "new", path, "--description", "How to tie knots. Use for ropes.")
    assert made.returncode == 0, made.stderr
    assert "SKILL.md" in made.stdout
    checked = cabin("skill", "check", path, "--record")
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.startswith("tying-knots: ok (2 principles, 1 sources")
    assert (path / "evals" / "recorded.json").exists()

    knowledge = path / "knowledge" / "principles.md"
    knowledge.write_text(knowledge.read_text().replace("> This text", "> That text"))
    failed = cabin("skill", "check", path)
    assert failed.returncode == 1
    assert "principles.md:27: error: replace-me: not in example.md, word for word" in failed.stdout
    report = cabin.json("skill", "check", path, code=1)
    assert report["skills"][0]["findings"][0]["line"] == 27
    knowledge.write_text(knowledge.read_text().replace("> That text", "> This text"))

    packed = cabin("skill", "export", path, "--to", "claude", "-o", tmp_path).stdout.strip()
    assert "tying-knots/SKILL.md" in zipfile.ZipFile(packed).namelist()
    installed = cabin("skill", "install", packed)
    assert installed.returncode == 0, installed.stderr
    assert "It is untrusted" in installed.stderr
    names = {s["name"]: s["trusted"] for s in cabin.json("skill", "list")["skills"]}
    assert names["tying-knots"] is False
    assert names["securing-an-agent"] is True
    assert cabin("skill", "install", packed).returncode == 1
    assert cabin("skill", "install", packed, "--replace", "--trust").returncode == 0
    assert "is gone" in cabin("skill", "remove", "tying-knots").stdout


def test_find_and_explain(cabin: Cabin, tmp_path: Path) -> None:
    found = cabin.json("skill", "search", "reversal", "curse")
    assert found["principles"][0]["id"] == "llm-operating-systems#reversal-curse"
    assert found["skills"][0]["name"] == "llm-operating-systems"
    assert "sources/reversal.md:" in cabin("skill", "search", "reversal", "curse").stdout
    shown = cabin("skill", "show", "securing-an-agent#labels-fall")
    assert "Link: requires securing-an-agent#data-is-no-instruction" in shown.stdout
    ends = ("llm-operating-systems#two-files", "securing-an-agent#worst-case")
    way = cabin("skill", "graph", "--path", *ends, "-o", tmp_path / "way.svg")
    assert "“Nobody can read the parameters” requires “A language model is two files”" in way.stdout
    assert (tmp_path / "way.svg").read_text().startswith("<svg")
    built = cabin("skill", "build", "-o", tmp_path / "graph.json")
    assert built.returncode == 0, built.stderr
    assert len(json.loads((tmp_path / "graph.json").read_text())["principles"]) >= 50


def test_mistakes_are_one_clear_line(cabin: Cabin, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"junk")
    for arguments in (
        ("show", "securing-agent"),
        ("show", "securing-an-agent#none"),
        ("check", tmp_path / "nowhere"),
        ("install", tmp_path / "x.zip"),
        ("new", tmp_path / "Bad Name"),
        ("graph", "-o", tmp_path / "g.pdf"),
        ("export", "securing-an-agent", "--to", "claude", "-o", tmp_path / "x.zip"),
        ("remove", "securing-an-agent"),
    ):
        result = cabin("skill", *arguments)
        assert result.returncode == 1, arguments
        assert "Traceback" not in result.stderr
        said = result.stderr.strip() or result.stdout.strip()
        assert len(said.splitlines()) == 1, said
