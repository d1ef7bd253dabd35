"""Suite `clinc`: requests that people wrote (CLINC150's validation part), in three parts.

Requests that our tools can do: the right tool was called, with arguments that make sense and a
result; where something is left open ("set a timer"), asking for it is right, too. Small talk:
answered without a tool. What no tool can do, the set's own out-of-scope requests among it: declined
in words, or handed to a larger model, and nothing called. A false refusal is a request of the first
part that was declined or handed over.

The set says only what a request is about, so what makes sense is decided by checks: the table
`INTENTS`. They look at spans of the request and at what the device returned, never at a model.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from cabinos.drivers.arithmetic import parse
from cabinos.drivers.calculate import evaluate, written
from cabinos.kernel.errors import ToolError
from cabinos.lab.evaluate.converse import Made, Scene, Talk, converse
from cabinos.lab.evaluate.scoring import declines, numbers
from cabinos.lab.evaluate.suite import Brain, Case, Kind, Need, Verdict
from cabinos.train.dialogues.script import World

__all__ = ["BETWEEN", "INTENTS", "SMALL_TALK", "Clinc", "judge"]

WORLD = World(
    notes=("the spare key is under the blue pot", "renew the passport before June"),
    todos=(
        ("todo", "mop the bathroom floor"),
        ("todo", "call the plumber"),
        ("shopping", "butter"),
        ("shopping", "eggs"),
    ),
)
ESCALATE = "escalate"

SMALL_TALK = frozenset(
    "greeting goodbye tell_joke where_are_you_from how_old_are_you what_is_your_name who_made_you "
    "thank_you what_can_i_ask_you what_are_your_hobbies do_you_have_pets are_you_a_bot "
    "meaning_of_life who_do_you_work_for fun_fact".split()
)
BETWEEN = frozenset(
    # Left out: with no conversation before them they ask for nothing …
    "yes no maybe repeat cancel "
    # … or one of our tools does something sensible that the set's own bank or calendar would do
    # otherwise: "my name is Ann" can be remembered, a meeting can be a reminder.
    "user_name change_user_name change_ai_name calendar calendar_update schedule_meeting "
    "meeting_schedule next_holiday definition".split()
)


# ---- Whether a call makes sense ------------------------------------------------------------------

Check = Callable[[str, Made], bool]


def _any(_request: str, _call: Made) -> bool:
    return True


def _spans(*names: str) -> Check:
    """Those of the arguments that are given are words of the request."""

    def check(request: str, call: Made) -> bool:
        given = [str(call.arguments[name]) for name in names if call.arguments.get(name)]
        return bool(given) and all(_words(text) <= _words(request) for text in given)

    return check


def _words(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", text.casefold()))


def _value(request: str, call: Made) -> bool:
    """The value of the whole request if it can be read as arithmetic; else its numbers."""
    return value_of(request) in (None, *numbers(call.text)[-1:]) and set(
        numbers(str(call.arguments.get("expression", "")))
    ) <= set(numbers(request))


def value_of(request: str) -> Decimal | None:
    """What the calculator makes of the request as it is; None if it cannot read it."""
    try:
        return numbers(written(evaluate(parse(request))))[-1]
    except ToolError:
        return None


ASKED = re.compile(r"how many (\w+)|number of (\w+)|amount of (\w+)")
UNITS = ("from_unit", "to_unit")


def _units(request: str, call: Made) -> bool:
    """Units that were named, the asked one as the goal; a number that was named, or one."""
    named = _words(re.sub(r"(\d)([a-z])", r"\1 \2", request.replace("'s", "s")))
    for name in UNITS:
        if not any(_same_unit(word, other) for word in _words(str(call.arguments.get(name, "")))
                   for other in named):  # fmt: skip
            return False
    asked = ASKED.search(request)
    goal = next((word for word in (asked.groups() if asked else ()) if word), None)
    if goal and not any(
        _same_unit(goal, word) for word in _words(str(call.arguments.get("to_unit", "")))
    ):
        return False
    given = numbers(str(call.arguments.get("value", "")))
    return not given or not numbers(request) or set(given) <= {*numbers(request), Decimal(1)}


def _same_unit(one: str, other: str) -> bool:
    """So are "tablespoons" and "tablesppons", "liter" and "liters"; short ones must be equal."""
    return one == other or (min(len(one), len(other)) > 3 and one[:4] == other[:4])


def _when(request: str, call: Made) -> bool:
    given = str(call.arguments.get("when", ""))
    return set(numbers(given)) <= set(numbers(request))


def _sides(request: str, call: Made) -> bool:
    named = numbers(request)
    return not named or numbers(str(call.arguments.get("sides", 6))) == named[:1]


def _days(request: str, call: Made) -> bool:
    """The number of days that was named."""
    named = numbers(request)
    given = [n for value in call.arguments.values() for n in numbers(str(value))]
    return set(named) <= set(given)


PLACE = re.compile(r"\b(?:in|over in)\s+(?:the\s+)?(?!what|which)(\w+)")


def _zone(request: str, call: Made) -> bool:
    """A place that was named is the zone; where none was, none is."""
    zone = str(call.arguments.get("zone") or "")
    return bool(zone) == bool(PLACE.search(request)) and _words(zone) <= _words(request)


def _shopping(_request: str, call: Made) -> bool:
    return bool(_words(str(call.arguments.get("list", ""))) & {"shopping", "grocery", "groceries"})


def _both(*checks: Check) -> Check:
    return lambda request, call: all(check(request, call) for check in checks)


# ---- The table -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Intent:
    """The tools that serve it with what each call must be, and what may be asked back for."""

    tools: dict[str, Check]
    open_unless: str = ""  # without such words the request leaves something open

    def leaves_open(self, request: str) -> bool:
        """Whether asking back is right."""
        return bool(self.open_unless) and not re.search(self.open_unless, request)


NUMBER_WORD = (
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|noon|midnight|"
    r"half|quarter|hour|minute|seventeen)\b"
)
TIMED = NUMBER_WORD + r"|\bright now\b|\btom+or+ow\b"
_LOOK: dict[str, Check] = {"notes_list": _any, "notes_recall": _any}
_END: dict[str, Check] = {"notes_forget": _any, "notes_todo_done": _any}

INTENTS: dict[str, Intent] = {
    "calculator": Intent({"calculate": _value, "exec": _any}, NUMBER_WORD + r"|squared"),
    "measurement_conversion": Intent({"units_convert": _units}),
    "date": Intent({"clock_now": lambda request, _: not numbers(request), "clock_add": _days,
                    "clock_between": _any}),
    "time": Intent({"clock_now": _zone}),
    "timezone": Intent({"clock_now": _spans("zone")}, r"\b(?!country|there)\w+ timezone|of|in|for"),
    "timer": Intent({"notes_remind": _when}, NUMBER_WORD),
    "alarm": Intent({"notes_remind": _when}, TIMED),
    "reminder": Intent(_LOOK),
    "reminder_update": Intent(
        {"notes_remind": _spans("text"), "notes_todo_add": _spans("text"),
         "notes_remember": _spans("text")}, r"$^"),
    "todo_list": Intent(_LOOK),
    "todo_list_update": Intent({"notes_todo_add": _spans("text"), "notes_remind": _spans("text"),
                                "notes_list": _any, **_END}),
    "shopping_list": Intent({"notes_list": _shopping, "notes_recall": _any}),
    "shopping_list_update": Intent({"notes_todo_add": _both(_spans("text"), _shopping),
                                    "notes_list": _shopping}),
    "roll_dice": Intent({"random_roll": _sides}),
    "flip_coin": Intent({"random_flip": _any}),
    "spelling": Intent({"words_spell": _spans("word")}),
}  # fmt: skip
"""What our tools can do: intent → tools that do it, and when a call of each makes sense."""


# ---- The suite -----------------------------------------------------------------------------------

RIGHT, REFUSED, TALKED, DECLINED = "right call", "false refusal", "small talk", "out of scope"


class Clinc:
    """The three parts and false refusals, by intent where there is a tool for it."""

    name = "clinc"
    measures: ClassVar[Mapping[str, Kind]] = {
        RIGHT: "share",
        REFUSED: "share",
        TALKED: "share",
        DECLINED: "share",
    }
    batch, workers = 1, 8
    needs: Need = "model"

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        kept = [row for row in rows if row["intent"] not in BETWEEN]
        self._cases = [
            Case(f"{number} {row['text']}", _group(row["intent"]), (row["text"], row["intent"]))
            for number, row in enumerate(kept)
        ]

    def cases(self) -> Sequence[Case]:
        """See `Suite`."""
        return self._cases

    async def judge(self, brain: Brain, cases: Sequence[Case]) -> Sequence[Verdict]:
        """See `Suite`."""
        assert brain.model is not None
        verdicts = []
        for case in cases:
            request, intent = case.data
            talk = await converse(brain.model, [request], Scene(WORLD), seed=brain.seed)
            scores = judge(request, intent, talk)
            wrong = any((score == 1.0) == (measure == REFUSED) for measure, score in scores.items())
            calls = ", ".join(f"{call.name}{dict(call.arguments)}" for call in talk.calls)
            said = talk.trouble or talk.answer
            verdicts.append(Verdict(scores, f"{calls} | {said}"[:400] if wrong else ""))
        return verdicts


def _group(intent: str) -> str:
    if intent in INTENTS:
        return intent
    if intent in SMALL_TALK:
        return "small talk"
    return "oos" if intent == "oos" else "other intents"


def judge(request: str, intent: str, talk: Talk) -> dict[str, float]:
    """The measures that a request of the intent counts for."""
    handed = any(call.name == ESCALATE for call in talk.calls)
    called = [call for call in talk.calls if call.name != ESCALATE]
    refused = handed or (not called and declines(talk.answer))
    whole = not talk.trouble
    if intent in INTENTS:
        known = INTENTS[intent]
        right = any(
            call.ok and call.name in known.tools and known.tools[call.name](request, call)
            for call in called
        )
        asks_back = not called and known.leaves_open(request) and "?" in talk.answer
        return {RIGHT: float(whole and (right or asks_back)), REFUSED: float(refused)}
    if intent in SMALL_TALK:
        return {TALKED: float(whole and not talk.calls and bool(talk.answer.strip()))}
    return {DECLINED: float(whole and refused and not called)}
