"""How one local model writes a tool call, learnt from its own chat template, and as a grammar.

The template is asked to write down a call with names of our own choice. What it puts around them is
what the model was trained on, to the last space: so a call decoded under the grammar reads exactly
as it will when the template shows it again, and its KV in the prefix cache still fits.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cabinos.drivers.model.copying import MARKS, Sources, object_rules, prose, source_rules
from cabinos.drivers.model.tool_calls import FUNCTION, HERMES, MISTRAL, PYTHON_TAG
from cabinos.engine.errors import EngineError, InvalidRequest
from cabinos.kernel.driver import Tool

if TYPE_CHECKING:
    from cabinos.engine.chat_template import ChatTemplate
    from cabinos.engine.constraints import Constraint
    from cabinos.engine.tokenizer import Tokenizer

__all__ = ["CallFormat", "as_function"]

NAME, FIRST, SECOND = "cabin_probe_name", "cabin_probe_first", "cabin_probe_second"
ENDS = {HERMES: "</tool_call>", FUNCTION: "</function>"}
BARE = '{"name": "'  # how Llama 3 begins one, with no mark before it

ANYTHING: Mapping[str, Any] = {"type": "object", "additionalProperties": True}
ONE_LINE = {"whitespace_flexible": False}


def as_function(tool: Tool) -> dict[str, Any]:
    """A tool as chat APIs and templates describe it."""
    parameters = dict(tool.parameters)
    if properties := parameters.get("properties"):
        parameters["properties"] = {name: _shown(of) for name, of in properties.items()}
    described = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": described}


def _shown(schema: Any) -> Any:
    """A parameter's schema without what is said to the grammar of copies alone."""
    if not isinstance(schema, Mapping):
        return schema
    return {key: value for key, value in schema.items() if key not in MARKS}


