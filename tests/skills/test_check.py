"""`check` fails on what must not be, and names the place."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from skills_ref.validator import validate

from cabinos.skills.catalog import library_folder, skill_folders
from cabinos.skills.check import check
from cabinos.skills.evals import RECORDED, Scores, to_record
from cabinos.skills.package import read_skill
from cabinos.skills.template import create
from tests.skills.conftest import HEAD, KNOWLEDGE, SOURCE, Make

SHIPPED = [pytest.param(path, id=path.name) for path in skill_folders(library_folder())]


def errors(path: Path) -> list[str]:
    return [str(finding) for finding in check(path).findings if finding.level == "error"]


def test_a_good_skill_passes(make: Make) -> None:
    report = check(make())
    assert report.ok
    (finding,) = report.findings
    assert finding.level == "warning"
    assert "nothing recorded" in finding.message


@pytest.mark.parametrize(
    ("change", "where", "why"),
    [
        (lambda t: t.replace("in a warm kitchen", "in a cold kitchen"), ":11", "word for word"),
        (lambda t: t.replace("[bread]", "[cake]", 1), ":11", "no source 'cake'"),
        (lambda t: t.replace("> Dough rises faster in a warm kitchen", "> Dough rises"), ":11",
         "at least"),
        (lambda t: t.replace("> Dough rises faster in a warm kitchen\n> — [bread]\n", ""), ":3",
         "no quote"),
        (lambda t: t.replace("contrasts #slow", "requires #none"), ":16", "does not exist"),
        (lambda t: t.replace("contrasts #slow", "requires other#x"), ":16", "does not exist"),
        (lambda t: t.replace("contrasts #slow", "contrasts #warmth"), ":16", "itself"),
        (lambda t: t.replace("contrasts #slow", "requires #slow"), ":3", "a circle"),
    ],
)  # fmt: skip
def test_wrong_knowledge_fails(
    make: Make, change: Callable[[str], str], where: str, why: str
) -> None:
    (error,) = errors(make(knowledge=change(KNOWLEDGE)))
    assert f"principles.md{where}: error:" in error
    assert why in error


def test_a_broken_specification_fails(make: Make) -> None:
    head = HEAD.replace("license:", "author: me\nlicense:")
    assert "'author'" in errors(make(head=head))[0]
    assert errors(make("empty", head="no head at all"))


def test_a_source_changed_to_fit_a_quote_fails(make: Make) -> None:
    path = make()
    (path / "evals").mkdir()
    (path / RECORDED).write_text(to_record(read_skill(path), Scores()))
    assert not errors(path)
    source = path / "sources" / "bread.md"
    source.write_text(SOURCE.replace("warm", "cold"))
    (path / "knowledge" / "principles.md").write_text(KNOWLEDGE.replace("a warm", "a cold"))
    (error,) = errors(path)
    assert "bread.md" in error
    assert "changed since" in error
    source.rename(source.with_name("other.md"))
    assert any("is gone" in error for error in errors(path))


def test_worse_evals_fail(make: Make) -> None:
    triggers = {"should": ["how do I bake bread"], "should_not": ["what is the time"]}
    questions = [{"question": "Why does dough rise in the warm?", "principles": ["warmth"]}]
    path = make(
        files={
            "evals/triggers.json": json.dumps(triggers),
            "evals/questions.json": json.dumps(questions),
        }
    )
    report = check(path)
    assert report.scores == Scores(1.0, 1.0, 0.0, 1.0)
    assert report.skill is not None
    (path / RECORDED).write_text(to_record(report.skill, report.scores))
    assert check(path).ok
    (path / "evals" / "triggers.json").write_text(json.dumps({**triggers, "should": ["my cat"]}))
    assert any("shown was 1.000" in error for error in errors(path))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("triggers.json", "{"),
        ("triggers.json", '{"maybe": []}'),
        ("triggers.json", '{"should": [1]}'),
        ("questions.json", '{"question": "x"}'),
        ("questions.json", '[{"question": "x", "principles": ["unknown"]}]'),
        ("recorded.json", '{"scores": {"x": 1}, "sources": {}}'),
        ("recorded.json", "[" * 100_000),
    ],
)
def test_broken_evals_are_an_error(make: Make, file: str, content: str) -> None:
    assert errors(make(files={f"evals/{file}": content}))


@pytest.mark.parametrize("path", SHIPPED)
def test_shipped_skills_pass_every_check(path: Path) -> None:
    others = [read_skill(other) for other in skill_folders(library_folder())]
    report = check(path, others)
    assert not report.findings
    assert report.scores is not None
    assert None not in (report.scores.shown, report.scores.misfired, report.scores.found)


@pytest.mark.parametrize("path", SHIPPED)
def test_shipped_skills_pass_the_reference_validator(path: Path) -> None:
    assert validate(path) == []


def test_there_are_three_with_enough_in_them() -> None:
    counts = {p.name: len(read_skill(p).principles) for p in skill_folders(library_folder())}
    assert counts["llm-operating-systems"] >= 12
    assert counts["training-a-small-model"] >= 8
    assert counts["securing-an-agent"] >= 8


def test_a_new_skill_passes(tmp_path: Path) -> None:
    path = tmp_path / "my-skill"
    create(path, 'Says "hello". Use when\nasked.')
    assert not errors(path)
    assert validate(path) == []
    assert read_skill(path).description == 'Says "hello". Use when asked.'
