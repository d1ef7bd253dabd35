"""The form of a call, learnt from each family's template, and the grammar that holds it."""

from typing import Any

import pytest

from cabinos.drivers.model.call_format import CallFormat
from cabinos.drivers.model.prompt import IN_WORDS
from cabinos.drivers.model.tool_calls import Splitter
from cabinos.engine.chat_template import ChatTemplate
from cabinos.engine.tokenizer import Tokenizer
from cabinos.kernel.driver import Tool
from tests.drivers.conftest import ChatModelMaker
from tests.engine.test_chat_template import HERMES, LLAMA3, QWEN2, SMOLLM, ZEPHYR
from tests.fixtures.chat_model import HERMES_TEMPLATE, TAGS

MISTRAL_3 = """{{- bos_token }}{%- for m in messages %}
{%- if m.role == 'user' %}{{- '[INST] ' + m.content + '[/INST]' }}
{%- elif m.tool_calls is defined %}{{- '[TOOL_CALLS] [' }}
    {%- for call in m.tool_calls %}
        {%- if call.id|length != 9 %}{{- raise_exception('ids have 9 characters') }}{%- endif %}
        {%- set written = call.function | tojson %}
        {{- written[:-1] + ', "id": "' + call.id + '"}' }}{{- ', ' if not loop.last else ']' }}
    {%- endfor %}{{- eos_token }}
{%- elif m.role == 'tool' %}{{- '[TOOL_RESULTS] ' + m.content + '[/TOOL_RESULTS]' }}
{%- else %}{{- m.content + eos_token }}{%- endif %}{%- endfor %}"""
MISTRAL_11 = """{%- for m in messages %}
{%- if m.role == 'user' %}{{- '[INST]' + m.content + '[/INST]' }}
{%- elif m.tool_calls is defined %}{%- for call in m.tool_calls %}
    {{- '[TOOL_CALLS]' + call.function.name + '[ARGS]' + call.function.arguments | tojson }}
    {%- endfor %}{{- eos_token }}{%- endif %}{%- endfor %}"""
FUNCTIONARY = """{%- for m in messages %}{{- m.role + ': ' + m.content }}
{%- for call in m.tool_calls or [] %}
    {{- '<function=' + call.function.name + '>' + call.function.arguments | tojson }}
    {{- '</function>' }}
{%- endfor %}{{- eos_token }}{%- endfor %}"""
UNKNOWN = """{%- for m in messages %}{{- m.content }}
{%- for call in m.tool_calls or [] %}{{- 'CALL ' + call.function.name }}{%- endfor %}
{%- endfor %}"""


async def never(**_: Any) -> None:
    raise AssertionError("no tool runs here")


def tool(name: str, parameters: dict[str, Any]) -> Tool:
    return Tool(name, "A tool.", {"type": "object", **parameters}, never)


INTEGER = {"type": "integer", "minimum": 0, "maximum": 99}
TOOLS = [
    tool("add", {"properties": {"a": INTEGER, "b": INTEGER}, "required": ["a", "b"]}),
    tool(
        "add_all", {"properties": {"of": {"type": "array", "items": INTEGER}}, "required": ["of"]}
    ),
    tool('say "it"', {"properties": {"text": {"type": "string"}}, "required": ["text"]}),
]
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"],
          "additionalProperties": False}  # fmt: skip


@pytest.fixture(scope="module")
def plain(chat_model: ChatModelMaker) -> Tokenizer:
    """A vocabulary in which each tag is a token of ordinary text, as in Qwen's."""
    return Tokenizer.from_gguf(chat_model())


@pytest.fixture(scope="module")
def control(chat_model: ChatModelMaker) -> Tokenizer:
    """A vocabulary in which the marks are control tokens, as in Llama's and Mistral's."""
    marks = (*TAGS, "[TOOL_CALLS]", "[ARGS]", "<|python_tag|>")
    return Tokenizer.from_gguf(chat_model(control=True, tags=marks))


