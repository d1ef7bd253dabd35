"""Tool calls in the text a model writes: the common families of markup, found as the text streams.

    Hermes, Qwen     <tool_call>{"name": "f", "arguments": {…}}</tool_call>
    Llama 3          {"name": "f", "parameters": {…}} as the whole reply, or after <|python_tag|>
    Mistral          [TOOL_CALLS][{"name": "f", "arguments": {…}}], and from version 11 on
                     [TOOL_CALLS]f[ARGS]{…}, with or without [CALL_ID]…
    Functionary      <function=f>{…}</function>
    anything else    a ```json block, but only if it names a tool that was offered

What is not a call is text and is never lost, but for white space around calls. What begins as a
call and is not JSON is a call without arguments, so that the model can be told what was wrong.
"""

import json
import re
from collections.abc import Collection, Generator
from typing import Any

from cabinos.kernel.driver import ToolCall

__all__ = ["Splitter", "parse_json", "split"]

# A step of the parser: it yields when it needs more text, and returns what it found.
Steps = Generator[None, None, Any]

HERMES, PYTHON_TAG, MISTRAL, FUNCTION, FENCE = (
    "<tool_call>", "<|python_tag|>", "[TOOL_CALLS]", "<function=", "```json",
)  # fmt: skip
BARE = ""
MARKS = (BARE, HERMES, PYTHON_TAG, MISTRAL, FUNCTION, FENCE)
THINK, END_THINK = "<think>", "</think>"

_FIRST_KEY = re.compile(r'\{\s*(?:"([^"]*)"|[^\s"])')
_NAME = re.compile(r'"name"\s*:\s*"([^"\\]*)"')
_MISTRAL_HEAD = re.compile(r"\s*([\w.-]{1,256})(?:\[CALL_ID\]\w*)?(?:\[ARGS\])?\s*")
_NO_NAME = re.compile(r"[^\w.-]")
_BUILTIN = re.compile(r"\s*(\w+)\.call\(")


def parse_json(text: str) -> Any:
    """The JSON value `text` is; line ends within strings are let through, NaN is not.

    Raises ValueError, also for nesting too deep and for escapes that are not Unicode text.
    """
    try:
        value = json.loads(text, strict=False)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def split(text: str, offered: Collection[str]) -> tuple[str, tuple[ToolCall, ...]]:
    """The whole of an answer as what it says and the calls in it."""
    splitter = Splitter(offered)
    said = splitter.push(text) + splitter.finish()
    return said, splitter.calls


