"""Passages of documents: the right ones first, of any folder, however hostile."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinos.drivers import reader
from cabinos.drivers.lines import passages_of
from cabinos.drivers.passages import driver
from cabinos.drivers.ranking import best, stem, stems
from cabinos.kernel.capability import Capabilities, files
from cabinos.kernel.errors import ToolError
from tests.drivers.support import call, context, named

TOOL = named(driver({}), "files_passages")
LEASE = """# The lease

The rent is 900 euros a month and is paid on the first day
of each month to the landlord.

- Pets are not allowed.
- There are two keys.
"""


def ask(folder: Path, query: str) -> list[str]:
    granted = context(Capabilities(files=(files(folder, name="home"),)))
    return str(call(TOOL, granted, query=query)).splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inner").mkdir()
    (tmp_path / "lease.md").write_text(LEASE)
    (tmp_path / "inner" / "wifi.txt").write_text("Router: in the hall.\nWifi password: hunter2\n")
    (tmp_path / "picture.bin").write_bytes(b"rent\0rent")
    (tmp_path / ".hidden").write_text("rent rent rent")
    return tmp_path


def test_declared() -> None:
    assert (TOOL.effect, TOOL.label, TOOL.needs) == ("pure", "untrusted", "files")


def test_the_best_passage_comes_first(folder: Path) -> None:
    assert ask(folder, "How much is the rent?")[0] == (
        "home/lease.md:3: The rent is 900 euros a month and is paid on the first day of each month "
        "to the landlord."
    )
    assert ask(folder, "what's the wifi password")[0] == (
        "home/inner/wifi.txt:2: Wifi password: hunter2"
    )
    assert ask(folder, "is a pet allowed") == ["home/lease.md:6: - Pets are not allowed."]


def test_nothing_fits(folder: Path) -> None:
    assert ask(folder, "zebra") == ["No document says anything about that (2 files were read)."]
    with pytest.raises(ToolError, match="no words to look for"):
        ask(folder, "what is the?!")
    with pytest.raises(ToolError, match="no folder was granted"):
        call(TOOL, context(), query="rent")


def test_a_single_file_can_be_granted(folder: Path) -> None:
    assert ask(folder / "lease.md", "keys")[0].endswith(": - There are two keys.")


def test_long_passages_are_cut_around_the_word(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("word " * 400 + "needle " + "other " * 400)
    (line,) = ask(tmp_path, "needles")
    assert "needle" in line
    assert len(line) < 340
    assert line.startswith("home/long.txt:1: …")
    assert line.endswith("…")


def test_documents_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<title>Zoo</title><p>The zebra eats at noon.</p>")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-nothing")
    lines = ask(tmp_path, "when does the zebra eat")
    assert any("The zebra eats at noon." in line for line in lines) or "No document" in lines[0]


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the secret of the house")
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "open" / "pipe")
    assert ask(tmp_path / "open", "secret")[0].startswith("No document")


def test_too_much_text_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_PASSAGES", 0)
    assert ask(folder, "password")[-1] == "[stopped: there is more text than one search reads]"


# ---- The pieces ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        "open opens opened opening",
        "plan plans planned planning",
        "city cities",
        "glass glasses",
        "house houses",
        "carry carries carried",
        "note noted notes noting",
    ],
)
def test_stems(words: str) -> None:
    assert len({stem(word) for word in words.split()}) == 1


@given(st.text(max_size=300))
def test_any_text_has_stems(text: str) -> None:
    assert all(stems(text))


@given(st.text("ab .\n#-1", max_size=500))
def test_passages_hold_every_word_once(text: str) -> None:
    found = list(passages_of(text))
    assert " ".join(part for _, part in found).split() == text.split()
    assert [number for number, _ in found] == sorted({number for number, _ in found})


@given(st.lists(st.lists(st.sampled_from("abc")), max_size=8))
def test_only_texts_that_share_a_word_are_ranked(texts: list[list[str]]) -> None:
    found = best("b", texts, 10)
    assert sorted(found) == [at for at, text in enumerate(texts) if "b" in text]
