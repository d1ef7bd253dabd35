"""Quotes are what stands there, word for word, and nothing else is shown as one."""

from hypothesis import given
from hypothesis import strategies as st

from cabinos.answers.quote import find_words, of_brain
from cabinos.drivers.reader import Passage

HERE = [
    Passage("a.txt", "The rent is 900 euros. It is paid monthly.", 3, ((23, 4),)),
    Passage("b.pdf", "Pets are not allowed.", 40, page=2),
]


def given_answer(text: str, *quotes: tuple[int, str], found: bool = True) -> dict[str, object]:
    cited = [{"passage": number, "words": words} for number, words in quotes]
    return {"found": found, "answer": text, "quotes": cited}


def test_a_quote_is_shown_with_its_line_or_page() -> None:
    answer = of_brain(
        given_answer("900 euros [1], and no pets [2].", (1, "paid  monthly"), (2, "Pets are not")),
        HERE,
    )
    assert [quote.where for quote in answer.quotes] == ["a.txt:4", "b.pdf, page 2"]
    assert answer.quotes[0].words == "paid monthly"
    assert answer.text == "900 euros [1], and no pets [2]."


def test_what_does_not_stand_there_is_left_out_with_its_citation() -> None:
    answer = of_brain(
        given_answer("It is 900 [1] or 901 [2] [7].", (2, "rent is 900"), (1, "rent is 900")), HERE
    )
    assert [quote.words for quote in answer.quotes] == ["rent is 900"]
    assert answer.text == "It is 900 [1] or 901."
    assert answer.note.startswith("1 of its quotes do")


def test_an_answer_without_a_quote_that_holds_is_none() -> None:
    for quotes in ((), ((1, "rent is 901"),), ((0, "rent is 900"),), ((3, "rent"),), ((1, " "),)):
        answer = of_brain(given_answer("It is 901 [1].", *quotes), HERE)
        assert not answer.found
        assert answer.text == ""
        assert "no quote" in answer.note
    assert not of_brain(given_answer("900", (1, "rent is 900"), found=False), HERE).found
    assert not of_brain(given_answer("", (1, "rent is 900")), HERE).found


def test_citations_are_numbered_as_the_quotes_are() -> None:
    answer = of_brain(given_answer("No pets [2].", (2, "Pets are not allowed")), HERE)
    assert answer.text == "No pets [1]."


@given(st.text(max_size=40), st.text(max_size=80))
def test_a_quote_is_found_only_where_its_words_stand(words: str, text: str) -> None:
    place = find_words(words, text)
    if place is not None:
        assert text[slice(*place)].split() == words.split()
    elif len("".join(words.split())) >= 3:
        assert words not in text


@given(st.text(min_size=1, max_size=60), st.data())
def test_any_change_of_a_quote_is_caught(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda c: c not in text and not c.isspace()))
    assert find_words(text[:at] + other + text[at + 1 :], text) is None
