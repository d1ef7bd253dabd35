"""What reaches a terminal."""

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from cabinos.cli.follow import draw_ask, one_line
from cabinos.cli.terminal import clean, visible

HIDDEN = "\x1b\x07\x00\r\x7f\x9b\u202e\u2066\u200b\u200f\u061c\ufeff\U000e0041\U000e0100"


def test_every_one_of_them_goes() -> None:
    assert clean(f"a{HIDDEN}b") == "ab"
    assert clean("tab\tline\nçöπ漢🙂 \u200dx\u0301") == "tab\tline\nçöπ漢🙂 \u200dx\u0301"


@given(st.text())
def test_what_is_left_obeys_nobody(text: str) -> None:
    left = clean(text)
    assert all(unicodedata.category(c) != "Cc" or c in "\t\n" for c in left)
    assert clean(left) == left
    assert clean(visible(text)) == visible(text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_says_the_same_after_it_was_made_visible(text: str) -> None:
    assert json.loads(visible(json.dumps(text, ensure_ascii=False))) == text


@given(st.text(max_size=1000), st.integers(10, 80))
def test_one_line_is_one_line(text: str, most: int) -> None:
    line = one_line(text, most)
    assert len(line) <= most
    assert len(line.splitlines()) <= 1


@given(st.text())
def test_model_text_stays_behind_its_bar(text: str) -> None:
    """No line of a question that a model had a part in looks like the kernel's."""
    drawn = draw_ask(1, "approval", "Allow x?", {"arguments": {"a": text, "b": [text]}})
    for line in drawn.split("\n"):
        assert line.startswith(("  │ ", "Process 1: Allow x?", "  a:", "  b:"))
    asked = draw_ask(1, "question", text, {}).split("\n")
    assert asked[0] == "Process 1 asks:"
    assert all(line.startswith("  │ ") for line in asked[1:])
