"""Taking in a skill from a folder or a zip archive, and giving one out.

An archive is a stranger's list of names and bytes. Each name is checked before anything is written,
sizes are counted as they come and not as they are declared, and all of it happens in a folder of
its own, which takes its place in one step when it is whole.
"""

import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from cabinos.skills.catalog import installed_folder, library_folder, write_trust
from cabinos.skills.errors import SkillError
from cabinos.skills.folder import MAX_BYTES, MAX_FILES, Folder
from cabinos.skills.package import MAIN, Skill, name_problems, read_head, read_skill

__all__ = ["install", "remove"]

CHUNK = 1 << 16
LEFT_OUT = ("__MACOSX", ".DS_Store", "__pycache__", ".git")  # of an archive


def install(source: Path, *, replace: bool = False, trust: bool = False) -> Skill:
    """Installs the skill in a folder or a zip archive for this user.

    Raises SkillError if it cannot be used, or if its name is taken and not to be replaced.
    """
    target = installed_folder()
    target.mkdir(parents=True, exist_ok=True)
    with _staging(target) as stage:
        arrived = _unpack(source, stage) if source.is_file() else _copy(source, stage)
        skill = read_head(arrived)
        if problems := list(name_problems(skill.name)):
            raise SkillError(" ".join(problems), source)
        final = target / skill.name
        taken = next((p for p in (final, library_folder() / skill.name) if p.exists()), None)
        if taken is not None and not replace:
            whose = "comes with Cabin" if taken != final else "is installed already"
            raise SkillError(f"a skill {skill.name!r} {whose}; --replace takes its place.", source)
        named = arrived.rename(arrived.with_name(f"{skill.name}.new"))
        _swap(named, final, stage)
    installed = read_skill(final)
    write_trust([installed] if trust else [], forget=[] if trust else [skill.name])
    return installed


def remove(name: str) -> Path:
    """Removes an installed skill. Raises SkillError if there is none of that name."""
    path = installed_folder() / name
    if any(name_problems(name)) or not (path / MAIN).exists():
        raise SkillError(f"no skill {name!r} is installed in {installed_folder()}.")
    with _staging(installed_folder()) as stage:
        path.rename(stage / name)
    write_trust([], forget=[name])
    return path


@contextmanager
def _staging(beside: Path) -> Iterator[Path]:
    """A folder on the same file system that is gone afterwards, whatever happens."""
    stage = Path(tempfile.mkdtemp(prefix=".install-", dir=beside))
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _swap(new: Path, final: Path, stage: Path) -> None:
    """Puts a folder in the place of another."""
    if final.is_symlink():
        final.unlink()
    elif final.exists():
        final.rename(stage / "old")
    new.rename(final)


def _copy(source: Path, stage: Path) -> Path:
    """The files of a folder, without links and hidden ones."""
    folder = Folder(source)
    if not folder.has(MAIN):
        raise SkillError(f"there is no {MAIN}.", source)
    arrived = stage / "arrived"
    for inner in folder.files():
        path = arrived / inner
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder.locate(inner), path)
    return arrived


# ---- Archives ------------------------------------------------------------------------------------


def _unpack(source: Path, stage: Path) -> Path:
    """The files of an archive, which has a SKILL.md at its top or in its only folder."""
    arrived = stage / "arrived"
    total = 0
    try:
        with zipfile.ZipFile(source) as archive:
            members = list(_members(archive, source))
            top = _top([path for _, path in members], source)
            for info, path in members:
                inner = path.relative_to(top)
                target = arrived.joinpath(*inner.parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as packed, target.open("xb") as file:
                    while data := packed.read(CHUNK):
                        total += len(data)
                        if total > MAX_BYTES:
                            most = f"more than {MAX_BYTES >> 20} MiB when unpacked"
                            raise SkillError(f"{most}; a skill has less.", source)
                        file.write(data)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise SkillError(f"not a zip archive that can be read: {error}.", source) from None
    except RuntimeError as error:  # zipfile's word for an encrypted file
        raise SkillError(f"cannot be unpacked: {error}.", source) from None
    except FileExistsError:
        raise SkillError("two files in it have the same name.", source) from None
    except (NotADirectoryError, IsADirectoryError):
        raise SkillError("one name in it is a file and a folder.", source) from None
    return arrived


def _members(
    archive: zipfile.ZipFile, source: Path
) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The files that are wanted, with names that stay inside."""
    infos = archive.infolist()
    if len(infos) > MAX_FILES:
        raise SkillError(f"{len(infos):,} entries; a skill has at most {MAX_FILES:,}.", source)
    seen: set[str] = set()
    for info in infos:
        path = PurePosixPath(info.filename)
        bad = "\\" in info.filename or "\0" in info.orig_filename or path.is_absolute()
        if bad or ".." in path.parts or ":" in info.filename:
            raise SkillError(f"{info.filename!r} would lead out of the skill.", source)
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise SkillError(f"{info.filename!r} is a link or a device, not a file.", source)
        if info.is_dir() or any(part in LEFT_OUT for part in path.parts):
            continue
        if (folded := str(path).casefold()) in seen:
            raise SkillError(f"{info.filename!r} is there twice.", source)
        seen.add(folded)
        yield info, path


def _top(paths: list[PurePosixPath], source: Path) -> PurePosixPath:
    """The folder in the archive that is the skill."""
    if PurePosixPath(MAIN) in paths:
        return PurePosixPath()
    tops = {path.parts[0] for path in paths if len(path.parts) > 1}
    found = [top for top in tops if PurePosixPath(top, MAIN) in paths]
    if len(found) != 1 or any(path.parts[0] != found[0] for path in paths):
        raise SkillError(f"a skill's archive has one folder with a {MAIN}.", source)
    return PurePosixPath(found[0])
