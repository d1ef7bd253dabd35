"""What a request wants noted, and on which list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinos.drivers.model.statements import lists, statements


@pytest.mark.parametrize(
    ("said", "apart", "meant"),
    [
        ("add bolivian coriander to my hardware store list, please", "", "bolivian coriander"),
        ("add send cristina the photos to the list?", "", "send cristina the photos"),
        ("i have to pick up Brittany from the station, put it on my list", "",
         "pick up Brittany from the station"),
        ("don't let me forget to send juniper the photos on friday", "on friday",
         "send juniper the photos"),
        ("put an alarm on for 5:45am tomorrow", "for 5:45am tomorrow", "alarm"),
        ("remember that my locker code is 4412, please", "", "my locker code is 4412"),
        ("note: Jordan is allergic to ketchup", "", "Jordan is allergic to ketchup"),
        ("cross shallot off the grocery list", "", "shallot"),
        ("erase #2", "", "#2"),
        ("note 2 can go", "", "2"),
        ("put milk on my list, then eggs", "", "eggs"),
        ("we don't need leeks anymore, remove them from the list", "", "leeks"),
        ("mark visit Leah as done", "", "visit Leah"),
        ("remove buy stamps from my tasks", "", "buy stamps"),
        ("remind me to cancel the newspaper", "", "cancel the newspaper"),
        ("write hello world to work/a.txt", "work/a.txt", "hello world"),
        ('note: my favorite line is "to be or not to be".', "",
         'my favorite line is "to be or not to be"'),
        ('put "milk and eggs" in a file called a.md', "a.md", "milk and eggs"),
    ],
)  # fmt: skip
def test_what_is_meant_is_offered(said: str, apart: str, meant: str) -> None:
    assert meant in statements([said], [apart] if apart else [])


@pytest.mark.parametrize(
    ("said", "not_meant"),
    [
        ("add change the sheets to the list", "sheets"),  # begins in its own middle
        ("remember that my code is 44", "that my code is 44"),
        ("add eggs to my list", "eggs to my list"),
        ("call mom please", "mom please"),
    ],
)
def test_what_is_not_meant_is_not(said: str, not_meant: str) -> None:
    assert not_meant not in statements([said])


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("add milk to my shopping list", ["shopping"]),
        ("what's on the hardware store list?", ["hardware store"]),
        ("send cristina the photos to the list", []),
        ("put it on my to do list", []),
        ("make a list", []),
    ],
)
def test_names_of_lists(said: str, names: list[str]) -> None:
    assert lists([said]) == names


@given(st.text(max_size=200))
def test_a_statement_stands_in_the_text(text: str) -> None:
    for part in statements([text]):
        assert part
        assert part in text
