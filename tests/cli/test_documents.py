"""`cabin "question" --from FOLDER`: in real processes, on real files."""

import json
from pathlib import Path

import pytest

from tests.cli.support import Cabin
from tests.fixtures.stub_server import Reply, StubServer

CONFIG = """
[model.stub]
provider = "openai"
model = "stub"
base_url = "{url}"
window = 8000
"""
TOWER = (
    "The tower was designed by Gustave Eiffel and opened in 1889.\n"
    "\n"
    "It is 330 metres tall and has three levels for visitors.\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "tower.txt").write_text(TOWER)
    (folder / "bridge.md").write_text("# Bridge\n\nThe bridge was built by Ada Kowal in 1932.\n")
    return folder


def brained(cabin: Cabin, stub: StubServer) -> None:
    (cabin.home / "config.toml").write_text(CONFIG.format(url=stub.url))


def test_without_a_brain_the_sentence_is_quoted(cabin: Cabin, folder: Path) -> None:
    told = cabin.json("How tall is the tower?", "--from", folder)
    assert told["by"] == "extraction"
    assert "330" in told["answer"]
    (quote,) = told["quotes"]
    assert quote["where"] == "papers/tower.txt:3"
    assert quote["words"] == TOWER.splitlines()[2]
    ran = cabin("Who designed the tower?", "--from", folder)
    assert ran.returncode == 0
    answer, cited = ran.stdout.splitlines()
    assert answer == "Gustave Eiffel"
    assert cited.startswith('  [1] papers/tower.txt:1: "The tower was designed')


def test_what_is_not_there_is_said(cabin: Cabin, folder: Path) -> None:
    for question in ("Which wine goes with trout?", "How many horses did the queen own?"):
        ran = cabin(question, "--from", folder)
        assert (ran.returncode, ran.stdout) == (1, "Not in these documents.\n")


def reply(found: bool, answer: str, *quotes: tuple[int, str]) -> Reply:
    cited = [{"passage": number, "words": words} for number, words in quotes]
    return Reply(json.dumps({"found": found, "answer": answer, "quotes": cited}))


def test_a_brain_s_quotes_are_checked(cabin: Cabin, folder: Path) -> None:
    replies = [
        reply(True, "In 1889 [1].", (1, "opened in 1889"), (1, "opened by the king")),
        reply(True, "In 1901 [1].", (1, "opened in 1901"), (9, "opened in 1889")),
        reply(False, "", (1, "opened in 1889")),
    ]
    with StubServer(replies) as stub:
        brained(cabin, stub)
        told = cabin.json("When did the tower open?", "--from", folder)
        assert (told["by"], told["answer"]) == ("brain", "In 1889 [1].")
        assert told["quotes"] == [{"words": "opened in 1889", "where": "papers/tower.txt:1"}]
        assert told["note"].startswith("1 of its quotes")
        told = cabin.json("When did the tower open?", "--from", folder, code=1)
        assert (told["found"], told["answer"], told["quotes"]) == (False, "", [])
        assert "no quote" in told["note"]
        ran = cabin("When did the tower open?", "--from", folder)
        assert (ran.returncode, ran.stdout) == (1, "Not in these documents.\n")
        first = stub.requests[0].body
        assert "tools" not in first
        assert "[1] papers/tower.txt:1\nThe tower was designed" in first["messages"][-1]["content"]


def test_mistakes_are_told_in_one_line(cabin: Cabin, folder: Path, tmp_path: Path) -> None:
    for options, code, words in (
        (("what is it?", "--from", folder), 2, "no words to look for"),
        (("who built it?", "--from", tmp_path / "nowhere"), 2, "cannot be read"),
        (("who built it?", "--from", folder, "--plan"), 2, "leave out --plan"),
    ):
        ran = cabin(*options)
        assert ran.returncode == code, ran
        assert words in ran.stderr
        assert "Traceback" not in ran.stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    (empty / "noise.bin").write_bytes(bytes(range(256)))
    ran = cabin("who built it?", "--from", empty)
    assert ran.returncode == 1
    assert "Left out: empty/broken.pdf" in ran.stderr
    assert "no document there can be read" in ran.stderr


def test_a_private_folder_goes_to_no_brain_elsewhere(cabin: Cabin, folder: Path) -> None:
    with StubServer([Reply("no")]) as stub:
        config = f'[cabin]\nprivate = ["{folder}"]\n{CONFIG.format(url=stub.url)}'
        (cabin.home / "config.toml").write_text(config)
        ran = cabin("How tall is the tower?", "--from", folder)
        assert ran.returncode == 1
        assert "stub is not on it" in ran.stderr
        assert stub.requests == []