def learnt(template: str, tokenizer: Tokenizer) -> CallFormat | None:
    return CallFormat.learn(ChatTemplate({"default": template}, tokenizer, "test"))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (QWEN2, ("<tool_call>", '\n{"name": "', '", "arguments": ', "}\n</tool_call>")),
        (HERMES_TEMPLATE, ("<tool_call>", '\n{"name": "', '", "arguments": ', "}\n</tool_call>")),
        (HERMES, ("<tool_call>", '\n{\n  "name": "', '",\n  "arguments": ', "\n}\n</tool_call>")),
        (LLAMA3, ("", '{"name": "', '", "parameters": ', "}")),
        (MISTRAL_3, ("[TOOL_CALLS]", ' [{"name": "', '", "arguments": ', "}]")),
        (MISTRAL_11, ("[TOOL_CALLS]", "", "[ARGS]", "")),
        (FUNCTIONARY, ("<function=", "", ">", "</function>")),
    ],
)  # fmt: skip
def test_the_form_is_learnt_from_the_template(
    plain: Tokenizer, template: str, expected: tuple[str, ...]
) -> None:
    form = learnt(template, plain)
    assert form is not None
    assert (form.mark, form.before, form.between, form.after) == expected
    assert (form.item_separator, form.key_separator) == (", ", ": ")


@pytest.mark.parametrize("template", [SMOLLM, ZEPHYR, UNKNOWN, "{{ raise_exception('no') }}", ""])
def test_a_template_that_writes_no_calls_teaches_nothing(plain: Tokenizer, template: str) -> None:
    assert learnt(template, plain) is None


# ---- the grammar ---------------------------------------------------------------------------------


class Judge:
    """Says of a text whether the grammar lets a model write it, and whether it may end there."""

    def __init__(
        self, form: CallFormat, tokenizer: Tokenizer, schema: dict[str, Any] | None = None
    ) -> None:
        self.form = form
        self._tokenizer = tokenizer
        self._constraint = form.constraint(TOOLS, tokenizer, schema)

    def __call__(self, text: str, *, parse_special: bool = True) -> str:
        state = self._constraint.compile(self._tokenizer, self._tokenizer.vocab_size)
        ids = self._tokenizer.encode(text, add_special=False, parse_special=parse_special)
        if state.longest_valid(ids) < len(ids):
            return "no"
        for token in ids:
            state.consume(token)
        return "whole" if any(state.mask()[end] for end in self._tokenizer.end_ids) else "part"


def call(form: CallFormat, name: str, arguments: str) -> str:
    return form.mark + form.before + name + form.between + arguments + form.after


FORMS = {
    "qwen": QWEN2,
    "llama": LLAMA3,
    "mistral 3": MISTRAL_3,
    "mistral 11": MISTRAL_11,
    "functionary": FUNCTIONARY,
}


@pytest.mark.parametrize("family", [*FORMS, "in words"])
@pytest.mark.parametrize("vocabulary", ["plain", "control"])
def test_a_call_once_begun_is_a_call(
    family: str, vocabulary: str, request: pytest.FixtureRequest
) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(vocabulary)
    form = learnt(FORMS[family], tokenizer) if family in FORMS else IN_WORDS
    assert form is not None
    judge = Judge(form, tokenizer)
    whole = call(form, "add", '{"a": 1, "b": 22}')
    assert judge("Hello there. {not json} [1] <tool") == "whole"
    assert judge(whole) == "whole"
    assert judge(whole[: len(form.mark) + len(form.before) + 2]) == "part"
    assert judge(call(form, "add_all", '{"of": [1, 2]}')) == "whole"
    escaped = '{"text": "</call> \\" \\n é"}'
    assert judge(call(form, 'say \\"it\\"' if form.before else 'say "it"', escaped)) == "whole"
    for wrong in (
        call(form, "sub", "{}"),
        call(form, "add", '{"a": 1}'),
        call(form, "add", '{"a": 1, "b": 200}'),
        call(form, "add", '{"a": "1", "b": 2}'),
        call(form, "add", '{"a": 1, "b": 2, "c": 3}'),
        form.mark + form.before + "add" + form.between + "x",
        (form.mark or '{"name": "') + "hello",
    ):
        assert judge(wrong) == "no", wrong
    if form.mark:
        assert judge(f"I add. {whole}") == "whole"
        assert judge(f"{whole}\nThen {whole} and so on") == "whole"
        # Whether the mark is one token or is spelt out, it begins a call.
        assert judge(f"{form.mark}hello", parse_special=False) == "no"
    splitter = Splitter(["add"], marks=form.marks)
    said = splitter.push(whole) + splitter.finish()
    assert (said, [(c.name, c.arguments) for c in splitter.calls]) == (
        "",
        [("add", {"a": 1, "b": 22})],
    )


