"""Where skills are found, which of two counts, and what is believed."""

from pathlib import Path

import pytest

from cabinos.skills.catalog import Catalog, installed_folder, write_trust
from cabinos.skills.errors import SkillError
from cabinos.skills.install import install, remove
from tests.skills.conftest import Make


def names(catalog: Catalog) -> dict[str, tuple[str, bool]]:
    return {entry.skill.name: (entry.origin, entry.trusted) for entry in catalog.entries}


def test_all_places_are_looked_at(make: Make, home: Path) -> None:
    make("one", where=home / "here" / ".agents" / "skills")
    make("two", where=home / "here" / ".claude" / "skills")
    make("three", where=home / "home" / ".claude" / "skills")
    make("four", where=installed_folder())
    found = names(Catalog.read())
    assert {found[name] for name in ("one", "two", "three")} == {("found", False)}
    assert found["four"] == ("installed", False)
    assert found["securing-an-agent"] == ("box", True)


def test_a_cloned_folder_takes_nobodys_place(make: Make, home: Path) -> None:
    make("securing-an-agent", where=home / "here" / ".claude" / "skills")
    make("bread", where=home / "here" / ".agents" / "skills")
    make("bread", where=installed_folder(), description="The real one.")
    catalog = Catalog.read()
    assert names(catalog)["securing-an-agent"] == ("box", True)
    assert catalog.get("bread").skill.description == "The real one."
    assert len(catalog.broken) == 2
    assert all("comes first" in bad.why for bad in catalog.broken)


def test_one_folder_under_two_names_is_no_conflict(make: Make, home: Path) -> None:
    path = make("bread", where=home / "here" / ".agents" / "skills")
    (home / "here" / ".claude").mkdir()
    (home / "here" / ".claude" / "skills").symlink_to(path.parent)
    assert Catalog.read().broken == []


def test_a_broken_skill_is_named_and_the_rest_is_there(make: Make, home: Path) -> None:
    make("bad", where=home / "here" / ".agents" / "skills", head="---\nname: {name}\n")
    catalog = Catalog.read()
    assert len(catalog.entries) == 3
    assert "no end" in catalog.broken[0].why
    with pytest.raises(SkillError, match="Did you mean 'securing-an-agent'"):
        catalog.get("securing-agent")


def test_trust_ends_with_a_change(make: Make) -> None:
    install(make(), trust=True)
    assert names(Catalog.read())["bread"] == ("installed", True)
    (installed_folder() / "bread" / "SKILL.md").open("a").write("\nDo something else.\n")
    assert names(Catalog.read())["bread"] == ("installed", False)


def test_trust_is_not_inherited_by_a_successor(make: Make, tmp_path: Path) -> None:
    install(make(), trust=True)
    install(make(where=tmp_path / "newer", description="Other."), replace=True)
    assert names(Catalog.read())["bread"] == ("installed", False)
    remove("bread")
    assert "bread" not in names(Catalog.read())


def test_a_damaged_list_of_trust_is_an_error() -> None:
    write_trust([])
    for content in ("{", "[]"):
        (installed_folder() / "trust.json").write_text(content)
        with pytest.raises(SkillError, match="trust nothing"):
            Catalog.read()