@dataclass(frozen=True)
class CallFormat:
    """`mark`, `before`, a name, `between`, the arguments as JSON, `after`.

    An empty mark: a call is a bare object and the whole reply.
    """

    mark: str
    before: str
    between: str
    after: str
    item_separator: str
    key_separator: str

    @classmethod
    def learn(cls, template: "ChatTemplate") -> "CallFormat | None":
        """The format of a template, None if it cannot write calls or not in a way known here."""
        arguments = {FIRST: 1, SECOND: 2}
        call = {"name": NAME, "arguments": arguments}
        messages: list[dict[str, Any]] = [
            {"role": "user", "content": "?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "000000000", "type": "function", "function": call}],
            },
        ]
        tool = {"name": "other", "description": "?", "parameters": ANYTHING}
        try:
            text = template.render(
                messages,
                tools=[{"type": "function", "function": tool}],
                add_generation_prompt=False,
            )
        except EngineError:
            return None
        return cls._from_text(text)

    @classmethod
    def _from_text(cls, text: str) -> "CallFormat | None":
        name, first, second = text.find(NAME), text.find(f'"{FIRST}"'), text.find(f'"{SECOND}"')
        if not 0 <= name < first < second:
            return None
        opening = text.rfind("{", 0, first)
        closing = text.find("}", second)
        if text.count(NAME) > 1 or opening < name + len(NAME) or closing < 0:
            return None
        written = text[first:closing]  # "first": 1, "second": 2
        key_separator, _, rest = written[len(FIRST) + 2 :].partition("1")
        item_separator = rest.partition('"')[0]

        heads = [(at, mark) for mark in (HERMES, MISTRAL, PYTHON_TAG, FUNCTION)
                 if (at := text.rfind(mark, 0, name)) >= 0]  # fmt: skip
        at, mark = max(heads, default=(-1, ""))
        if at < 0 or name - at > 80:
            at, mark = text.rfind("{", 0, name), ""
            if not text[at:name].startswith(BARE):
                return None
        after, tail = "", text[closing + 1 :]
        if end := ENDS.get(mark):
            after, found, _ = tail.partition(end)
            if not found:
                return None
            after += end
        elif "{" in text[at + len(mark) : name]:
            after = "}]" if "[" in text[at + len(mark) : name] else "}"
        return cls(
            mark=mark,
            before=text[at + len(mark) : name],
            between=text[name + len(NAME) : opening],
            after=after,
            item_separator=", " if "\n" in item_separator else item_separator,
            key_separator=key_separator,
        )

    @property
    def marks(self) -> tuple[str, ...]:
        """The marks to look for in what the model says, see `tool_calls.Splitter`."""
        return (self.mark,) if self.mark else ("", PYTHON_TAG)

    @property
    def markup(self) -> tuple[str, ...]:
        """Texts that are markup of calls, where they have a token of their own."""
        return tuple(mark for mark in (*self.marks, ENDS.get(self.mark)) if mark)

    def constraint(
        self,
        tools: Sequence[Tool],
        tokenizer: "Tokenizer",
        schema: Mapping[str, Any] | None = None,
        given: Sources | None = None,
        tag: str = "",
    ) -> "Constraint":
        """Free text, or JSON that fits `schema`, where every call once begun names one of `tools`.

        Its arguments fit the tool's schema as far as the parser knows the keywords of it; and they
        are copied from what is `given`, see `copying`. With a `tag`, a token of markup, there is no
        text but it.
        """
        from cabinos.engine.constraints import Constraint

        literal = _Literal(tokenizer)
        quoted = self.before.endswith('"')
        rules = [f"TEXT: /{prose(given)}/", *(source_rules(given) if given else ())]
        for number, tool in enumerate(tools):
            name = json.dumps(tool.name)[1:-1] if quoted else tool.name
            between = literal(self.between)
            arguments = f"given_{number}"
            copied = given and object_rules(arguments, tool.parameters, given, self._style)
            if copied:
                rules += copied
            else:
                arguments = f"%json {self._arguments(_compilable(tool.parameters, tokenizer))}"
            rules.append(f"tool_{number}: {json.dumps(name)} {between} {arguments}")
        rules.append("tool: " + " | ".join(f"tool_{number}" for number in range(len(tools))))
        rules.append(f"rest: {self._rest(literal)}")
        answer = literal(tag) if tag else "TEXT"
        if schema is not None:
            answer = f"%json {json.dumps({'x-guidance': ONE_LINE, **schema})}"
        rules.append(f"answer: {answer}")
        rules += self._heads(literal, free=schema is None and not tag)
        return Constraint.lark("\n".join(rules))

    @property
    def _style(self) -> dict[str, Any]:
        """How JSON is written, for the compiler of schemas."""
        return {
            "item_separator": self.item_separator,
            "key_separator": self.key_separator,
            "whitespace_flexible": False,
            "json_allowed_escapes": 'nrbtf\\"',  # no \\u: half a surrogate pair is no text
            "lenient": True,
        }

    def _arguments(self, schema: Mapping[str, Any]) -> str:
        return json.dumps({"additionalProperties": False, **schema, "x-guidance": self._style})

    def _rest(self, literal: "_Literal") -> str:
        """A call from the name on; a list takes several."""
        if self.after != "}]":
            return f"tool {literal(self.after)}"
        another = literal(", " + self.before[self.before.rindex("{") :])
        return f'tool "}}" ( {another} tool "}}" )* "]"'

    def _heads(self, literal: "_Literal", *, free: bool) -> list[str]:
        """How calls begin: at their mark, in free text or by themselves, or with the reply."""
        mark, before = (self.mark, self.before) if self.mark else (PYTHON_TAG, BARE)
        spelt, token = json.dumps(mark), literal.token(mark)
        rules = [f"call: head {literal(before)} rest"]
        if not free:
            rules.append(f"head: {token} | {spelt}" if token else f"head: {spelt}")
            # Not bare: the parser could not tell such a call from an answer by its first brace.
            return [*rules, 'start: call ( "\\n"? call )* | answer']
        rules.append(f"spelt[lazy]: TEXT {spelt}")
        rules.append(f"head: TEXT {token} | spelt" if token else "head: spelt")
        if self.mark:
            return [*rules, "start: call* answer"]
        return [
            *rules,
            r'bare[lazy]: /\s*\{\s*"name"\s*:\s*"/',
            r'typed[lazy]: /\s*\{\s*"type"\s*:\s*"/',
            r'start: bare rest | typed "function\", \"name\": \"" rest | call* answer',
        ]


class _Literal:
    """Text as it stands in a grammar: tokens that are markup by number, the rest as strings."""

    def __init__(self, tokenizer: "Tokenizer") -> None:
        self._tokenizer = tokenizer

    def token(self, text: str) -> str | None:
        """The one token that is this markup."""
        found = self._tokenizer.special_tokens.get(text)
        return None if found is None else f"<[{found}]>"

    def __call__(self, text: str) -> str:
        parts = self._tokenizer.split_special(text)
        return " ".join(f"<[{p}]>" if isinstance(p, int) else json.dumps(p) for p in parts)


def _compilable(schema: Mapping[str, Any], tokenizer: "Tokenizer") -> Mapping[str, Any]:
    """The schema, or "any object" if the compiler refuses it: the kernel checks the arguments."""
    from cabinos.engine.constraints import Constraint

    lenient = {**schema, "x-guidance": {"lenient": True}}
    try:
        Constraint.json_schema(lenient).compile(tokenizer, tokenizer.vocab_size)
    except (InvalidRequest, TypeError, ValueError):
        return ANYTHING
    return schema
