"""The end state of conversations: what is right, what is wrong, and that both are told apart."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from cabinos.kernel.driver import Message, Model, ThinkRequest, Thought, tool
from cabinos.lab.evaluate.converse import Made, Reply, Scene, Talk, backstage, converse
from cabinos.lab.evaluate.endstate import Prompted, compare, missing_from, same_notes
from cabinos.lab.evaluate.suite import Brain
from cabinos.lab.evaluate.templates import Performance, Templates
from cabinos.train.dialogues.script import Call, Script, Turn, World
from tests.lab.speakers import Speaker, dumb, result

NOTE = {"kind": "todo", "list": "shopping", "text": "milk", "done": False, "due": None}


def test_notes_are_the_same_in_any_order_and_spelling() -> None:
    other = NOTE | {"text": "eggs"}
    assert same_notes([NOTE, other], [other, NOTE | {"text": "  Milk. "}]) == ""


@pytest.mark.parametrize(
    "change", [{"text": "mil"}, {"list": "todo"}, {"done": True}, {"due": 1.0}, {"kind": "note"}]
)
def test_notes_that_differ(change: dict[str, Any]) -> None:
    assert same_notes([NOTE], [NOTE | change]) == "no todo 'milk'"


def test_notes_too_many_or_too_few() -> None:
    assert "too many" in same_notes([NOTE], [NOTE, NOTE])
    assert same_notes([NOTE, NOTE], [NOTE]) == "no todo 'milk'"


def test_what_an_answer_has_to_take_from_the_results() -> None:
    right = Reply("3 pounds is 48 ounces.", [Made("units_convert", {}, "3 pounds = 48 ounces")])
    says = "how many ounces are in 3 pounds"
    assert missing_from("It is 48.", right, says) == []
    assert missing_from("It is 84.", right, says) == ["48"]
    quote = Reply("Ann Lee, says lease.txt.", [Made("files_passages", {}, "The owner: Ann Lee")])
    assert missing_from("ann lee", quote, "who owns it?") == []
    assert missing_from("Ann", quote, "who owns it?") == ["lee"]


# ---- Conversations, gold and otherwise -----------------------------------------------------------


@tool(effect="raw", label="trusted")
async def lamp_set(color: str) -> str:
    """Sets the lamp's color."""
    return f"The lamp is {color}."


def script(*turns: Turn, **options: Any) -> Script:
    return Script(turns, template="test/one", **options)


SUM = script(Turn("2+3?", lambda r: r[0] + ".", (Call("calculate", {"expression": "2+3"}),)))
BUY = script(
    Turn("buy milk", "Noted.", (Call("notes_todo_add", {"text": "milk", "list": "shopping"}),)),
    Turn("got it", "Well done.", (Call("notes_todo_done", {"thing": "milk"}),)),
    world=World(todos=(("shopping", "eggs"),)),
)
READ = script(
    Turn("when is the rent due?", "On the fifth.",
         (Call("files_read", {"path": "papers/lease.txt"}),)),
    world=World(files={"papers/lease.txt": "The rent is due on the fifth."}),
)  # fmt: skip
LAMP = script(
    Turn("red light", "It is red.", (Call("lamp_set", {"color": "red"}),)), tools=(lamp_set,)
)
TALK = script(Turn("hello", "Hello!"))
ROLL = script(Turn("roll", lambda r: f"It's {r[0]}.", (Call("random_roll", {}),)))
HAND = script(Turn("write a novel", "", (Call("escalate", {}),)), world=World(escalates=True))
SCRIPTS = (SUM, BUY, READ, LAMP, ROLL, HAND)


def score(script: Script, model: Model) -> tuple[float, str]:
    case = ("family", Performance(script, Scene().now))
    suite = Templates([case])
    with backstage():
        (verdict,) = asyncio.run(suite.judge(Brain(model), suite.cases()))
    return verdict.scores["end state"], verdict.note


@pytest.mark.parametrize("script", [*SCRIPTS, TALK])
def test_who_does_what_the_script_says_is_right(script: Script) -> None:
    assert score(script, Prompted(script)) == (1.0, "")


@pytest.mark.parametrize("script", SCRIPTS)
def test_who_does_something_else_is_wrong(script: Script) -> None:
    right, note = score(script, Speaker(dumb))
    assert right == 0.0
    assert note


def test_a_call_where_there_is_nothing_to_call_is_wrong() -> None:
    def say(messages: Sequence[Message]) -> Any:
        return "Hi." if result(list(messages)) else ("clock_now", {})

    right, note = score(TALK, Speaker(say))
    assert (right, note.partition(" |")[0]) == (
        0.0,
        "called clock_now, where there was nothing to call",
    )


def test_the_value_counts_not_the_way_there() -> None:
    assert score(SUM, Speaker(lambda _: "That makes 5."))[0] == 1.0
    assert score(SUM, Speaker(lambda _: "That makes 55."))[0] == 0.0


def test_a_model_that_fails_is_wrong_and_says_why() -> None:
    class Broken(Speaker):
        async def think(self, request: ThinkRequest) -> Thought:
            raise RuntimeError("no weights")

    right, note = score(SUM, Broken(dumb))
    assert right == 0.0
    assert "no weights" in note


def test_declining_and_asking_back_are_looked_for() -> None:
    for kind, answer in (("decline", "I can't do that."), ("clarify", "For how long?")):
        told = Script((Turn("do it", answer),), template=f"{kind}/x")
        gold, silent = Talk([Reply(answer)]), Talk([Reply("Bananas.")])
        assert compare(told, frozenset(), gold, gold) == ""
        assert "does not" in compare(told, frozenset(), gold, silent)


def test_conversations_stand_still_in_time_and_find_nothing_of_each_other() -> None:
    ask = script(
        Turn("remember ann", "Yes.", (Call("notes_remember", {"text": "ann"}),)),
        Turn("what time is it", lambda r: r[0], (Call("clock_now", {}),)),
    )

    async def both() -> list[Talk]:
        says = [turn.says for turn in ask.turns]
        return await asyncio.gather(*(converse(Prompted(ask), says, Scene()) for _ in range(2)))

    one, other = asyncio.run(both())
    assert one.answer == other.answer
    assert "2026-03-04" in one.answer
    assert [note["text"] for note in one.notes] == ["ann"] == [n["text"] for n in other.notes]


def test_held_out_templates_are_right_when_performed_as_written() -> None:
    suite = Templates.held_out(seed=5, count=24)
    assert len({case.id for case in suite.cases()}) == 24
    for case in suite.cases():
        assert score(case.data.script, Prompted(case.data.script)) == (1.0, "")