class Splitter:
    """Parts a streamed answer into text to show and tool calls.

    The outcome does not depend on how the stream is cut. Text is given out as soon as it cannot be
    the beginning of a call. Without tools on offer, everything is text.

    Args:
        offered: the names of the tools.
        marks: which of `MARKS` to look for; "" stands for bare objects.
        id_prefix: ids of calls are this and a number.
        thinking: the prompt has opened a `<think>` block already. What a model thinks before it
            answers is left out of the text, once the block is closed.
    """

    def __init__(
        self,
        offered: Collection[str],
        *,
        marks: Collection[str] = MARKS,
        id_prefix: str = "call_",
        thinking: bool = False,
    ) -> None:
        self.calls: tuple[ToolCall, ...] = ()
        self._offered = frozenset(offered)
        self._bare = BARE in marks
        self._marks = [mark for mark in marks if mark]
        self._mark = re.compile("|".join(map(re.escape, self._marks)) or "(?!)")
        self._id_prefix = id_prefix
        self._thinking = thinking
        self._held = ""  # read, not yet decided
        self._space = ""  # white space that may turn out to stand around a call
        self._out: list[str] = []
        self._ended = False
        self._parser = self._run()
        next(self._parser)

    def push(self, text: str) -> str:
        """What can be shown now that `text` has come."""
        self._held += text
        next(self._parser)
        return self._take()

    def finish(self) -> str:
        """What is left to show at the end; `calls` is complete then."""
        self._ended = True
        next(self._parser, None)
        if not self.calls:
            self._out.append(self._space)
        self._space = ""
        return self._take()

    def _take(self) -> str:
        text = "".join(self._out)
        self._out.clear()
        return text

    # ---- the parser ------------------------------------------------------------------------------

    def _run(self) -> Steps:
        yield
        yield from self._reasoning()
        if self._offered:
            if self._bare:
                yield from self._objects()
            while mark := (yield from self._text()):
                count = len(self.calls)
                yield from self._call_after(mark)
                if len(self.calls) > count:
                    yield from self._skip_space()
        else:
            while True:
                self._show(self._cut(len(self._held)))
                if not (yield from self._more()):
                    return

    def _more(self) -> Steps:
        """Waits for more text; False if the stream has ended."""
        if not self._ended:
            yield
            return True
        return False

    def _cut(self, end: int) -> str:
        """Takes the first `end` characters off what is held."""
        text, self._held = self._held[:end], self._held[end:]
        return text

    def _show(self, text: str) -> None:
        core = text.rstrip()
        if core:
            self._out += self._space, core
            self._space = ""
        self._space += text[len(core) :]

    def _call(self, name: str, arguments: dict[str, Any] | None, raw: str) -> None:
        call = ToolCall(f"{self._id_prefix}{len(self.calls)}", name, arguments, raw)
        self.calls += (call,)

    def _reasoning(self) -> Steps:
        if not self._thinking:
            yield from self._first()
            while THINK.startswith(self._held.lstrip()) and (yield from self._more()):
                pass
            if not self._held.lstrip().startswith(THINK):
                return
        searched = 0
        while (at := self._held.find(END_THINK, searched)) < 0:
            searched = max(0, len(self._held) - len(END_THINK))
            if not (yield from self._more()):
                return
        self._cut(at + len(END_THINK))
        yield from self._skip_space()

    def _text(self) -> Steps:
        """Shows text up to the next mark, which is cut off and returned; None at the end."""
        while True:
            if found := self._mark.search(self._held):
                self._show(self._cut(found.end())[: found.start()])
                return found[0]
            self._show(self._cut(len(self._held) - self._beginning()))
            if not (yield from self._more()):
                self._show(self._cut(len(self._held)))
                return None

    def _beginning(self) -> int:
        """How many characters at the end of what is held may be the beginning of a mark."""
        longest = min(len(self._held), max(map(len, self._marks), default=1) - 1)
        for count in range(longest, 0, -1):
            if any(mark.startswith(self._held[-count:]) for mark in self._marks):
                return count
        return 0

    def _call_after(self, mark: str) -> Steps:
        match mark:
            case "<tool_call>":
                yield from self._tagged("</tool_call>")
            case "<|python_tag|>":
                yield from self._python_tag()
            case "[TOOL_CALLS]":
                yield from self._mistral()
            case "<function=":
                yield from self._function()
            case _:
                yield from self._fenced()

    # ---- pieces ----------------------------------------------------------------------------------

    def _first(self) -> Steps:
        """Waits for something other than white space and returns it, "" at the end."""
        while not (core := self._held.lstrip()) and (yield from self._more()):
            pass
        return core[:1]

    def _skip_space(self) -> Steps:
        """Drops white space that follows a call."""
        yield from self._first()
        self._held = self._held.lstrip()

    def _value(self) -> Steps:
        """Waits for the end of the JSON value that is held and cuts it off.

        "", and nothing is cut off, if it does not end or cannot be JSON.
        """
        value = _Value()
        while (end := value.end(self._held)) is None and not value.broken:
            if not (yield from self._more()):
                return ""
        return self._cut(end or 0)

    def _until(self, end: str) -> Steps:
        """Cuts off and returns what comes before `end`; everything if it never comes."""
        searched = 0
        while (at := self._held.find(end, searched)) < 0:
            searched = max(0, len(self._held) - len(end))
            if not (yield from self._more()):
                return self._cut(len(self._held))
        return self._cut(at)

    def _drop(self, end: str) -> Steps:
        """Drops white space and `end`, or the beginning of it that the stream ends with."""
        yield from self._first()
        while end.startswith(core := self._held.lstrip()) and core != end:
            if not (yield from self._more()):
                self._held = ""
                return
        if core.startswith(end):
            self._held = core[len(end) :]

    # ---- the families ----------------------------------------------------------------------------

    def _tagged(self, end: str, name: str | None = None) -> Steps:
        """A body before a closing tag: calls, or the arguments of `name`."""
        first = yield from self._first()
        body = (yield from self._value()) if first in ("{", "[") else ""
        found = _calls(body, name)
        if not found:
            raw = body + (yield from self._until(end))
            yield from self._drop(end)
            if name is not None and not raw.strip():
                self._call(name, {}, raw)
            else:
                self._call(_name_in(raw) if name is None else name, None, raw.strip())
            return
        yield from self._drop(end)
        for called, arguments in found:
            self._call(called, arguments, body.strip())

    def _python_tag(self) -> Steps:
        while True:
            first = yield from self._first()
            body = (yield from self._value()) if first == "{" else ""
            found = _calls(body)
            if not found:
                raw = (body + (yield from self._until(PYTHON_TAG))).strip()
                builtin = _BUILTIN.match(raw)
                self._call(builtin[1] if builtin else _name_in(raw), None, raw)
                return
            self._call(*found[0], body.strip())
            yield from self._drop(";")
            if (yield from self._first()) != "{":
                return

    def _objects(self) -> Steps:
        """A reply that begins with a call as a bare object; `;` stands between several."""
        count = len(self.calls)
        while (yield from self._first()) == "{":
            space = self._cut(len(self._held) - len(self._held.lstrip()))
            while not (key := _FIRST_KEY.match(self._held)) and (yield from self._more()):
                pass
            body = ""
            if key and key[1] in ("name", "type"):
                body = yield from self._value()
                found = _calls(body)
                if len(found) == 1:
                    self._call(*found[0], body)
                    yield from self._drop(";")
                    continue
                while not body and (yield from self._more()):  # it is broken: see all of it
                    pass
                if (name := _name_in(body or self._held)) in self._offered:
                    self._call(name, None, body or self._cut(len(self._held)))
                    break
            self._show(space + body)
            break
        if len(self.calls) > count:
            yield from self._skip_space()

    def _mistral(self) -> Steps:
        first = yield from self._first()
        if first == "[":
            body = yield from self._value()
            found = _calls(body)
            for called, arguments in found:
                self._call(called, arguments, body.strip())
            if not found:
                raw = (body + (yield from self._until(MISTRAL))).strip()
                self._call(_name_in(raw), None, raw)
            return
        while "{" not in self._held and MISTRAL not in self._held and (yield from self._more()):
            pass
        head = _MISTRAL_HEAD.match(self._held)
        if not head or self._held[head.end() : head.end() + 1] != "{":
            raw = (yield from self._until(MISTRAL)).strip()
            self._call(head[1] if head else _name_in(raw), None, raw)
            return
        self._cut(head.end())
        body = yield from self._value()
        found = _calls(body, head[1])
        if found:
            self._call(*found[0], body)
        else:
            raw = (body + (yield from self._until(MISTRAL))).strip()
            self._call(head[1], None, raw)

    def _function(self) -> Steps:
        while not (end := _NO_NAME.search(self._held)) and (yield from self._more()):
            pass
        if not end or end[0] != ">":
            self._show(FUNCTION)
            return
        name = self._cut(end.end())[:-1]
        yield from self._tagged("</function>", name)

    def _fenced(self) -> Steps:
        """The last resort: a block that names a tool on offer, where no call had markup."""
        first = yield from self._first()
        space = self._cut(len(self._held) - len(self._held.lstrip()))
        body = ""
        if first == "{" and not self.calls:
            body = yield from self._value()
            found = _calls(body)
            if len(found) == 1 and found[0][0] in self._offered:
                yield from self._drop("```")
                self._call(*found[0], body)
                return
        self._show(FENCE + space + body)


