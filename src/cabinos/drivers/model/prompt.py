"""From the kernel's messages to the tokens of one local model, by the template in its file.

Templates differ in what they take. Some refuse two calls in one message, two users in a row, or a
system message; then the messages are put in a form that they do take. Templates without a way to
show tools get them in words, in the system message, in Hermes' format.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from math import inf
from os import PathLike
from typing import TYPE_CHECKING, Any, Self

from cabinos.drivers.model.call_format import BARE, CallFormat, as_function
from cabinos.drivers.model.copying import Sources, callable_with, prose, sources
from cabinos.drivers.model.telling import TAG
from cabinos.drivers.model.tool_calls import END_THINK, HERMES, THINK
from cabinos.engine.errors import InvalidRequest
from cabinos.kernel.driver import Message, Tool, ToolCall

if TYPE_CHECKING:
    from cabinos.engine.constraints import Constraint

__all__ = ["Prompter"]

Chat = list[dict[str, Any]]

IN_WORDS = CallFormat(HERMES, '\n{"name": "', '", "arguments": ', "}\n</tool_call>", ", ", ": ")
INSTRUCTION = """You can call these tools:
<tools>
{tools}
</tools>
To call one, write
<tool_call>
{{"name": "<its name>", "arguments": <its arguments as JSON>}}
</tool_call>
and wait for the <tool_response>."""

GRAMMARS_KEPT = 64

# Ends a turn in a file without a template, which gets ChatML whether it knows it or not.
CHATML_END = "<|im_end|>"


@dataclass(frozen=True, slots=True)
class Traits:
    """What a file says of its model for Cabin, in its metadata `cabin.…`."""

    tells: bool = False  # its answer to a result is a tag that stands for it, see `telling`
    assistant: bool = False  # it was trained to be Cabin's: nobody has to tell it what it is
    tools_shown: int | None = None  # so many tools at a time is what it was trained with
    temperature: float | None = None
    call_margin: float = 0.0  # nats by which a call has to be likelier than an answer

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> Self:
        """Whatever makes no sense counts as not said."""
        shown, heat = metadata.get("cabin.tools_shown"), metadata.get("cabin.temperature")
        assistant = metadata.get("cabin.assistant") is True
        tells = metadata.get("cabin.tells_results") is True
        if not isinstance(heat, int | float) or isinstance(heat, bool) or not 0 <= heat < inf:
            heat = 0.0 if assistant else None  # a small model's best guess is its only good one
        if not isinstance(shown, int) or isinstance(shown, bool) or shown < 1:
            shown = None
        margin = metadata.get("cabin.call_margin")
        if not isinstance(margin, int | float) or isinstance(margin, bool) or not 0 <= margin < inf:
            margin = 0.0
        return cls(tells, assistant, shown, heat, float(margin))


class Prompter:
    """The tokenizer, the template and the call format of a GGUF file. Safe to use from threads."""

    def __init__(self, path: str | PathLike[str], *, thinking: bool) -> None:
        """Raises EngineError if the file has no usable tokenizer or template."""
        from cabinos.engine.chat_template import ChatTemplate
        from cabinos.engine.gguf import read_gguf
        from cabinos.engine.tokenizer import Tokenizer

        file = read_gguf(path)
        self.tokenizer = Tokenizer.from_gguf(file)
        self._template = ChatTemplate.from_gguf(file, self.tokenizer)
        self._thinking = thinking
        self.traits = Traits.of(file.metadata)
        self._grammars: dict[str, Constraint] = {}
        learnt = CallFormat.learn(self._template)
        self._in_words = learnt is None
        self.call_format = learnt or IN_WORDS
        tags = (TAG,) if self.traits.tells else ()
        texts = ("[ARGS]", "[CALL_ID]", THINK, END_THINK, *tags, *self.call_format.markup)
        tokens = map(self.tokenizer.control_id, texts)
        self.markup = tuple(token for token in tokens if token is not None)
        """Control tokens that the splitter has to see by name."""
        ends = CHATML_END in self.tokenizer.special_tokens
        has_template = "tokenizer.chat_template" in file.metadata
        self.stop: tuple[str, ...] = () if ends or has_template else (CHATML_END,)
        """Texts that end an answer, where the vocabulary has no token that does."""

    def count(self, text: str) -> int:
        """The tokens of a text by itself."""
        return len(self.tokenizer.encode(text, add_special=False))

    @cached_property
    def overhead(self) -> int:
        """The most tokens that a message, or a call in one, takes beyond those of its text.

        It covers what the template puts around a whole chat as well, so that count + overhead,
        summed over texts and calls, is never less than `encode` gives.
        """
        call = ToolCall("x", "x", {})
        chat = (
            Message("user", "x"),
            Message("assistant", "x"),
            Message("user", "x"),
            Message("assistant", "", (call,)),
            Message("tool", "x", call_id="x", name="x"),
        )
        lengths = [0]
        for size in range(1, len(chat) + 1):
            with suppress(InvalidRequest):  # a template that knows no tools
                lengths.append(len(self.encode(chat[:size])))
        borders = 2  # a text's first and last token may be other ones beside the markup
        return max(after - before for before, after in pairwise(lengths)) + borders

    def encode(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> list[int]:
        """The prompt, up to where the answer begins. Raises EngineError if it cannot be written."""
        if tools and self._in_words:
            messages, tools = _in_words(messages, tools), ()
        elif self._in_words:
            messages = _in_words(messages, ())
        functions = [as_function(tool) for tool in tools]
        first: InvalidRequest | None = None
        for form in (list, _alternating, _without_system):
            try:
                return self._template.encode_chat(
                    _plain(form(messages)),
                    tools=functions or None,
                    enable_thinking=self._thinking,
                )
            except InvalidRequest as error:
                first = first or error
        assert first is not None
        raise first

    def constraint(
        self,
        tools: Sequence[Tool],
        schema: Mapping[str, Any] | None,
        copied: Sequence[Message] = (),
    ) -> "Constraint | None":
        """What an answer must fit: see `CallFormat.constraint`; without tools, only `schema`.

        With messages to copy from, arguments and figures are `copied`; that may not compile where
        this does.
        """
        from cabinos.engine.constraints import Constraint

        if not tools and schema is not None:
            return Constraint.json_schema(dict(schema))
        if not tools:
            return self._text_only(sources(copied)) if copied else None
        if copied:  # other ones with each message, and a millisecond to make
            tag = TAG if self.traits.tells and copied[-1].role == "tool" else ""
            given = sources(copied)
            fitting = [tool for tool in tools if callable_with(tool.parameters, given)]
            if fitting or tag or schema is not None:
                return self.call_format.constraint(
                    fitting or tools, self.tokenizer, schema, given, tag
                )
            return self._text_only(given)
        key = json.dumps([[as_function(tool) for tool in tools], schema])
        if key not in self._grammars:  # a millisecond a tool to make, and the same every turn
            if len(self._grammars) >= GRAMMARS_KEPT:
                self._grammars.clear()
            self._grammars[key] = self.call_format.constraint(tools, self.tokenizer, schema)
        return self._grammars[key]

    def _text_only(self, given: Sources) -> "Constraint":
        """No call: a small model would begin one all the same, but markup is no text."""
        from cabinos.engine.constraints import Constraint

        mark = re.escape(self.call_format.mark or BARE)
        return Constraint.lark(f"start: TEXT\nTEXT: /{prose(given)}/ & ~/(?s:.*{mark}.*)/")

    def reserve(self, messages: Sequence[Message]) -> dict[int, float]:
        """The bias against calling a tool, of a token, where the user has spoken last."""
        token = self.tokenizer.special_tokens.get(self.call_format.mark)
        if token is None or not self.traits.call_margin or messages[-1].role != "user":
            return {}
        return {token: -self.traits.call_margin}

    def opens_thinking(self, prompt: Sequence[int]) -> bool:
        """Whether the prompt ends in a `<think>` that the answer goes on in."""
        return self.tokenizer.decode(prompt[-8:], special=True).rstrip().endswith(THINK)


def _plain(messages: Sequence[Message]) -> Chat:
    """Messages as templates read them. Ids are numbers of nine digits, as Mistral's insists on."""
    numbers: dict[str, str] = {}
    chat: Chat = []
    for message in messages:
        plain: dict[str, Any] = {"role": message.role, "content": message.text}
        if message.role == "tool":
            plain["name"] = message.name
            plain["tool_call_id"] = numbers.get(message.call_id, "000000000")
        broken = [call.raw for call in message.calls if call.arguments is None]
        plain["content"] = "\n".join([*([message.text] if message.text else []), *broken])
        calls = [call for call in message.calls if call.arguments is not None]
        if calls:
            for call in calls:
                numbers[call.id] = f"{len(numbers) + 1:09}"
            plain["tool_calls"] = [
                {
                    "id": numbers[call.id],
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in calls
            ]
        chat.append(plain)
    return chat


def _alternating(messages: Sequence[Message]) -> list[Message]:
    """One call at a time, each with its result; texts in a row by the same speaker as one."""
    results = {message.call_id: message for message in messages if message.role == "tool"}
    apart: list[Message] = []
    for message in messages:
        if len(message.calls) < 2:
            answered = message.role == "tool" and message.call_id not in results
            apart += [] if answered else [message]
            continue
        for number, call in enumerate(message.calls):
            apart.append(Message("assistant", "" if number else message.text, (call,)))
            if result := results.pop(call.id, None):
                apart.append(result)
    merged: list[Message] = []
    for (role, single), run in groupby(apart, lambda m: (m.role, bool(m.calls or m.call_id))):
        group = list(run)
        if single or role == "tool":
            merged += group
        else:
            merged.append(Message(role, "\n\n".join(m.text for m in group if m.text)))
    return merged


def _without_system(messages: Sequence[Message]) -> list[Message]:
    """What the system says, said by the user."""
    return _alternating(
        [Message("user", m.text) if m.role == "system" else m for m in messages],
    )


def _in_words(messages: Sequence[Message], tools: Sequence[Tool]) -> list[Message]:
    """Tools, calls and results as plain text."""
    told: list[Message] = []
    if tools:
        functions = "\n".join(json.dumps(as_function(tool), ensure_ascii=False) for tool in tools)
        told.append(Message("system", INSTRUCTION.format(tools=functions)))
        if messages and messages[0].role == "system":
            told[0] = Message("system", f"{messages[0].text}\n\n{told[0].text}")
            messages = messages[1:]
    for message in messages:
        if message.role == "tool":
            text = f"<tool_response>\n{message.text}\n</tool_response>"
            told.append(Message("user", text))
        elif message.calls:
            parts = [message.text] if message.text else []
            told.append(Message("assistant", "\n".join(parts + [*map(_as_text, message.calls)])))
        else:
            told.append(message)
    return told


def _as_text(call: ToolCall) -> str:
    """A call in Hermes' format."""
    if call.arguments is None:
        return f"<tool_call>\n{call.raw}\n</tool_call>"
    body: Mapping[str, Any] = {"name": call.name, "arguments": call.arguments}
    return f"<tool_call>\n{json.dumps(body, ensure_ascii=False)}\n</tool_call>"
