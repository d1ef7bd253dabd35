"""Texts in passages: nothing lost, every line number right."""

from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.index.passages import CONTROL, LENGTH, passages_of

MARKDOWN = """# Bread

Intro line.

## Rising

Yeast eats sugar.
It breathes out gas.

```sh
# not a heading
```

Oven
----

Hot.
"""


def test_headings_are_a_trail_and_lines_are_counted() -> None:
    found = [(p.line, p.heading, p.text) for p in passages_of(MARKDOWN)]
    assert found[0] == (3, "Bread", "Intro line.")
    assert found[1][:2] == (7, "Bread › Rising")
    assert "# not a heading" in found[1][2]
    assert found[2] == (17, "Bread › Oven", "Hot.")


def test_code_has_no_headings() -> None:
    (passage,) = passages_of("# a comment\nx = 1\n", code=True)
    assert passage.text == "# a comment\nx = 1"
    assert passage.heading == ""


def test_pages_of_a_pdf_are_known() -> None:
    found = list(passages_of("Title\n\n[page 1]\nOne.\n\n[page 2]\nTwo.\n", pages=True))
    assert [(p.page, p.text) for p in found] == [(0, "Title"), (1, "One."), (2, "Two.")]
    assert [p.line for p in found] == [1, 4, 7]


def test_a_long_line_is_cut() -> None:
    found = list(passages_of("x" * 100_000))
    assert "".join(p.text for p in found) == "x" * 100_000
    assert all(p.line == 1 for p in found)


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=400), st.booleans())
def test_each_passage_begins_at_its_line(content: str, code: bool) -> None:
    lines = content.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for passage in passages_of(content, code=code):
        first = passage.text.split("\n")[0]
        assert first.strip()
        line = CONTROL.sub(" ", lines[passage.line - 1])
        assert line.startswith(first[:20])


@settings(deadline=None)
@given(st.lists(st.sampled_from(["word " * 30, "", "short", "# Head", "=====", "a" * 700])))
def test_passages_are_of_bounded_size_and_nothing_is_lost(lines: list[str]) -> None:
    passages = list(passages_of("\n".join(lines), code=True))
    assert all(len(p.text) <= LENGTH for p in passages)
    said = "".join("".join(p.text.split()) for p in passages)
    assert said == "".join("".join(line.split()) for line in lines)
