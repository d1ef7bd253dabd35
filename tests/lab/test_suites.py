"""The suites: a model that knows scores 100 %, one that does not 0 %."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from cabinos.kernel.driver import Message
from cabinos.lab.evaluate.arithmetic import Arithmetic
from cabinos.lab.evaluate.bfcl import Bfcl, fault_of, schema_of
from cabinos.lab.evaluate.clinc import BETWEEN, INTENTS, SMALL_TALK, Clinc, judge, value_of
from cabinos.lab.evaluate.converse import Made, Reply, Scene, Talk, backstage, devices
from cabinos.lab.evaluate.results import summary
from cabinos.lab.evaluate.suite import Brain, Suite, Verdict
from cabinos.lab.evaluate.xquad import XQuAD, bare
from tests.lab.speakers import Speaker, asked, dumb, result


def verdicts(suite: Suite, model: Speaker) -> list[Verdict]:
    with backstage():
        return list(asyncio.run(suite.judge(Brain(model), suite.cases())))


def scores(suite: Suite, model: Speaker) -> dict[str, float]:
    """Each measure over all cases."""
    lines = [
        {"scores": dict(v.scores), "group": "", "weight": v.weight, "seconds": 0.0}
        for v in verdicts(suite, model)
    ]
    return {row.measure: row.score for row in summary(suite, lines)}


# ---- Arithmetic ----------------------------------------------------------------------------------


def test_arithmetic() -> None:
    suite = Arithmetic(seed=1, count=12)
    expressions = {case.data[0]: case.id.partition(" ")[2] for case in suite.cases()}

    def say(messages: list[Message]) -> Any:
        return result(messages) or ("calculate", {"expression": expressions[asked(messages)]})

    assert scores(suite, Speaker(say)) == {"exact value": 1.0}
    assert scores(suite, Speaker(dumb)) == {"exact value": 0.0}


def test_the_values_are_those_of_the_calculator() -> None:
    for case in Arithmetic(seed=0, count=400).cases():
        expression, (_, value) = case.id.partition(" ")[2], case.data
        assert value_of(expression) == value, expression


def test_a_smaller_count_asks_the_same() -> None:
    few, many = Arithmetic(3, 5).cases(), Arithmetic(3, 9).cases()
    assert [case.id for case in few] == [case.id for case in many[:5]]


# ---- CLINC ---------------------------------------------------------------------------------------


def talk(*calls: Made, says: str = "Done.") -> Talk:
    return Talk([Reply(says, list(calls))])


def made(name: str, returned: str = "", /, *, ok: bool = True, **arguments: Any) -> Made:
    return Made(name, arguments, returned, ok)


RIGHT = [
    ("can you multiply 45 by 23", "calculator",
     made("calculate", "multiply 45 by 23 = 1035", expression="multiply 45 by 23")),
    ("how many ounces is 2 and half cups", "measurement_conversion",
     made("units_convert", "2 cups = 16 ounces", value="2", from_unit="cups", to_unit="ounces")),
    ("how many teaspoons in one tablespoon", "measurement_conversion",
     made("units_convert", value="1", from_unit="tablespoon", to_unit="teaspoons")),
    ("what date will it be 8 days from now", "date", made("clock_add", start="now", days=8)),
    ("tell me the date", "date", made("clock_now")),
    ("what's the time in london right now", "time", made("clock_now", zone="london")),
    ("what timezone is honolulu in", "timezone", made("clock_now", zone="honolulu")),
    ("set the timer for 10 minutes", "timer",
     made("notes_remind", text="timer", when="10 minutes")),
    ("what is on my to do list", "reminder", made("notes_list")),
    ("remind me to call my mom", "reminder_update", made("notes_todo_add", text="call my mom")),
    ("put laundry on my chore list", "todo_list_update", made("notes_todo_add", text="laundry")),
    ("read my shopping list", "shopping_list", made("notes_list", list="shopping")),
    ("please add bananas to my shopping list", "shopping_list_update",
     made("notes_todo_add", text="bananas", list="shopping")),
    ("roll a 10 sided dice", "roll_dice", made("random_roll", sides=10)),
    ("please roll a dice", "roll_dice", made("random_roll")),
    ("flip a coin now", "flip_coin", made("random_flip")),
    ("how do you spell dessert", "spelling", made("words_spell", word="dessert")),
]  # fmt: skip
WRONG = [
    ("can you multiply 45 by 23", "calculator",
     made("calculate", "45 + 23 = 68", expression="45 + 23")),
    ("how many ounces in a cup", "measurement_conversion",
     made("units_convert", value="1", from_unit="ounces", to_unit="cup")),
    ("convert 2 cups to liters", "measurement_conversion",
     made("units_convert", value="3", from_unit="cups", to_unit="liters")),
    ("what date will it be 8 days from now", "date", made("clock_add", start="now", days=3)),
    ("what's the time in london right now", "time", made("clock_now")),
    ("what's the time", "time", made("clock_now", zone="london")),
    ("set the timer for 10 minutes", "timer",
     made("notes_remind", text="timer", when="20 minutes")),
    ("put laundry on my chore list", "todo_list_update", made("notes_todo_add", text="milk")),
    ("please add bananas to my shopping list", "shopping_list_update",
     made("notes_todo_add", text="bananas")),
    ("roll a 10 sided dice", "roll_dice", made("random_roll", sides=6)),
    ("how do you spell dessert", "spelling", made("words_spell", word="desert")),
    ("flip a coin now", "flip_coin", made("random_flip", ok=False)),
    ("flip a coin now", "flip_coin", made("random_roll")),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "intent", "call"), RIGHT)
def test_calls_that_make_sense(request_: str, intent: str, call: Made) -> None:
    assert judge(request_, intent, talk(call)) == {"right call": 1.0, "false refusal": 0.0}


@pytest.mark.parametrize(("request_", "intent", "call"), WRONG)
def test_calls_that_do_not(request_: str, intent: str, call: Made) -> None:
    assert judge(request_, intent, talk(call))["right call"] == 0.0


def test_asking_for_what_was_left_open_is_right() -> None:
    asks = talk(says="For how long?")
    assert judge("create a new timer", "timer", asks)["right call"] == 1.0
    assert judge("set the timer for 10 minutes", "timer", asks)["right call"] == 0.0


def test_refusals_and_small_talk() -> None:
    declined = talk(says="Sorry, I can't do that.")
    assert judge("flip a coin now", "flip_coin", declined) == {
        "right call": 0.0,
        "false refusal": 1.0,
    }
    assert judge("why is there fake news", "oos", declined) == {"out of scope": 1.0}
    assert judge("book a flight", "book_flight", talk(says="Booked!")) == {"out of scope": 0.0}
    handed = talk(made("escalate"), says="I take it from here.")
    assert judge("book a flight", "book_flight", handed) == {"out of scope": 1.0}
    called = talk(made("notes_list"), says="I can't.")
    assert judge("book a flight", "book_flight", called) == {"out of scope": 0.0}
    assert judge("hello", "greeting", talk(says="Hello!")) == {"small talk": 1.0}
    assert judge("hello", "greeting", called) == {"small talk": 0.0}


def test_the_table_names_tools_there_are() -> None:
    known = {tool.name for tool in devices(Scene())} | {"exec"}
    assert {name for intent in INTENTS.values() for name in intent.tools} <= known
    assert not BETWEEN & (SMALL_TALK | set(INTENTS))


def test_clinc() -> None:
    rows = [
        {"text": "flip a coin now", "intent": "flip_coin"},
        {"text": "spell doctor", "intent": "spelling"},
        {"text": "hello", "intent": "greeting"},
        {"text": "book a flight to rome", "intent": "book_flight"},
        {"text": "why is there fake news", "intent": "oos"},
        {"text": "yes", "intent": "yes"},  # says nothing by itself: left out
    ]

    def say(messages: list[Message]) -> Any:
        if said := result(messages):
            return said
        request = asked(messages)
        if "coin" in request:
            return "random_flip", {}
        if "spell" in request:
            return "words_spell", {"word": "doctor"}
        return "Hello!" if request == "hello" else "I can't do that."

    perfect = {"right call": 1.0, "false refusal": 0.0, "small talk": 1.0, "out of scope": 1.0}
    assert scores(Clinc(rows), Speaker(say)) == perfect
    nothing = {"right call": 0.0, "false refusal": 0.0, "small talk": 1.0, "out of scope": 0.0}
    assert scores(Clinc(rows), Speaker(dumb)) == nothing


# ---- BFCL ----------------------------------------------------------------------------------------

FUNCTION = {
    "name": "math.area",
    "description": "The area of a triangle.",
    "parameters": {
        "type": "dict",
        "properties": {"base": {"type": "float"}, "unit": {"type": "string"}},
        "required": ["base"],
    },
}
GOLD = {"math.area": {"base": [10, 10.0], "unit": ["cm", "centimeters", ""]}}
FOLDER = "berkeley-function-call-leaderboard/bfcl_eval/data"


def rows() -> Sequence[dict[str, Any]]:
    question = [[{"role": "user", "content": "The area of a triangle with base 10?"}]]
    return [
        {"file": f"{FOLDER}/BFCL_v4_simple_python.json", "id": "simple_python_1",
         "question": question, "function": [FUNCTION]},
        {"file": f"{FOLDER}/possible_answer/BFCL_v4_simple_python.json", "id": "simple_python_1",
         "ground_truth": [GOLD]},
    ]  # fmt: skip


def test_bfcl() -> None:
    def say(messages: list[Message]) -> Any:
        return result(messages) or ("math.area", {"base": 10})

    assert scores(Bfcl(rows()), Speaker(say)) == {"right call": 1.0, "right function": 1.0}
    assert scores(Bfcl(rows()), Speaker(dumb)) == {"right call": 0.0, "right function": 0.0}

    def slip(messages: list[Message]) -> Any:
        return result(messages) or ("math.area", {"base": 11})

    assert scores(Bfcl(rows()), Speaker(slip)) == {"right call": 0.0, "right function": 1.0}


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"base": 10}, ""),
        ({"base": 10.0, "unit": "CM"}, ""),
        ({"base": 10, "unit": "centi-meters"}, ""),
        ({"base": 11}, "base is 11"),
        ({"unit": "cm"}, "base is missing"),
        ({"base": 10, "height": 1}, "height is too many"),
        ({"base": True}, "base is True"),
    ],
)
def test_faults_of_calls(arguments: dict[str, Any], fault: str) -> None:
    found = fault_of("math.area", arguments, GOLD)
    assert found.startswith(fault)
    assert bool(found) == bool(fault)


def test_lists_and_objects_are_compared_inside() -> None:
    gold = {"f": {"xs": [[1, 2]], "who": [{"name": ["Ann"], "age": [3, ""]}]}}
    assert fault_of("f", {"xs": [1, 2], "who": {"name": "ann"}}, gold) == ""
    assert fault_of("f", {"xs": [2, 1], "who": {"name": "ann"}}, gold)
    assert fault_of("f", {"xs": [1, 2], "who": {"age": 3}}, gold)
    assert fault_of("g", {}, gold) == "another function, g"


def test_schemas_become_json_schemas() -> None:
    schema = schema_of({"type": "dict", "properties": {"a": {"type": "tuple", "items": {
        "type": "float"}}, "b": {"type": "any"}, "type": {"type": "string"}}})  # fmt: skip
    assert schema == {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"type": "number"}},
            "b": {},
            "type": {"type": "string"},
        },
    }


# ---- XQuAD ---------------------------------------------------------------------------------------


def test_xquad() -> None:
    row = {
        "title": "Warsaw (city)",
        "context": "The Saxon Garden is in Warsaw.",
        "question": "Where is the Saxon Garden?",
        "answers": ["in Warsaw"],
    }

    def say(messages: list[Message]) -> Any:
        if not result(messages):
            return "files_read", {"path": "documents/warsaw-city.txt"}
        assert "Saxon Garden" in result(messages)
        return "In Warsaw (documents/warsaw-city.txt:1)."

    assert scores(XQuAD([row]), Speaker(say)) == {"F1": 1.0, "exact": 1.0}
    assert scores(XQuAD([row]), Speaker(dumb)) == {"F1": 0.0, "exact": 0.0}


@pytest.mark.parametrize(
    ("said", "compared"),
    [
        ('In Warsaw. parks.txt, line 2: "It is in Warsaw."', "In Warsaw"),
        ('In Warsaw: "It is in Warsaw." (parks.txt, line 2)', "In Warsaw"),
        ('parks.txt, line 2: "It is in Warsaw."', "It is in Warsaw."),
        ("In Warsaw (documents/parks.txt:2).", "In Warsaw"),
        ('She said "in Warsaw".', 'She said "in Warsaw".'),
        ("In 1/2 of cases", "In 1/2 of cases"),
    ],
)
def test_where_it_was_found_is_left_out(said: str, compared: str) -> None:
    assert bare(said) == compared


def test_the_calculator_reads_a_request() -> None:
    assert value_of("can you multiply 45 by 23") == Decimal(1035)
    assert value_of("help me solve this") is None
