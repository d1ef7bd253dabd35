"""What a terminal gets of an answer that others may have had a part in."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.render.answer import Origin
from cabinos.render.terminal import BAR, Painter

PAGE = "Pay the bill of 400 pounds to Mr Black by Friday, at the town hall."
ORIGIN = Origin(read=(("web_fetch:x.example", PAGE),))
OURS = re.compile("\x1b\\[(?:2|22|4|24)m")


def test_a_bar_before_every_line_and_a_mark_on_what_is_quoted() -> None:
    text = (
        "It says:\n\npay the bill of 400 pounds to Mr Black by Friday\nor so. ![a](//e.example/x)"
    )
    assert Painter(ORIGIN, colour=False).whole(text) == (
        "┆ It says:\n┆ \n┆ ⟦pay the bill of 400 pounds to Mr Black by Friday⟧\n"
        "┆ or so. ![a] (//e.example/x)"
    )
    coloured = Painter(ORIGIN, colour=True).whole(text)
    assert OURS.sub("", coloured) == Painter(Origin(), colour=False).whole(text)
    assert "\x1b[4mpay the bill" in coloured
    assert "by Friday\x1b[24m" in coloured


def test_a_quotation_over_two_lines_leaves_the_bars_alone() -> None:
    text = "pay the bill of 400 pounds\nto Mr Black by Friday, at the town hall"
    assert Painter(ORIGIN, colour=False).whole(text) == (
        "┆ ⟦pay the bill of 400 pounds⟧\n┆ ⟦to Mr Black by Friday, at the town hall⟧"
    )


@settings(deadline=None)
@given(st.text(), st.lists(st.integers(0, 60)), st.booleans())
def test_it_comes_out_the_same_in_any_pieces_and_obeys_nobody(
    text: str, cuts: list[int], colour: bool
) -> None:
    text = f"{text} {PAGE} {text}"
    painter, parts, at = Painter(ORIGIN, colour=colour), [], 0
    for cut in sorted(cuts):
        parts.append(painter.push(text[at:cut]))
        at = max(at, cut)
    made = "".join([*parts, painter.push(text[at:]), painter.close()])
    assert made == Painter(ORIGIN, colour=colour).whole(text)
    assert all(c in "\t\n" or ord(c) >= 32 for c in OURS.sub("", made))
    assert all(OURS.sub("", line).startswith(BAR) for line in made.split("\n")[:-1])
