"""What of a request a device can read, and that nothing else of it is offered then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinos.drivers.model.readings import EDGES, readable


@pytest.mark.parametrize(
    ("kind", "text", "found"),
    [
        ("arithmetic", "please compute 86 - 38 - 45", ["86 - 38 - 45"]),
        ("arithmetic", "can you work out 29 to the power of 2 for me?", ["29 to the power of 2"]),
        ("arithmetic", "what's 453 + 24? make a note of it", ["453 + 24"]),
        ("arithmetic", "(60 + 62) - 90 =", ["(60 + 62) - 90"]),
        ("arithmetic", "the sum of 3, 7, 9, and 24", ["sum of 3, 7, 9, and 24"]),
        # A story has numbers apart: its sum is left to the model.
        ("arithmetic", "what's the total with a 15% tip if the bill is $8?", []),
        ("arithmetic", "it costs 14.99 and it's 10% off, what do i pay?", []),
        ("arithmetic", "what is 12?", []),
        ("time", "remind me tomorrow at 5pm to call mom", ["tomorrow at 5pm"]),
        ("time", "set my alarm for eight tomorrow, please", ["eight tomorrow"]),
        ("time", "one in the afternoon, or ten at night", ["one in the afternoon", "ten at night"]),
        ("time", "from march 3 to june 5 2027?", ["from march 3", "june 5 2027", "march 3"]),
        ("time", "set a timer for 20 minutes", ["for 20 minutes", "20 minutes"]),
        ("time", "buy 3 apples", []),
        ("zone", "what's the time in london right now", ["london"]),
        ("zone", "i'm in shanghai, what time is it there?", ["shanghai"]),
        ("zone", "what time is it?", []),
        ("counted unit", "how many quarts do 33 liters make?", ["liters"]),
        ("other unit", "how many quarts do 33 liters make?", ["quarts"]),
        ("counted unit", "what is a foot in metres?", ["foot"]),
        ("other unit", "what is a foot in metres?", ["metres"]),
        ("counted unit", "5in to cm", ["in"]),
        ("other unit", "three and a half pounds in kg", ["kg"]),
        ("other unit", "622KB to bit", ["bit"]),
        ("counted unit", "is 95 cups more than 67 pt?", ["cups", "pt"]),  # either may be meant
        ("other unit", "is 95 cups more than 67 pt?", ["cups", "pt"]),
        ("other unit", "100°C in °F", ["°F"]),
        ("counted unit", "2 fl oz to ml", ["fl oz"]),
        ("other unit", "how far is 10km", []),  # into what?
        ("file", "open work/old/travel-final.py, please", ["work/old/travel-final.py"]),
        ("file", "what's in notes.txt?", ["notes.txt"]),
        ("file", "open the work folder", []),
        ("pattern", "find all *.csv files", ["*.csv"]),
        ("pattern", "where is old/budget.txt?", ["old/budget.txt"]),
        ("colour", "red", []),
    ],
)
def test_what_is_read(kind: str, text: str, found: list[str]) -> None:
    assert readable(kind, [text]) == found


@given(st.sampled_from(["arithmetic", "time", "zone"]), st.text(max_size=80))
def test_what_is_read_stands_there(kind: str, text: str) -> None:
    for part in readable(kind, [text]):
        assert part in text
        assert part == part.strip(EDGES)