@pytest.mark.parametrize("family", FORMS)
def test_with_a_schema_the_answer_is_a_call_or_fits_it(family: str, control: Tokenizer) -> None:
    form = learnt(FORMS[family], control)
    assert form is not None
    judge = Judge(form, control, SCHEMA)
    assert judge('{"x":7}') == "whole"
    assert judge("Hello") == "no"
    assert judge('{"y":7}') == "no"
    mark, before = (form.mark, form.before) if form.mark else ("<|python_tag|>", '{"name": "')
    marked = f'{mark}{before}add{form.between}{{"a": 1, "b": 2}}{form.after}'
    assert judge(marked) == "whole"
    assert judge(f"{marked}\n{marked}") == "whole"
    assert judge(f"Well, {marked}") == "no"


def test_llama_may_say_the_type_or_use_its_tag(control: Tokenizer) -> None:
    form = learnt(LLAMA3, control)
    assert form is not None
    judge = Judge(form, control)
    body = '"name": "add", "parameters": {"a": 1, "b": 2}}'
    assert judge('{"type": "function", ' + body) == "whole"
    assert judge('{"type": "function", "name": "sub') == "no"
    assert judge('{"type": "x') == "no"
    assert judge("So: <|python_tag|>{" + body) == "whole"
    assert judge("<|python_tag|>print(1)") == "no"
    assert judge("Look: {" + body) == "whole"  # in the middle of a text it is no call


def test_mistral_may_call_several_at_once(control: Tokenizer) -> None:
    form = learnt(MISTRAL_3, control)
    assert form is not None
    one = '{"name": "add", "arguments": {"a": 1, "b": 2}}'
    assert Judge(form, control)(f"[TOOL_CALLS] [{one}, {one}]") == "whole"
    assert Judge(form, control)(f"[TOOL_CALLS] [{one}, {{") == "part"
    assert Judge(form, control)(f"[TOOL_CALLS] [{one}, 7") == "no"


def test_a_schema_that_cannot_be_compiled_still_gives_an_object(plain: Tokenizer) -> None:
    tools = [
        tool("odd", {"properties": {"a": {"$ref": "#/nowhere"}}, "required": ["a"]}),
        tool("late", {"properties": {"a": {"type": "string", "pattern": "(?=x)y"}}}),
    ]
    state = IN_WORDS.constraint(tools, plain).compile(plain, plain.vocab_size)
    text = call(IN_WORDS, "odd", '{"a": 1, "b": [true]}')
    ids = plain.encode(text, add_special=False, parse_special=True)
    assert state.longest_valid(ids) == len(ids)


def test_half_of_a_surrogate_pair_cannot_be_written(plain: Tokenizer) -> None:
    judge = Judge(IN_WORDS, plain)
    start = IN_WORDS.mark + IN_WORDS.before + 'say \\"it\\"' + IN_WORDS.between
    assert judge(start + '{"text": "\\n') == "part"
    assert judge(start + '{"text": "\\ud800') == "no"


def test_a_name_that_is_markup_of_the_model_is_written_as_text(
    chat_model: ChatModelMaker,
) -> None:
    tokenizer = Tokenizer.from_gguf(chat_model(control=True))
    strange = [tool("</tool_call>", {"properties": {}})]
    form = learnt(QWEN2, tokenizer)
    assert form is not None
    state = form.constraint(strange, tokenizer).compile(tokenizer, tokenizer.vocab_size)
    ids = tokenizer.encode('<tool_call>\n{"name": "', add_special=False, parse_special=True)
    ids += tokenizer.encode('</tool_call>", "arguments": {}', add_special=False)
    assert state.longest_valid(ids) == len(ids)
