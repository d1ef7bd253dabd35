"""Which tools a request is about."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.drivers import (
    calculate,
    clock,
    files,
    notes,
    passages,
    plot,
    random_choice,
    units,
    web,
    words,
)
from cabinos.kernel.driver import Message, Tool, ToolCall
from cabinos.kernel.retrieval import select, shown
from cabinos.kernel.syscall import model_tools


async def nothing(*_: Any, **__: Any) -> None: ...


def make(name: str, description: str, hints: str = "") -> Tool:
    return Tool(name, description, {"type": "object", "properties": {}}, nothing, hints=hints)


DEVICES = (calculate, clock, files, notes, passages, plot, random_choice, units, web, words)
TOOLS = [tool for device in DEVICES for tool in device.driver({}).tools]
TOOLS.append(model_tools()["exec"])

REQUESTS = """
calculate: what's 12*3.5 | 15% of 80 | how much is 20 percent off 45 | 17 plus 28
calculate: 144 divided by 12
calculate: what is the square root of 169 | 7 squared | two hundred minus 3 | 2 to the power of 10
calculate: a third of 90 | what do i get if i multiply 34 by 6 | add 4, 9 and 12
calculate: tip of 18% on 52.40
calculate: (3+4)*2 | how much do 6 tickets cost at 12.50 each, 6 x 12.50 | half of 37
calculate: what's 9 times nine | subtract 48 from 100 | 5 cubed please | 1200/7
units_convert: how many ounces are in 3 pounds | convert 5 km to miles | 30 celsius in fahrenheit
units_convert: what is 6 feet in cm | 2 cups to ml | how many minutes in 3 hours | 100 mph in km/h
units_convert: how many grams is a pound | 500 mb in gb | change 12 inches to centimeters
units_convert: 3.5 acres in hectares | turn 68°F into celsius | how heavy is 80 kg in pounds
units_convert: how many litres are 4 gallons | how many seconds are there in a week
clock_now: what time is it | what's today's date | what day is it today | time in tokyo right now
clock_now: is it monday today | tell me the current time | what's the date
clock_now: what weekday do we have
clock_add: what date is 45 days from today | what day will it be in 3 weeks
clock_add: 10 days after march 3
clock_add: when is two weeks before christmas | what time will it be in 90 minutes
clock_add: date 6 months ago
clock_add: 5 business days from friday | which day is 100 days after 2024-01-01
clock_between: how many days until christmas | days between march 3 and june 10
clock_between: how long is it till my birthday on the 4th of july | weeks since january 1st
clock_between: how many business days from monday to 2025-03-14
clock_between: how old is someone born 1990-05-17
clock_between: how long ago was 12 june 2019
notes_remember: remember that my sister's name is Ana | note that the wifi password is hunter2
notes_remember: keep in mind that i'm allergic to nuts | my favourite colour is green, remember it
notes_remember: please don't forget that Bob's number is 555 1234
notes_remember: make a note: the spare key is under the mat
notes_recall: what is my sister's name | do you remember my wifi password
notes_recall: where did i put the spare key
notes_recall: what did i tell you about Bob | when is ana's birthday, i told you
notes_recall: who is my dentist
notes_todo_add: add milk to my shopping list | put call mom on my todo list
notes_todo_add: i need to buy eggs, add it
notes_todo_add: new task: renew passport | add 'pay rent' to my to-do list
notes_todo_add: groceries: add two onions
notes_list: what's on my shopping list | show my todos | what do i have to do | list my notes
notes_list: read me my to do list | which tasks are open | show the groceries list
notes_todo_done: i bought the milk | mark call mom as done | check off the rent | tick off item 3
notes_todo_done: i've finished the report task | cross eggs off the list | done with the passport
notes_forget: forget my wifi password | delete the note about Bob | remove eggs from my list
notes_forget: erase what you know about ana | delete item 4 | drop note 2
notes_remind: remind me to call mom at 5pm | set a timer for 10 minutes | wake me up at 7:30
notes_remind: remind me tomorrow to take out the trash | set an alarm for 6 am
notes_remind: in 20 minutes tell me to check the oven, set a reminder | timer 3 min
files_read: read report.txt | what's in notes/todo.md | open the file budget.csv
files_read: show me letter.docx
files_read: print the contents of readme.md | can you read me contract.pdf
files_list: what files are in my documents folder | list the folder
files_list: show the contents of the directory
files_find: find the file called invoice | where is my resume.pdf | find all pdf files
files_search: which file mentions Anna | search my files for the word budget
files_search: grep TODO in the code
files_write: save this to a file | write hello into greeting.txt | create a file named ideas.md
files_edit: replace foo with bar in config.toml | change the name in letter.txt to Maria
files_passages: what does the handbook say about vacation
files_passages: according to my documents, who signed the contract
files_passages: what does the manual say about resetting the router
files_passages: what is the refund policy in the report
random_roll: roll a die | roll two dice | give me a random number between 1 and 6 | throw a d20
random_flip: flip a coin | heads or tails | toss a coin for me
random_pick: pick one: pizza, pasta or sushi | choose between red and blue
random_pick: should i go to the gym or stay in, decide for me
random_pick: select one of anna, ben, carl at random
words_spell: how do you spell necessary | spell rhythm | spelling of accommodate
plot_function: plot x^2 from -5 to 5 | draw the graph of sin(x) | sketch the curve y = 2x + 1
plot_values: make a bar chart of 3, 5, 9 | draw a chart with the values 4 8 15
exec: run python to print the first 10 primes | write python code that reverses a list
exec: compute the 30th fibonacci number with a program | execute this code: print(2**100)
web_fetch: fetch https://example.org/news | what's on www.python.org
web_fetch: open example.com and read it
"""
PAIRS = [
    (name.strip(), request.strip())
    for line in REQUESTS.strip().splitlines()
    for name, _, requests in [line.partition(":")]
    for request in requests.split("|")
]


def test_recall_of_what_people_ask_for() -> None:
    assert len(PAIRS) >= 120
    missed = [
        (name, request, [tool.name for tool in select(TOOLS, request, 4)])
        for name, request in PAIRS
        if name not in [tool.name for tool in select(TOOLS, request, 4)]
    ]
    recall = 1 - len(missed) / len(PAIRS)
    assert recall >= 0.97, missed


def names(tools: Sequence[Tool]) -> list[str]:
    return [tool.name for tool in tools]


def test_small_talk_shows_nothing() -> None:
    for text in ("hello", "thanks!", "how are you", "", "\0 ??? 🙂"):
        assert select(TOOLS, text, 4) == []


def test_few_tools_are_all_shown() -> None:
    assert names(select(TOOLS[:3], "what time is it now", 4))[-1] in names(TOOLS[:3])
    assert len(select(TOOLS[:3], "hello", 4)) == 3


def test_a_called_tool_stays() -> None:
    told = select(TOOLS, "no, I meant frogs", 4, ["units_convert"])
    assert names(told) == ["files_passages", "units_convert"]  # a document may be about anything
    shown = select(TOOLS, "what time is it in tokyo on friday at 5 pm", 4, ["random_flip"])
    assert len(shown) == 4
    assert "random_flip" in names(shown)
    many = names(TOOLS[:6])
    assert len(select(TOOLS, "what time is it", 4, many)) == 4


def test_an_answer_is_about_what_was_asked() -> None:
    talk = [Message("user", "set a timer"), Message("assistant", "For how long?")]
    talk.append(Message("user", "12 please"))
    assert "notes_remind" in names(shown(TOOLS, reversed(talk), 4))
    assert "notes_remind" not in names(shown(TOOLS, [talk[-1]], 4))


def test_a_note_can_be_taken_back() -> None:
    call = ToolCall("1", "notes_remember", {"text": "my room is 5"})
    talk = [Message("user", "my room is 5"), Message("assistant", "", (call,))]
    talk += [Message("tool", "Remembered."), Message("user", "no, 7")]
    assert {"notes_remember", "notes_forget"} <= set(names(shown(TOOLS, reversed(talk), 4)))


def test_processes_are_not_for_small_brains() -> None:
    tools = [*TOOLS, *model_tools().values()]
    said = Message("user", "wait 5 seconds for the helper, then recall what I said before and ask")
    assert {"spawn", "wait", "sleep", "recall", "ask"}.isdisjoint(names(shown(tools, [said], 9)))


def test_a_few_tools_of_ones_own_are_seen() -> None:
    own = [make(f"device_{n}", "Sets a device.") for n in range(9)]
    assert set(names(own[:2])) <= set(names(select([*TOOLS, *own[:2]], "my room at 20 now", 4)))
    assert not set(names(own)) & set(names(select([*TOOLS, *own], "my room at 20 now", 4)))


def test_words_of_a_foreign_tool_are_enough() -> None:
    foreign = make("jira_create_issue", "Creates an issue in the tracker.")
    assert names(select([*TOOLS, foreign], "create a new jira issue for the login bug", 4))[0] == (
        "jira_create_issue"
    )


@settings(max_examples=50, deadline=None)
@given(st.randoms(), st.sampled_from(PAIRS), st.integers(0, 6))
def test_order_of_the_tools_does_not_matter(rng: Any, pair: tuple[str, str], limit: int) -> None:
    shuffled = list(TOOLS)
    rng.shuffle(shuffled)
    assert names(select(shuffled, pair[1], limit)) == names(select(TOOLS, pair[1], limit))


@settings(max_examples=50, deadline=None)
@given(st.text(), st.integers(0, 6))
def test_any_text(text: str, limit: int) -> None:
    assert len(select(TOOLS, text, limit)) <= limit


@pytest.mark.parametrize("repeated", ["1", "a ", "5 km ", "-", "one two ", "\n"])
def test_a_huge_request_takes_no_time(repeated: str) -> None:
    assert len(select(TOOLS, repeated * 1_000_000, 4)) <= 4


def test_tools_of_skills_are_not_for_small_brains() -> None:
    from cabinos.kernel.retrieval import shown
    from cabinos.skills import device

    tools = device.driver({}).tools
    said = [Message("user", "which skills and principles are there?")]
    assert tools
    assert shown(tools, said, 4) == []
