"""Questions, sentences and spans: what is read out of letters alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinos.answers.question import read_question
from cabinos.answers.spans import sentences, spans


def texts(passage: str) -> list[str]:
    return [sentence.text for sentence in sentences(passage)]


def shapes(sentence: str) -> dict[str, str]:
    (one,) = sentences(sentence)
    return {span.text: span.shape for span in spans(one)}


def test_sentences_end_where_they_end() -> None:
    assert texts('Dr. Who met J. R. Tolkien. "It cost $4.5 million," he said. The end!') == [
        "Dr. Who met J. R. Tolkien.",
        '"It cost $4.5 million," he said.',
        "The end!",
    ]
    assert texts("") == []
    assert texts(" \n ... ") == []


def test_spans_have_the_shape_of_what_they_are() -> None:
    found = shapes("The army of George S. Patton won on May 8, 1945 with 4,200 tanks in France.")
    assert found["George S. Patton"] == "name"
    assert found["May 8, 1945"] == "date"
    assert found["4,200 tanks"] == "number"
    assert found["France"] == "name"
    assert found["army"] == "common"


def test_spans_do_not_reach_across_punctuation_or_begin_with_function_words() -> None:
    found = shapes("Bread, butter and the old cheese were sold.")
    assert "Bread" in found
    assert "Bread, butter" not in found
    assert "the old cheese" not in found
    assert "old cheese" in found


@given(st.text("aB1 .,!?\"'é\n€%-", max_size=300))
def test_every_sentence_and_span_stands_in_its_passage(passage: str) -> None:
    for sentence in sentences(passage):
        assert passage[sentence.start :].startswith(sentence.text)
        for span in list(spans(sentence))[:50]:
            assert span.text in sentence.text
            assert span.text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Who wrote Dracula?", "person"),
        ("What year did the war begin?", "time"),
        ("When was it built?", "time"),
        ("In which city was he born?", "place"),
        ("Where is the key?", "place"),
        ("How many people live in Ghana?", "number"),
        ("how tall is it", "number"),
        ("What percentage of people vote?", "number"),
        ("Why do leaves fall?", "reason"),
        ("Which river is the longest?", "name"),
        ("What type of rock is granite?", "thing"),
        ("How is glass made?", "thing"),
        ("tell me about the rent", "thing"),
        ("", "thing"),
    ],
)
def test_kinds_of_questions(text: str, kind: str) -> None:
    assert read_question(text).kind == kind


def test_a_few_words_do_not_answer_everything() -> None:
    assert read_question("Why do leaves fall?").whole
    assert read_question("How is glass made?").whole
    assert read_question("the rent").whole
    assert not read_question("What is glass?").whole
    assert not read_question("How many panes are there?").whole


def test_what_the_answer_is_called() -> None:
    assert read_question("How many people live there?").focus == {"peopl"}
    assert read_question("What type of rock is granite?").focus == {"typ", "rock"}
    assert "mani" not in read_question("How many people live there?").stems


@given(st.text(max_size=100))
def test_any_text_is_a_question(text: str) -> None:
    assert read_question(text).text == text
