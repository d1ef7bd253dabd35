"""A pair: a prompt, two answers to it, and which of them somebody preferred.

    {"prompt": [messages], "chosen": [messages], "rejected": [messages],
     "tools": […]?, "tie": true?, "both_bad": true?, "margin": 1.5?,
     "source": "…"?, "rater": "…"?, "seconds": 4.2?, …}

Messages are those of chat APIs: {"role": …, "content": …}, with "tool_calls" where there are any.
Where neither was preferred, `tie` is true and which is called chosen means nothing; where both were
bad, `both_bad` is true as well. Other keys are kept.

What is still to be compared has two "responses" instead of chosen and rejected.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

__all__ = ["Candidates", "Message", "Messages", "Pair", "text_of"]

Message = Mapping[str, Any]
Messages = tuple[Message, ...]

ROLES = ("system", "user", "assistant", "tool")
OWN = frozenset("prompt chosen rejected tools tie both_bad margin source rater seconds".split())


@dataclass(frozen=True, slots=True)
class Candidates:
    """A prompt and two answers that nobody has compared yet."""

    prompt: Messages
    responses: tuple[Messages, Messages]
    tools: tuple[Mapping[str, Any], ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """A name for it: the same whichever of the answers is called first."""
        answers = sorted(json.dumps(answer, sort_keys=True) for answer in self.responses)
        text = json.dumps([self.prompt, self.tools, answers], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Candidates":
        """Out of a row with two "responses", or of a labelled pair. Raises ValueError."""
        if "responses" not in row:
            return Pair.from_json(row).candidates()
        responses = row["responses"]
        if not isinstance(responses, list) or len(responses) != 2:
            raise ValueError('"responses" must be a list of two answers')
        first, second = (messages(answer, "responses") for answer in responses)
        kept = row.keys() - (OWN - {"source"}) - {"responses"}
        more = {key: row[key] for key in row if key in kept}
        return cls(_prompt(row), (_answer(first), _answer(second)), _tools(row), more)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers, of which one was preferred unless `tie`."""

    prompt: Messages
    chosen: Messages
    rejected: Messages
    tools: tuple[Mapping[str, Any], ...] = ()
    tie: bool = False
    both_bad: bool = False
    margin: float | None = None  # how much better, on the scale of its source
    source: str = ""
    rater: str = ""
    seconds: float | None = None  # that the rater took
    more: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Pair":
        """Out of a row of the one format. Raises ValueError, saying what is wrong with it."""
        bad = _flag(row, "both_bad")
        return cls(
            prompt=_prompt(row),
            chosen=_answer(messages(row.get("chosen"), "chosen")),
            rejected=_answer(messages(row.get("rejected"), "rejected")),
            tools=_tools(row),
            tie=_flag(row, "tie") or bad,
            both_bad=bad,
            margin=_number(row, "margin"),
            source=_text(row, "source"),
            rater=_text(row, "rater"),
            seconds=_number(row, "seconds"),
            more={key: value for key, value in row.items() if key not in OWN},
        )

    def to_json(self) -> dict[str, Any]:
        """The row; what says nothing is left out."""
        optional = {
            "tools": list(self.tools),
            "tie": self.tie,
            "both_bad": self.both_bad,
            "source": self.source,
            "rater": self.rater,
        }
        numbers = {"margin": self.margin, "seconds": self.seconds}
        return {
            "prompt": list(self.prompt),
            "chosen": list(self.chosen),
            "rejected": list(self.rejected),
            **{key: value for key, value in optional.items() if value},
            **{key: value for key, value in numbers.items() if value is not None},
            **self.more,
        }

    def candidates(self) -> Candidates:
        """The same, to be compared once more."""
        more = {**({"source": self.source} if self.source else {}), **self.more}
        return Candidates(self.prompt, (self.chosen, self.rejected), self.tools, more)


def text_of(messages: Sequence[Message]) -> str:
    """What messages say, as a person reads them: calls and results too."""
    parts = []
    for message in messages:
        if content := message.get("content"):
            parts.append(str(content) if message["role"] != "tool" else f"→ {content}")
        for call in message.get("tool_calls") or ():
            made = call["function"] if isinstance(call.get("function"), dict) else call
            arguments = made.get("arguments", {})
            shown = arguments if isinstance(arguments, str) else json.dumps(
                arguments, ensure_ascii=False
            )  # fmt: skip
            parts.append(f"{made.get('name', '?')} {shown}")
    return "\n".join(parts)


# ---- Reading -------------------------------------------------------------------------------------


def messages(value: Any, key: str) -> Messages:
    """A list of messages. Raises ValueError, naming `key`, if it is none."""
    if not isinstance(value, list) or not value:
        raise ValueError(f'"{key}" must be a list of messages')
    for message in value:
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise ValueError(f'"{key}": each message needs a "role": {", ".join(ROLES)}')
        if not isinstance(message.get("content"), str | None):
            raise ValueError(f'"{key}": the "content" of a message must be a text')
        calls = message.get("tool_calls")
        if calls and not (isinstance(calls, list) and all(isinstance(c, dict) for c in calls)):
            raise ValueError(f'"{key}": "tool_calls" must be a list of objects')
    return tuple(value)


def _prompt(row: Mapping[str, Any]) -> Messages:
    found = messages(row.get("prompt"), "prompt")
    if found[-1]["role"] not in ("user", "tool"):
        raise ValueError('"prompt" must end with what the user says, or a tool')
    return found


def _answer(found: Messages) -> Messages:
    if found[0]["role"] != "assistant":
        raise ValueError("an answer must begin with the assistant")
    return found


def _tools(row: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    tools = row.get("tools") or []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise ValueError('"tools" must be a list of objects')
    return tuple(tools)


def _flag(row: Mapping[str, Any], key: str) -> bool:
    value = row.get(key, False)
    if not isinstance(value, bool | None):
        raise ValueError(f'"{key}" must be true or false')
    return bool(value)


def _number(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f'"{key}" must be a number')
    return float(value)


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key, "")
    if not isinstance(value, str | None):
        raise ValueError(f'"{key}" must be a text')
    return value or ""
