"""Words, letter by letter."""

import pytest

from cabinos.drivers.words import driver
from cabinos.kernel.errors import ToolError
from tests.drivers.support import call, context, named

SPELL = named(driver({}), "words_spell")


@pytest.mark.parametrize(
    ("word", "spelled"),
    [("cat", "c-a-t"), ("Zoë", "Z-o-ë"), ('"hello"?', "h-e-l-l-o"), ("it's", "i-t-'-s")],
)
def test_spelled(word: str, spelled: str) -> None:
    assert call(SPELL, context(), word=word) == spelled


def test_nothing_to_spell() -> None:
    with pytest.raises(ToolError, match="no word"):
        call(SPELL, context(), word=" ?! ")
