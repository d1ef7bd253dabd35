"""SKILL.md, knowledge and sources: what is read, and what is refused, with its line."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.skills.errors import SkillError
from cabinos.skills.folder import MAX_FILE, Folder
from cabinos.skills.frontmatter import split
from cabinos.skills.knowledge import parse
from cabinos.skills.package import name_problems, read_head, read_skill
from tests.skills.conftest import KNOWLEDGE, Make

HERE = Path("x/SKILL.md")


def test_a_skill_is_read(make: Make) -> None:
    skill = read_skill(make())
    assert skill.name == "bread"
    assert not skill.problems
    warmth, slow = skill.principles
    assert warmth.key == "bread#warmth"
    assert warmth.claim == "Dough rises faster where it is warm."
    (technique,) = warmth.techniques
    assert technique.text == "Put it near the oven."
    assert technique.use_when == "you are in a hurry."
    assert technique.fails_when == "it is too hot."
    assert [(link.kind, link.target) for link in slow.links] == [("requires", "bread#warmth")]
    (quote,) = slow.quotes
    place = skill.sources["bread"].find(quote.text)
    assert place is not None
    assert (place.heading, place.line) == ("Dough", 9)


# ---- The head ------------------------------------------------------------------------------------


def test_the_head_is_text_only() -> None:
    head, body, first = split("---\nversion: 1.10\nyes: no\nlist: [1, ~]\n---\nhello\n", HERE)
    assert head == {"version": "1.10", "yes": "no", "list": ["1", "~"]}
    assert (body, first) == ("hello\n", 6)


@pytest.mark.parametrize(
    ("head", "line", "why"),
    [
        ("a: &x 1\nb: *x", 2, "anchors"),
        ("a: !!python/object/apply:os.system [echo]", 2, "tags"),
        ("a: !x 1", 2, "tags"),
        ("a: 1\na: 2", 3, "twice"),
        ("? [x]\n: 1", 2, "a key"),
        ("- a", 2, "mapping"),
        ("a: [", 3, "not YAML"),
        ("a: " + "[" * 3000 + "]" * 3000, 2, "deep"),
        ("a: \x00", 2, "not YAML"),
        ("a: " + "x" * (70 << 10), 1, "longer"),
    ],
)
def test_hostile_heads_are_refused(head: str, line: int, why: str) -> None:
    with pytest.raises(SkillError, match=why) as caught:
        split(f"---\n{head}\n---\n", HERE)
    assert f"SKILL.md:{line}:" in str(caught.value)


def test_a_head_must_be_there_and_end() -> None:
    for text in ("", "# Title\n", "---\nname: x\n"):
        with pytest.raises(SkillError, match=r"SKILL.md:1:"):
            split(text, HERE)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=100))
def test_any_head_is_read_or_refused(text: str) -> None:
    try:
        head, _, _ = split(f"---\n{text}\n---\n", HERE)
    except SkillError:
        return
    assert isinstance(head, dict)


def test_what_breaks_the_specification_is_named_and_still_read(make: Make) -> None:
    head = "---\nname: {name}\ndescription: {description}\nversion: '2'\n---\n"
    skill = read_head(make(head=head, description="Does <b>this</b>."))
    assert any("'version'" in problem for problem in skill.problems)
    assert any("<" in problem for problem in skill.problems)
    moved = make("bread2")
    moved = moved.rename(moved.with_name("other"))
    assert any("the same" in problem for problem in read_head(moved).problems)


@pytest.mark.parametrize(
    "name",
    ["", "Bread", "-a", "a-", "a--b", "a_b", "a b", "a/b", "../up", "a" * 65, "brеad", "a\nb"],
)
def test_bad_names(name: str) -> None:
    assert list(name_problems(name))


@pytest.mark.parametrize("name", ["a", "bread-2", "хлеб", "パン", "n" * 64])
def test_good_names(name: str) -> None:
    assert not list(name_problems(name, name))


def test_a_skill_without_name_or_description_cannot_be_used(make: Make) -> None:
    for head in ("---\nname: {name}\n---\n", "---\ndescription: {description}\n---\n"):
        with pytest.raises(SkillError, match="the head has no"):
            read_head(make(f"x{len(head)}", head=head))


# ---- The folder ----------------------------------------------------------------------------------


def test_nothing_outside_of_a_skill_is_read(make: Make, tmp_path: Path) -> None:
    path = make()
    secret = tmp_path / "secret.md"
    secret.write_text("secret")
    (path / "link.md").symlink_to(secret)
    (path / "up").symlink_to(tmp_path)
    os.mkfifo(path / "pipe")
    (path / ".h").write_text("hidden")
    folder = Folder(path)
    for inner in (
        "../secret.md",
        "/etc/passwd",
        "link.md",
        "up/secret.md",
        "a\\b",
        "x\0y",
        "pipe",
        ".h",
    ):
        with pytest.raises(SkillError):
            folder.text(inner)
    assert folder.files() == ["SKILL.md", "knowledge/principles.md", "sources/bread.md"]


def test_huge_and_broken_files_are_refused(make: Make) -> None:
    path = make()
    with (path / "huge.md").open("wb") as file:
        file.truncate(2 << 30)
    (path / "odd.md").write_bytes(b"one\ntw\xff")
    folder = Folder(path)
    with pytest.raises(SkillError, match=f"more than {MAX_FILE >> 20} MiB"):
        folder.text("huge.md")
    with pytest.raises(SkillError, match=r"odd.md:2: not UTF-8"):
        folder.text("odd.md")
    with pytest.raises(SkillError, match="at most"):
        folder.files()


def test_a_circle_of_links_is_no_skill(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(SkillError, match="cannot be opened"):
        read_head(tmp_path / "a")


# ---- Knowledge -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "line", "why"),
    [
        (("{#warmth}", ""), 3, "ends with its id"),
        (("{#warmth}", "{#Warm th}"), 3, "is no id"),
        (("**Why.** Chemistry goes faster in the warm.", ""), 3, r"no \*\*Why"),
        (("**Why.** Taste", "**Claim.** Taste"), 24, "twice"),
        (("> — [bread]", "> — a book"), 11, "names its source"),
        (("contrasts #slow", "hates #slow"), 16, "no kind of link"),
        (("contrasts #slow", "contrasts slow"), 16, "leads to"),
        (("**Technique.** Put it near the oven. ", ""), 14, "before any technique"),
    ],
)
def test_mistakes_are_named_with_their_lines(change: tuple[str, str], line: int, why: str) -> None:
    with pytest.raises(SkillError, match=why) as caught:
        parse(KNOWLEDGE.replace(*change, 1), "bread", Path("p.md"))
    assert f"p.md:{line}:" in str(caught.value)


def test_an_id_stands_once(make: Make) -> None:
    with pytest.raises(SkillError, match="already that of"):
        read_skill(make(knowledge=KNOWLEDGE + KNOWLEDGE))


@settings(deadline=None)
@given(st.text(alphabet="#*>—[]{}\n ab.;Claim", max_size=200))
def test_any_knowledge_is_read_or_refused(text: str) -> None:
    try:
        found = parse(text, "x", Path("p.md"))
    except SkillError:
        return
    assert all(p.claim and p.explanation and p.why for p in found)
