"""What a terminal would obey and what nobody sees goes; what scripts need stays."""

import json
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.render.characters import clean, visible

HIDDEN = (
    "\x1b\x07\x00\r\x7f\x9b\u202e\u2066\u200b\u200f\u061c\ufeff\u00ad\u2062\U000e0041\U000e0100"
)
NASTY = st.text(st.sampled_from("a1é漢❤ \n\u200d\u200c\ufe0f\ufe01\u200b\u202e\x1b\U000e0041"))


def test_every_one_of_them_goes() -> None:
    assert clean(f"a{HIDDEN}b") == "ab"
    assert clean("tab\tline\nçöπ漢🙂 \u0301x\u0301") == "tab\tline\nçöπ漢🙂 \u0301x\u0301"


def test_scripts_and_emoji_keep_what_they_need() -> None:
    for text in ("❤\ufe0f\u200d🔥", "1\ufe0f⃣", "می\u200cخواهم", "葛\ufe00", "👩\u200d💻"):
        assert clean(text) == text


def test_joiners_and_selectors_spell_nothing() -> None:
    assert clean("h\u200dt\u200ctp") == "http"
    assert clean("a\ufe01\ufe0e") == "a"
    assert clean("🙂\ufe0f\ufe01\ufe02\ufe03") == "🙂\ufe0f"
    assert clean("🙂" + "\ufe0f\u200d" * 50) == "🙂\ufe0f\u200d"


@settings(deadline=None)
@given(st.text() | NASTY)
def test_what_is_left_obeys_nobody(text: str) -> None:
    left = clean(text)
    assert all(unicodedata.category(c) != "Cc" or c in "\t\n" for c in left)
    assert clean(left) == left
    assert clean(visible(text)) == visible(text)


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])) | NASTY)
def test_json_says_the_same_after_it_was_made_visible(text: str) -> None:
    assert json.loads(visible(json.dumps(text, ensure_ascii=False))) == text
