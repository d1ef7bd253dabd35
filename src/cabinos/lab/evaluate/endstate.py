"""Whether a conversation ended as it should: the state it left, and what it answered.

The gold conversation is performed by a model that knows the script, in a kernel of its own. What
only reads is right if the answer has what the gold answer took from the results: every number, as a
number, and every word that carries something. What writes is right if it left the same: the rows of
notes and things to do, and the files; of tools that change something else, and of those of the
conversation alone, the calls are compared. Where nothing should be called, nothing may be; and what
has to be declined or asked back is so in words.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from cabinos.kernel.driver import ThinkRequest, Thought, ToolCall
from cabinos.lab.evaluate.converse import Made, Reply, Talk
from cabinos.lab.evaluate.scoring import content_words, declines, has_numbers, numbers
from cabinos.train.dialogues.script import Call, Script, Turn

__all__ = ["Prompted", "compare", "missing_from", "same_notes"]

SEEN = frozenset(
    "notes_remember notes_todo_add notes_remind notes_todo_done notes_forget files_write".split()
)  # what these change is compared
EDGES = " \t\n.,;:!?\"'"


class Prompted:
    """A model that says what the script says: it makes the gold conversation."""

    def __init__(self, script: Script) -> None:
        self.name, self.window, self.slots = "prompted", 1 << 20, 64
        self.local, self.price = True, (0.0, 0.0)
        self._script = script

    def count(self, text: str) -> int:
        """Tokens; nobody minds how many."""
        return len(text) // 4 + 1

    async def think(self, request: ThinkRequest) -> Thought:
        """The next call of the turn, or its answer."""
        places = [n for n, message in enumerate(request.messages) if message.role == "user"]
        turn = self._script.turns[len(places) - 1]
        results = [m.text for m in request.messages[places[-1] :] if m.role == "tool"]
        if len(results) < len(turn.calls):
            call = planned(turn, len(results), results)
            return Thought("", (ToolCall("gold", call.name, dict(call.arguments)),), "calls")
        return Thought(answer_of(turn, results))


def planned(turn: Turn, number: int, results: Sequence[str]) -> Call:
    """Call `number` of a turn, after those results."""
    call = turn.calls[number]
    return call if isinstance(call, Call) else call(results)


def answer_of(turn: Turn, results: Sequence[str]) -> str:
    """What is answered to those results."""
    return turn.answer if isinstance(turn.answer, str) else turn.answer(results)


# ---- Comparing -----------------------------------------------------------------------------------


def compare(script: Script, pure: frozenset[str], gold: Talk, talk: Talk) -> str:
    """What is wrong with `talk`, "" if nothing is. `pure`: the tools that change nothing."""
    if talk.trouble:
        return talk.trouble
    if problem := same_notes(gold.notes, talk.notes):
        return problem
    if gold.files != talk.files:
        names = {name for name in gold.files.keys() | talk.files.keys()
                 if gold.files.get(name) != talk.files.get(name)}  # fmt: skip
        return f"other files: {', '.join(sorted(names))}"
    for turn, right, said in zip(script.turns, gold.replies, talk.replies, strict=False):
        if problem := _turn(turn, right, said, pure):
            return problem
    last, kind = talk.answer, script.template.partition("/")[0]
    if kind == "decline" and declines(gold.answer) and not declines(last):
        return "it does not decline"
    if kind == "clarify" and gold.answer.endswith("?") and "?" not in last:
        return "it does not ask"
    return ""


def _turn(turn: Turn, right: Reply, said: Reply, pure: frozenset[str]) -> str:
    if not right.calls:
        called = ", ".join(call.name for call in said.calls)
        return f"called {called}, where there was nothing to call" if called else ""
    names = {call.name for call in right.calls}
    unseen = names - pure - SEEN  # what such a call changes is out of sight
    if unseen and [_plain(call) for call in said.calls] != [_plain(call) for call in right.calls]:
        return "other calls"
    if not turn.answer or not names <= pure:
        return ""
    if missing := missing_from(said.text, right, turn.says):
        return f"the answer lacks {', '.join(missing)}"
    return ""


def missing_from(answer: str, right: Reply, says: str) -> list[str]:
    """What the gold answer took from the results and `answer` lacks; the request's words aside.

    If it took nothing of its own, an answer may say what it likes.
    """
    results = "\n".join(call.text for call in right.calls)
    found, asked = set(numbers(results)), set(numbers(says))
    wanted = [n for n in dict.fromkeys(numbers(right.text)) if n in found and n not in asked]
    lost = [f"{n:f}" for n in wanted if not has_numbers(answer, [n])]
    told = content_words(right.text) & content_words(results)
    lost += sorted(told - content_words(says) - content_words(answer))
    return lost


def same_notes(gold: Sequence[Mapping[str, Any]], notes: Sequence[Mapping[str, Any]]) -> str:
    """What differs between two sets of notes, whatever their order; "" if nothing does."""
    left = list(notes)
    for wanted in gold:
        match = next((note for note in left if _same_note(wanted, note)), None)
        if match is None:
            return f"no {wanted['kind']} {wanted['text']!r}"
        left.remove(match)
    return f"a {left[0]['kind']} too many: {left[0]['text']!r}" if left else ""


def _same_note(gold: Mapping[str, Any], note: Mapping[str, Any]) -> bool:
    if any(gold.get(key) != note.get(key) for key in ("kind", "list", "done", "due")):
        return False
    return _text(gold["text"]) == _text(note["text"])


def _text(text: str) -> str:
    return " ".join(text.casefold().split()).strip(EDGES)


def _plain(call: Made) -> tuple[str, dict[str, str]]:
    """A call whose texts are compared as people compare them."""
    return call.name, {key: _text(str(value)) for key, value in call.arguments.items()}