class _Value:
    """Finds where the JSON object or array ends that a growing text begins with."""

    def __init__(self) -> None:
        self.broken = False  # a tag outside a string: no JSON any more
        self._at = 0
        self._depth = 0
        self._in_string = False

    def end(self, text: str) -> int | None:
        """The index after its last bracket, None if that has not come yet."""
        while self._at < len(text):
            char = text[self._at]
            if self._in_string:
                if char == "\\":
                    self._at += 1
                self._in_string = char != '"'
            elif char == '"':
                self._in_string = True
            elif char == "<":
                self.broken = True
                return None
            elif char in "{[":
                self._depth += 1
            elif char in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return self._at + 1
            self._at += 1
        return None


def _calls(body: str, name: str | None = None) -> list[tuple[str, dict[str, Any]]]:
    """The calls that a JSON text describes, or the one of `name` that it is the arguments of.

    There are none if it is something else, even in part.
    """
    try:
        value = parse_json(body)
    except ValueError:
        return []
    if name is not None:
        return [(name, value)] if isinstance(value, dict) else []
    values = value if isinstance(value, list) else [value]
    found = [call for item in values if (call := _one(item))]
    return found if len(found) == len(values) else []


def _one(value: Any) -> tuple[str, dict[str, Any]] | None:
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("function"), dict):
        value = value["function"]
    name, arguments = value.get("name"), value.get("arguments", value.get("parameters"))
    if isinstance(arguments, str):  # encoded twice
        try:
            arguments = parse_json(arguments)
        except ValueError:
            return None
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    return name, arguments


def _name_in(raw: str) -> str:
    """The name that a broken call seems to have, or ""."""
    found = _NAME.search(raw)
    return found[1] if found else ""
