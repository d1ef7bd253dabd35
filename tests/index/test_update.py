"""Files in the index: what is new, changed or gone, and everything that a folder may hold."""

import os
import sys
from pathlib import Path

import pytest

from cabinos.drivers.contents import read_content
from cabinos.index import Index, SearchError
from cabinos.index.scan import scan
from cabinos.index.update import Report, add_roots, forget, roots, update

OLD = 1_600_000_000  # seconds since 1970: long settled


def write(path: Path, data: str | bytes, when: int = OLD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    os.utime(path, (when, when))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = (tmp_path / "documents").resolve()
    write(folder / "lease.md", "# Lease\n\nThe rent is 900 euros.\n")
    write(folder / "deep" / "wifi.txt", "Password: hunter2\n")
    write(folder / "code.py", "# pay the rent\nprint('rent')\n")
    return folder


def run(index: Index, folder: Path) -> Report:
    return update(index, add_roots(index, [folder]), read_content)


def found(index: Index, query: str) -> list[str]:
    return [hit.where for hit in index.search(query)]


def test_files_are_found_with_their_lines(folder: Path) -> None:
    index = Index(None, None)
    report = run(index, folder)
    assert (report.read, report.unchanged, report.problems) == (3, 0, [])
    assert found(index, "rent")[0] in (f"{folder}/lease.md:3", f"{folder}/code.py:1")
    assert found(index, "hunter2") == [f"{folder}/deep/wifi.txt:1"]
    assert index.search("euros")[0].passage.heading == "Lease"


def test_only_what_changed_is_read(folder: Path) -> None:
    index = Index(None, None)
    run(index, folder)
    write(folder / "lease.md", "# Lease\n\nThe rent is 950 euros.\n", OLD + 1)
    write(folder / "deep" / "wifi.txt", "Password: hunter2\n", OLD + 1)  # the same bytes
    (folder / "code.py").unlink()
    report = run(index, folder)
    assert (report.read, report.unchanged, report.removed) == (1, 1, 1)
    assert found(index, "900") == []
    assert found(index, "950") == [f"{folder}/lease.md:3"]
    assert run(index, folder).unchanged == 2


def test_a_file_that_changes_again_at_the_same_time_is_seen(folder: Path) -> None:
    index = Index(None, None)
    now = write(folder / "new.txt", "aaa").stat().st_mtime_ns
    now = 1 << 62  # in the future: as unsettled as can be
    os.utime(folder / "new.txt", ns=(now, now))
    run(index, folder)
    (folder / "new.txt").write_text("bbb")
    os.utime(folder / "new.txt", ns=(now, now))
    run(index, folder)
    assert found(index, "bbb") == [f"{folder}/new.txt:1"]


def test_what_cannot_be_read_is_named_and_does_no_harm(folder: Path) -> None:
    write(folder / "picture.png", b"\x89PNG\0\0rent")
    write(folder / "broken.pdf", b"%PDF-1.7 rent")
    write(folder / "broken.docx", b"PK\3\4 rent")
    write(folder / "latin.txt", "café rent".encode("latin-1"))
    write(folder / "wide.txt", "rent in UTF-16".encode("utf-16"))
    write(folder / "empty.txt", "")
    with (folder / "huge.txt").open("wb") as file:
        file.truncate(2 << 30)
    os.utime(folder / "huge.txt", (OLD, OLD))
    os.mkfifo(folder / "pipe")
    (folder / "cycle").symlink_to(folder)
    (folder / "out.txt").symlink_to("/etc/passwd")
    index = Index(None, None)
    report = run(index, folder)
    named = {Path(problem.partition(": ")[0]).name for problem in report.problems}
    assert named == {"picture.png", "broken.pdf", "broken.docx", "huge.txt"}
    assert any("2,147 MB" in problem for problem in report.problems)
    assert len(found(index, "rent")) == 4
    again = run(index, folder)
    assert (again.read, again.problems) == (0, [])  # they are not tried again


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_not_forgotten(folder: Path) -> None:
    index = Index(None, None)
    run(index, folder)
    (folder / "deep").chmod(0)
    try:
        report = run(index, folder)
    finally:
        (folder / "deep").chmod(0o755)
    assert report.removed == 0
    assert found(index, "hunter2")


def test_a_root_that_is_gone_is_not_forgotten(folder: Path) -> None:
    index = Index(None, None)
    run(index, folder)
    folder.rename(folder.with_name("elsewhere"))
    report = update(index, roots(index), read_content)
    assert report.removed == 0
    assert len(report.problems) == 1
    assert found(index, "hunter2")


def test_roots_within_roots_are_one(folder: Path) -> None:
    index = Index(None, None)
    add_roots(index, [folder / "deep", folder / "lease.md"])
    assert roots(index) == [folder / "deep", folder / "lease.md"]
    add_roots(index, [folder])
    add_roots(index, [folder / "deep"])
    assert roots(index) == [folder]
    with pytest.raises(SearchError, match="no such file"):
        add_roots(index, [folder / "unknown"])
    (folder / "loop").symlink_to(folder / "loop")
    with pytest.raises(SearchError, match="no such file"):
        add_roots(index, [folder / "loop"])


def test_forgetting_leaves_nothing_of_a_folder(folder: Path, tmp_path: Path) -> None:
    with Index(tmp_path / "index.db", None) as index:
        run(index, folder)
        assert forget(index, folder / "deep") == 1
        assert found(index, "hunter2") == []
        assert roots(index) == [folder]
        assert forget(index, folder) == 2
        assert roots(index) == []
        assert forget(index, folder) == 0
        left = b"".join(path.read_bytes() for path in tmp_path.glob("index.db*"))
    assert b"hunter2" not in left
    assert b"euros" not in left


def test_progress_is_told(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    update(Index(None, None), [folder], read_content, lambda *at: told.append(at))
    assert told[-1] == (3, 3)


def test_scanning_is_in_order_and_leaves_out_what_machines_make(folder: Path) -> None:
    write(folder / ".git" / "config", "x")
    write(folder / "node_modules" / "x.js", "x")
    names = [Path(file.path).name for file in scan(folder, print)]
    assert names == ["code.py", "lease.md", "wifi.txt"]
    assert [file.path for file in scan(folder / "code.py", print)] == [f"{folder}/code.py"]


@pytest.mark.skipif(sys.platform == "darwin", reason="names there are Unicode")
def test_names_that_are_no_unicode(folder: Path) -> None:
    name = os.fsencode(folder) + b"/\xff.txt"
    with open(name, "wb") as file:  # noqa: PTH123
        file.write(b"odd name")
    index = Index(None, None)
    report = run(index, folder)
    assert (report.read, len(report.problems)) == (3, 1)
    assert "not UTF-8" in report.problems[0]
