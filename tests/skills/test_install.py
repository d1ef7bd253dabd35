"""Archives and folders come in safely, and go out as others want them."""

import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from skills_ref.validator import validate

from cabinos.skills import install as module
from cabinos.skills.catalog import installed_folder
from cabinos.skills.errors import SkillError
from cabinos.skills.export import export
from cabinos.skills.graph import compile_graph
from cabinos.skills.install import install, remove
from cabinos.skills.package import read_skill
from tests.skills.conftest import HEAD, Make

MAIN = HEAD.format(name="bread", description="Bakes.")


def archive(path: Path, files: dict[str, str], change: Callable[..., None] | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            if change:
                change(info)
            packed.writestr(info, content)
    return path


def residue() -> list[str]:
    """What is left of unfinished work."""
    return [path.name for path in installed_folder().iterdir() if path.name.startswith(".")]


def test_a_folder_is_installed_without_links_and_hidden_files(make: Make, tmp_path: Path) -> None:
    path = make(files={".git/config": "x", "scripts/a.py": "print(1)"})
    (path / "link").symlink_to("/etc/passwd")
    skill = install(path)
    assert skill.folder.path == installed_folder() / "bread"
    assert skill.folder.files() == [
        *("SKILL.md", "knowledge/principles.md", "scripts/a.py", "sources/bread.md")
    ]
    assert not (skill.folder.path / "link").exists()
    assert residue() == ["trust.json"] or not residue()


@pytest.mark.parametrize("top", ["", "bread/", "bread-main/"])
def test_an_archive_is_installed(tmp_path: Path, top: str) -> None:
    files = {f"{top}SKILL.md": MAIN, f"{top}references/a.md": "text", "__MACOSX/x": "junk"}
    skill = install(archive(tmp_path / "a.zip", files))
    assert skill.name == "bread"
    assert skill.folder.files() == ["SKILL.md", "references/a.md"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../evil.md", "lead out"),
        ("bread/../../evil.md", "lead out"),
        ("/etc/evil", "lead out"),
        ("bread\\..\\evil", "lead out"),
        ("C:evil", "lead out"),
        ("bread/skill.md", "twice"),
        ("other/SKILL.md", "one folder"),
        ("bread/SKILL.md/x", "a file and a folder|same name"),
    ],
)
def test_hostile_names_write_nothing(tmp_path: Path, name: str, why: str) -> None:
    packed = archive(tmp_path / "a.zip", {"bread/SKILL.md": MAIN, name: "evil"})
    with pytest.raises(SkillError, match=why):
        install(packed)
    assert list(installed_folder().iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "cabin", "here", "home"]


def test_links_in_archives_are_refused(tmp_path: Path) -> None:
    def as_link(info: zipfile.ZipInfo) -> None:
        if info.filename.endswith("link"):
            info.external_attr = (stat.S_IFLNK | 0o777) << 16

    files = {"bread/SKILL.md": MAIN, "bread/link": "/etc/passwd"}
    with pytest.raises(SkillError, match="a link"):
        install(archive(tmp_path / "a.zip", files, as_link))


def test_bombs_are_stopped_as_they_unfold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1 << 20)
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("bread/SKILL.md", MAIN)
        packed.writestr("bread/zeros", "0" * (4 << 20))
    with pytest.raises(SkillError, match="when unpacked"):
        install(path)
    monkeypatch.setattr(module, "MAX_FILES", 2)
    files = {f"bread/{n}": "" for n in range(5)} | {"bread/SKILL.md": MAIN}
    with pytest.raises(SkillError, match="entries"):
        install(archive(tmp_path / "many.zip", files))
    assert list(installed_folder().iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04broken", b"no archive" * 100])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(SkillError, match="not a zip archive"):
        install(path)


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"bread/SKILL.md": MAIN * 10})
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(SkillError):
        install(path)


def test_names_are_not_taken_silently(make: Make, tmp_path: Path) -> None:
    install(make())
    with pytest.raises(SkillError, match="is installed already"):
        install(make(where=tmp_path / "b"))
    with pytest.raises(SkillError, match="comes with Cabin"):
        install(make("securing-an-agent"))
    other = make(where=tmp_path / "c", description="New.")
    assert install(other, replace=True).description == "New."
    spoof = MAIN.replace("name: bread", "name: brеad")
    with pytest.raises(SkillError, match="mixes letters"):
        install(archive(tmp_path / "x.zip", {"SKILL.md": spoof}))


def test_only_installed_skills_are_removed(make: Make) -> None:
    install(make())
    remove("bread")
    for name in ("bread", "securing-an-agent", "../made", ""):
        with pytest.raises(SkillError):
            remove(name)


def test_exports_are_what_others_take(make: Make, tmp_path: Path) -> None:
    skill = read_skill(make())
    graph = compile_graph([skill])
    out = tmp_path / "out"
    out.mkdir()
    packed = export(skill, graph, "claude", out)
    with zipfile.ZipFile(packed) as read:
        assert min(read.namelist()) == "bread/SKILL.md"
        read.extractall(tmp_path / "unpacked")
    assert validate(tmp_path / "unpacked" / "bread") == []
    again = export(skill, graph, "claude", tmp_path / "again.zip")
    assert again.read_bytes() == packed.read_bytes()
    assert validate(export(skill, graph, "openclaw", out)) == []
    page = export(skill, graph, "chatgpt", out).read_text()
    for words in ("Do it well.", "“a slow rise gives more taste.”", "requires bread#warmth", "CC0"):
        assert words in page
    with pytest.raises(SkillError, match="something already"):
        export(skill, graph, "claude", out)
    assert install(packed).name == "bread"
