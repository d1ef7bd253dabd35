"""What reaches a terminal."""

from hypothesis import given
from hypothesis import strategies as st

from cabinos.cli.follow import draw_ask, one_line


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
