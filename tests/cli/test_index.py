"""cabin index, search, and what people do with notes."""

import signal
from pathlib import Path

import pytest

from tests.cli.support import Cabin


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = (tmp_path / "documents").resolve()
    folder.mkdir()
    (folder / "lease.md").write_text("# Lease\n\nThe rent is 900 euros a month.\n")
    (folder / "pets.txt").write_text("Dogs are not allowed in the flat.\n")
    return folder


def test_index_search_status_forget(cabin: Cabin, folder: Path) -> None:
    nothing = cabin("search", "rent")
    assert nothing.returncode == 1
    assert "cabin index FOLDER" in nothing.stderr
    assert cabin.json("index", folder)["read"] == 2
    found = cabin("search", "how", "much", "is", "the", "rent", "--explain")
    assert f"{folder}/lease.md:3  Lease" in found.stdout.splitlines()
    assert "BM25" in found.stderr
    (hit, *_) = cabin.json("search", "is my puppy allowed here")["hits"]
    assert (hit["file"], hit["line"], hit["words"]) == (f"{folder}/pets.txt", 1, ["allowed"])
    (folder / "pets.txt").unlink()
    assert cabin.json("index")["removed"] == 1
    status = cabin.json("index", "--status")
    assert (status["files"], status["roots"]) == (1, [str(folder)])
    assert cabin("index", "--forget", folder).stdout == "1 files forgotten\n"
    assert cabin.json("index", "--status")["roots"] == []


def test_a_question_is_answered_before_the_passages(cabin: Cabin, folder: Path) -> None:
    cabin.json("index", folder)
    lines = cabin("search", "How much is the rent a month?").stdout.splitlines()
    assert "900" in lines[0]
    assert lines[1] == f'  [1] {folder}/lease.md:3: "The rent is 900 euros a month."'
    assert lines[2] == ""
    told = cabin.json("search", "How much is the rent a month?")
    assert told["answer"]["quotes"] == [
        {"words": "The rent is 900 euros a month.", "where": f"{folder}/lease.md:3"}
    ]
    assert cabin.json("search", "Who painted the ceiling of the chapel?")["answer"] is None
    assert cabin.json("search", "rent month euros")["answer"] is None  # it asks nothing


def test_mistakes_are_explained(cabin: Cabin, folder: Path) -> None:
    assert "no such file" in cabin("index", folder / "unknown").stderr
    assert "nothing is indexed yet" in cabin("index").stderr
    assert cabin("index", "--forget").returncode == 2
    assert "model.safetensors" in cabin("index", folder, "--encoder", folder).stderr
    (cabin.home / "index.db").write_bytes(b"no database at all" * 100)
    broken = cabin("search", "rent")
    assert broken.returncode == 1
    assert "Delete the file" in broken.stderr
    assert "Traceback" not in broken.stderr


def test_watching_takes_changes_in(cabin: Cabin, folder: Path) -> None:
    watching = cabin.start("index", folder, "--watch")
    assert watching.stdout is not None
    assert "2 files read" in watching.stdout.readline()
    (folder / "new.txt").write_text("A zebra moved in.\n")
    assert "1 files read" in watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    assert watching.wait(60) == 130
    assert cabin.json("search", "zebras")["hits"][0]["file"] == f"{folder}/new.txt"


def test_notes_are_edited_forgotten_and_exported(cabin: Cabin) -> None:
    cabin('call notes_remember {"text": "the door code is 1234"}')
    cabin('call notes_remember {"text": "my physician is Dr. Quuxley"}')
    assert cabin.json("mem", "search", "doctor")["notes"][0]["id"] == 2
    cabin("mem", "edit", "1", "the door code is 9876")
    (first, _) = cabin.json("mem", "export")["notes"]
    assert (first["text"], first["label"], first["pid"]) == ("the door code is 9876", "trusted", 0)
    assert "*note; " in cabin("mem", "export").stdout
    assert cabin.json("mem", "search", "9876")["notes"][0]["id"] == 1
    assert cabin("mem", "forget", "1", "7").returncode == 1
    assert len(cabin.json("mem", "notes")["notes"]) == 2
    assert cabin("mem", "forget", "1").returncode == 0
    assert cabin.json("mem", "search", "door")["notes"] == []
    assert "9876" not in (cabin.home / "cabin.db").read_bytes().decode("latin-1")
    assert cabin("mem", "edit", "1", "x").returncode == 1
