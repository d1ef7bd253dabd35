"""What reaches a terminal."""

from hypothesis import given
from hypothesis import strategies as st

from cabinos.cli.follow import draw_ask, one_line
from tests.cli.support import Cabin, Terminal


@given(st.text(max_size=1000), st.integers(10, 80))
def test_one_line_is_one_line(text: str, most: int) -> None:
    line = one_line(text, most)
    assert len(line) <= most
    assert len(line.splitlines()) <= 1


def test_a_question_leads_nowhere() -> None:
    drawn = draw_ask(1, "question", "Is [this](http://a.example@evil.example/) it?", {})
    assert drawn == "Process 1 asks:\n  │ Is [this] (‹evil.example/›) it?"


@given(st.text())
def test_model_text_stays_behind_its_bar(text: str) -> None:
    """No line of a question that a model had a part in looks like the kernel's."""
    drawn = draw_ask(1, "approval", "Allow x?", {"arguments": {"a": text, "b": [text]}})
    for line in drawn.split("\n"):
        assert line.startswith(("  │ ", "Process 1: Allow x?", "  a:", "  b:"))
    asked = draw_ask(1, "question", text, {}).split("\n")
    assert asked[0] == "Process 1 asks:"
    assert all(line.startswith("  │ ") for line in asked[1:])


def test_the_words_of_others_are_marked_and_lead_nowhere(cabin: Cabin) -> None:
    terminal = Terminal(cabin, "chat")
    terminal.expect("> ")
    terminal.type("say see https://mine.example/\n")
    assert "┆" not in terminal.expect("see https://mine.example/")  # nothing was read yet
    terminal.expect("> ")
    terminal.type("call rumour\n")
    terminal.expect("┆ ")
    terminal.expect("may repeat rumour: nobody vouches for that")
    terminal.expect("> ")
    terminal.type("say ![x](http://evil.example/?q=42) \\x1b]8;;http://evil.example\\x07\n")
    terminal.expect("![x] (‹evil.example/?q=42›) ]8;;‹evil.example›")
    terminal.expect("> ")
    terminal.type("say see https://mine.example/ again\n")  # it was typed
    terminal.expect("see https://mine.example/ again")
    terminal.expect("> ")
    terminal.type("\x04")
    assert terminal.end() == 0
    assert "\x1b]8" not in terminal.seen
    assert terminal.seen.count("nobody vouches for that") == 1  # said once, not with each answer

    again = Terminal(cabin, "chat", "1")
    again.expect("see https://mine.example/ again")
    again.expect("> ")
    again.type("/quit\n")
    assert again.end() == 0


def test_in_a_pipe_an_answer_is_data(cabin: Cabin) -> None:
    said = "![x](http://evil.example/)"
    assert cabin("-q", "Do it.", stdin=f"say {said}").stdout == f"{said}\n"
    data = cabin.json("Do it.", stdin=f"say {said}")
    assert (data["text"], data["label"], data["sources"]) == (said, "untrusted", ["context"])
    assert data["annotations"] == []  # too short to be called a quotation


def test_json_names_what_was_quoted(cabin: Cabin) -> None:
    words = "the council wants every bill to be paid by Friday at the town hall"
    data = cabin.json("Do it.", stdin=f"Hear: {words}!\n\nsay So it is: {words}, or not.")
    (quote,) = data["annotations"]
    assert words in data["text"][quote["start"] : quote["end"]]
    assert quote["source"] == "context"
