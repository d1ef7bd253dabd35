"""Asking a library: the sentence that answers is quoted, and what is not there is declined."""

import json
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.answers.ask import TOGETHER, Library, shown_to_brain, together
from cabinos.answers.extract import FEATURES, SURE, features_of, rarity
from cabinos.answers.question import read_question
from cabinos.drivers.ranking import stems
from cabinos.drivers.reader import Passage

TEXTS = (
    "The Dorn Bridge was built by Anna Kowalska in 1932. It is 410 metres long.",
    "Kestrels nest in old walls. They hunt voles above open meadows near Lublin.",
    "The council meets every second Tuesday. Its chair is Pavel Novak.",
    "Bread needs 500 grams of flour, yeast and warm water. Bake it for 40 minutes.",
    "The museum opened in 1977 and shows 3,000 clocks. Entry is free on Sundays.",
)


@pytest.fixture(scope="module")
def library() -> Library:
    return Library([Passage(f"{n}.txt", text, 1) for n, text in enumerate(TEXTS)])


def test_short_lines_are_read_together_and_cited_apart() -> None:
    lines = [Passage("a.txt", f"Line {n} is here.", n) for n in range(1, 60, 2)]
    other = Passage("b.txt", "Another file.", 1)
    found = list(together([*lines, other]))
    assert [line for one in found for line in one.text.split("\n")] == [
        one.text for one in (*lines, other)
    ]
    assert found[-1] == other
    assert all(len(one.text) >= TOGETHER for one in found[:-2])
    for one in found[:-1]:
        for line in one.text.split("\n"):
            assert one.cite(one.text.index(line)) == f"a.txt:{line.split()[1]}"


@pytest.mark.parametrize(
    ("question", "answer", "where"),
    [
        ("Who built the Dorn Bridge?", "Anna Kowalska", "0.txt:1"),
        ("When did the museum open?", "1977", "4.txt:1"),
        ("How many clocks does the museum show?", "3,000", "4.txt:1"),
    ],
)
def test_answers_stand_in_the_documents(
    library: Library, question: str, answer: str, where: str
) -> None:
    found = library.answer(question)
    assert (found.text, found.quotes[0].where) == (answer, where)
    assert found.text in found.quotes[0].words
    assert any(found.quotes[0].words in text for text in TEXTS)


@pytest.mark.parametrize(
    "question",
    [
        "Who painted the ceiling of the chapel?",
        "How much does a ticket to Warsaw cost?",
        "Which queen opened the harbour?",
        "What is the capital of Peru?",
    ],
)
def test_what_is_not_there_is_declined(library: Library, question: str) -> None:
    assert not library.answer(question).found


def test_an_empty_library_answers_nothing() -> None:
    assert not Library([]).answer("Who built it?").found
    assert not Library([Passage("a", "...", 1)]).answer("Who built it?", limit=0.0).found


def test_features_and_weights_belong_together() -> None:
    weights = json.loads(files("cabinos.answers").joinpath("weights.json").read_text())
    assert set(weights["choose"]) == set(FEATURES)
    assert set(weights["sure"]) == {*SURE, "bias"}
    assert 0 < weights["threshold"] < 1
    assert weights["on_its_own_questions"]["false claims"] <= 0.1


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=60), st.lists(st.text("abC1 .,", max_size=80), max_size=3))
def test_features_are_finite_numbers(question: str, passages: list[str]) -> None:
    found, table = features_of(
        read_question(question), passages, rarity([stems(text) for text in passages]), 1.0
    )
    assert table.shape == (len(found), len(FEATURES))
    assert np.isfinite(table).all()


def test_a_brain_sees_numbered_passages_with_their_places() -> None:
    shown = shown_to_brain([Passage("a.txt", "One.", 7), Passage("b.pdf", "Two.", 1, page=3)])
    assert shown == "[1] a.txt:7\nOne.\n\n[2] b.pdf, page 3\nTwo."
