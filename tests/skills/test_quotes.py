"""Quotes are held to their sources, word for word."""

from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cabinos.skills.sources import Source

TEXT = """## One

The quick brown fox jumps over the lazy dog, and 43.4% of all
foxes don't mind: "non-trivial" dogs cost $1,200 (or −5).

## Two

It ends here."""
SOURCE = Source("s", Path("s.md"), "S", "CC0", text=TEXT, first_line=5)
WORDS = TEXT.split()


@pytest.mark.parametrize(
    ("quote", "line", "heading"),
    [
        ("The quick brown fox", 7, "One"),
        ("of all\n  foxes don't mind", 7, "One"),
        ("43.4% of all foxes", 7, "One"),
        ("non-trivial", 8, "One"),
        ("It ends here", 12, "Two"),
        ("It ends here.", 12, "Two"),
    ],
)
def test_what_stands_there_is_found_with_its_place(quote: str, line: int, heading: str) -> None:
    place = SOURCE.find(quote)
    assert place is not None
    assert (place.line, place.heading) == (line, heading)


@pytest.mark.parametrize(
    "quote",
    [
        *("the quick brown fox", "he quick brown", "quick brow", "brown  cat", ""),
        *("3.4% of all foxes", "43.4 of all", "43.4", "trivial dogs", "non", "don", "200 (or"),
        *("1,200", "5).", "The fox", "quick … fox", "over the lazy dog and", "mind: non-trivial"),
    ],
)
def test_what_does_not_is_not(quote: str) -> None:
    assert SOURCE.find(quote) is None


@settings(deadline=None)
@given(st.integers(0, len(WORDS) - 1), st.integers(1, 12), st.data())
def test_true_pieces_are_found_however_they_are_wrapped(
    start: int, length: int, data: st.DataObject
) -> None:
    spaces = st.sampled_from([" ", "\n", "\t", "  ", "\r\n", "\u00a0"])
    piece = "".join(word + data.draw(spaces) for word in WORDS[start : start + length])
    assert SOURCE.find(piece) is not None


@settings(deadline=None)
@given(st.integers(0, len(WORDS) - 4), st.integers(4, 12), st.data())
def test_a_change_of_one_character_is_caught(start: int, length: int, data: st.DataObject) -> None:
    piece = " ".join(WORDS[start : start + length])
    at = data.draw(st.integers(0, len(piece) - 1))
    new = data.draw(st.characters(categories=["L", "N", "P", "S"]))
    assume(not piece[at].isspace() and piece[at] != new)
    changed = piece[:at] + new + piece[at + 1 :]
    assume(changed not in " ".join(WORDS))
    assert SOURCE.find(changed) is None


@settings(deadline=None)
@given(st.text(max_size=200), st.text(max_size=40))
def test_whatever_is_found_is_a_substring(text: str, quote: str) -> None:
    source = Source("s", Path("s.md"), "S", "CC0", text=text)
    if source.find(quote) is not None:
        assert " ".join(quote.split()) in " ".join(text.split())
