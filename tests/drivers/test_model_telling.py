"""Results of tools as people are told them, and the token that stands for them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinos.drivers import calculate, clock, files, notes, passages, random_choice, units
from cabinos.drivers.model.telling import TAG, Teller, told
from cabinos.kernel.driver import Message, Tool, ToolCall, tool

NOW = datetime(2026, 11, 24, 10, 30, tzinfo=UTC)
DEVICES = (calculate, files, passages, random_choice, units)
TOOLS = [t for device in DEVICES for t in device.driver({}).tools]
TOOLS += [t for device in (clock, notes) for t in device.driver({}, now=lambda: NOW).tools]


@tool
async def heat(degrees: int) -> str:
    """Heats."""
    return str(degrees)


def turn(*calls: tuple[str, dict[str, Any], str]) -> list[Message]:
    messages = [Message("user", "an earlier one"), Message("tool", "no", call_id="0", name="heat")]
    messages.append(Message("user", "do it"))
    for number, (name, arguments, result) in enumerate(calls, 1):
        messages.append(Message("assistant", "", (ToolCall(str(number), name, arguments),)))
        messages.append(Message("tool", result, call_id=str(number), name=name))
    return messages


@pytest.mark.parametrize(
    ("name", "arguments", "result", "said"),
    [
        ("calculate", {}, "15% of 80 = 12", "15% of 80 is 12."),
        ("calculate", {}, "1/3 ≈ 0.333333", "1/3 is about 0.333333."),
        ("calculate", {}, "that divides by zero.", "That divides by zero."),
        ("units_convert", {}, "3 pounds = 48 ounces", "3 pounds is 48 ounces."),
        ("clock_now", {}, "2026-11-24T10:30:00+00:00 (Tuesday)",
         "It's Tuesday, 2026-11-24, 10:30."),
        ("clock_now", {"zone": "Tokyo"}, "2026-11-24T19:30:00+09:00 (Tuesday)",
         "It's Tuesday, 2026-11-24, 19:30 in Tokyo."),
        ("clock_add", {}, "2026-12-01 (Tuesday)", "That's Tuesday, 2026-12-01."),
        ("clock_between", {}, "9 days (1 week 2 days; 7 business days)",
         "It's 9 days (1 week 2 days; 7 business days)."),
        ("clock_between", {}, "-9 days (-1 week -2 days; -7 business days)",
         "That was 9 days (1 week 2 days; 7 business days) ago."),
        ("random_flip", {}, "heads", "It's heads."),
        ("random_roll", {}, "4, 2", "The dice say 4, 2."),
        ("random_pick", {}, "pasta", "Pasta."),
        ("notes_remember", {"text": "my code is 7"}, "Remembered as note 3.",
         "I'll remember that: my code is 7."),
        ("notes_todo_add", {"text": "eggs", "list": "shopping"},
         "Added to the shopping list as 4.", "Added to your shopping list: eggs."),
        ("notes_todo_done", {}, "4 is done: eggs", "Done: eggs."),
        ("notes_forget", {}, "4 is forgotten: eggs", "Forgotten: eggs."),
        ("notes_recall", {}, "3 (2026-11-24): my code is 7", "You told me: my code is 7."),
        ("notes_recall", {}, "Nothing like that was remembered.",
         "I don't know: nothing like that was remembered."),
        ("notes_list", {"list": "shopping"}, "4 (shopping): eggs", "On your shopping list: eggs."),
        ("notes_list", {}, "5 (2026-11-25 09:00): call mom\n4 (to do): eggs",
         "To do:\n5. call mom (2026-11-25 09:00)\n4. eggs"),
        ("notes_list", {}, "There is nothing to do.", "There is nothing to do."),
        ("files_read", {"path": "a/b.txt"}, "one\ntwo", "a/b.txt:\none\ntwo"),
        ("files_read", {"path": "a/b.txt"}, "a/b.txt does not exist.", "a/b.txt does not exist."),
        ("files_passages", {}, "a/b.txt:5: It is 690 km long.\na/c.txt:1: Other.",
         'a/b.txt, line 5: "It is 690 km long." See also a/c.txt, line 1.'),
        ("heat", {}, '{"before": 15, "now": 20}', "before: 15, now: 20."),
        ("heat", {}, "[1, 2]", "[1, 2]."),
        ("unknown", {}, "as it is", "As it is."),
    ],
)  # fmt: skip
def test_what_is_said(name: str, arguments: dict[str, Any], result: str, said: str) -> None:
    tools: list[Tool] = [*TOOLS, heat]
    assert told(turn((name, arguments, result)), tools) == said


def test_all_results_of_the_turn_are_said() -> None:
    noted = ("notes_remember", {"text": "5"}, "Remembered as note 1.")
    messages = turn(("calculate", {}, "2 + 3 = 5"), noted)
    assert told(messages, TOOLS) == "2 + 3 is 5. I'll remember that: 5."


@given(st.lists(st.sampled_from(["<tool_", "response>", TAG, "a", "<", ">"]), max_size=12))
def test_the_token_is_replaced_wherever_the_text_is_cut(pieces: list[str]) -> None:
    teller = Teller(turn(("heat", {}, "20")), [heat])
    shown = "".join(teller.push(piece) for piece in pieces) + teller.finish()
    assert shown == "".join(pieces).replace(TAG, "20.")
