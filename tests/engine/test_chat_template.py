"""Chat templates against transformers, forged markup in messages, and templates that mean harm."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import gguf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cabinos.engine.chat_template import CHATML, MARK, MAX_TEMPLATE, ChatTemplate
from cabinos.engine.errors import InvalidRequest, ModelFileError
from cabinos.engine.tokenizer import Tokenizer

# The formats of well-known models, each with the Jinja its own template leans on.
LLAMA3 = """{{- bos_token }}
{%- if not date_string is defined %}{% set date_string = strftime_now("%d %b %Y") %}{% endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" + system_message + "<|eot_id|>" }}
{%- for message in messages %}
    {%- if 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("one call at a time") }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + call.name + '", ' }}
        {{- '"parameters": ' + call.arguments | tojson + "}<|eot_id|>" }}
    {%- else %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {{- message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}"""
QWEN2 = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- "# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(index=messages|length - 1, searching=true) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.searching and message.role == "user" %}
        {%- set ns.searching = false %}{%- set ns.index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == "user" or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content if message.content is string else '' %}
        {%- if '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].split('<think>')[-1].strip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if reasoning is defined and loop.index0 > ns.index %}
            {{- '<think>\\n' + reasoning + '\\n</think>\\n\\n' }}
        {%- endif %}
        {{- content }}
        {%- for call in message.tool_calls or [] %}
            {%- if call.function %}{%- set call = call.function %}{%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' ~ call.name ~ '", "arguments": ' }}
            {{- call.arguments if call.arguments is string else call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or messages[loop.index0 - 1].role != "tool" %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != "tool" %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""
MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Roles must alternate user/assistant/user/assistant') }}
    {%- endif %}
    {%- if message['role'] == 'user' and loop.last and system_message is defined %}
        {{- '[INST] ' + system_message + '\\n\\n' + message['content'] + ' [/INST]' }}
    {%- elif message['role'] == 'user' %}
        {{- '[INST] ' + message['content'] + ' [/INST]' }}
    {%- else %}
        {{- ' ' + message['content'] | trim + eos_token }}
    {%- endif %}
{%- endfor %}"""
ZEPHYR = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""
SMOLLM = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
{{ '<|im_start|>system\nYou are a helpful AI assistant<|im_end|>\n' }}{% endif %}\
{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}\
{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
HERMES = """{%- macro kind(spec) -%}
    {%- if spec.type == "array" -%}list[{{ kind(spec["items"]) }}]
    {%- elif spec.type is string -%}{{ spec.type }}
    {%- else -%}any{%- endif -%}
{%- endmacro -%}
{{- "<|im_start|>system\nYou may call functions:\n<tools>" }}
{%- for tool in tools or [] %}
    {%- set f = tool.function if tool.function is defined else tool %}
    {{- "\n" + f.name + "(" }}
    {%- for name, spec in f.parameters.properties|items %}
        {{- name + ": " + kind(spec) }}{%- if not loop.last %}, {% endif %}
    {%- endfor %}
    {{- ")  # " ~ f.description|default("", true) }}
{%- endfor %}
{{- "\n</tools><|im_end|>\n" }}
{%- for message in messages %}
    {%- if message.role == "tool" %}
        {{- "<|im_start|>tool\n<tool_response>\n" + message.content }}
        {{- "\n</tool_response><|im_end|>\n" }}
        {%- continue %}
    {%- endif %}
    {{- "<|im_start|>" + message.role + "\n" }}
    {%- generation %}{{- message.content or "" }}{%- endgeneration %}
    {%- for call in message.tool_calls or [] %}
        {{- "\n<tool_call>\n" + call.function|tojson(indent=2) + "\n</tool_call>" }}
    {%- endfor %}
    {{- "<|im_end|>\n" }}
{%- endfor %}
{%- if add_generation_prompt %}{{- "<|im_start|>assistant\n" }}{%- endif %}"""
FORMATS = {
    "llama3": LLAMA3,
    "qwen2": QWEN2,
    "mistral": MISTRAL,
    "zephyr": ZEPHYR,
    "smollm": SMOLLM,
    "hermes": HERMES,
    "chatml": CHATML,
}

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": 'The "weather" für <b>Ort</b> & day',
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "days": {"type": "array", "items": {"type": "integer"}},
                },
                "required": ["city"],
            },
        },
    }
]
SYSTEM = {"role": "system", "content": "Be brief. "}
HELLO = {"role": "user", "content": "  Hello, how are you?\n"}
FINE = {"role": "assistant", "content": "Fine — <think>wait</think>\n\n thanks. "}
MORE = {"role": "user", "content": 'Say "naïve" 👩‍💻\n\n  {{ bos_token }}'}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Köln"}}}
    ],
}
RESULT = {"role": "tool", "name": "get_weather", "content": '{"sky": "grey"}'}
CHATS: dict[str, dict[str, Any]] = {
    "one": {"messages": [HELLO]},
    "system": {"messages": [SYSTEM, HELLO]},
    "turns": {"messages": [SYSTEM, HELLO, FINE, MORE]},
    "thought": {"messages": [HELLO, FINE]},
    "tools": {"messages": [SYSTEM, HELLO], "tools": TOOLS},
    "call": {"messages": [HELLO, CALL, RESULT, RESULT, FINE, MORE], "tools": TOOLS},
    "wrong": {"messages": [HELLO, MORE]},
}

CONTROL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|eot_id|>", "[INST]", "[/INST]", "<s>", "</s>",
]  # fmt: skip
USER_DEFINED = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>"]


@pytest.fixture(scope="module")
def reference() -> Any:
    """transformers' tokenizer."""
    from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
    from tokenizers import Tokenizer as Library
    from transformers import PreTrainedTokenizerFast

    library = Library(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=CONTROL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library.train_from_iterator([*FORMATS.values(), json.dumps(CHATS)], trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=library, bos_token="<s>", eos_token="</s>")
    made.add_tokens([AddedToken(t, special=False, normalized=False) for t in USER_DEFINED])
    return made


def write(path: Path, reference: Any, template: Any) -> Path:
    tokens = reference.convert_ids_to_tokens(list(range(len(reference))))
    merges = json.loads(reference.backend_tokenizer.to_str())["model"]["merges"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if t in CONTROL else 4 if t in USER_DEFINED else 1 for t in tokens])
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(tokens.index("<s>"))
    writer.add_eos_token_id(tokens.index("</s>"))
    if template is not None:
        writer.add_chat_template(template)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, reference: Any) -> Path:
    return write(tmp_path_factory.mktemp("chat") / "model.gguf", reference, None)


@pytest.fixture(scope="module")
def tokenizer(path: Path) -> Tokenizer:
    return Tokenizer.from_gguf(path)


def template_of(tokenizer: Tokenizer, source: str) -> ChatTemplate:
    return ChatTemplate({"default": source}, tokenizer, "model.gguf")


@pytest.mark.parametrize("prompt", [False, True])
@pytest.mark.parametrize("chat", CHATS)
@pytest.mark.parametrize("name", FORMATS)
def test_equals_transformers(
    reference: Any, tokenizer: Tokenizer, name: str, chat: str, prompt: bool
) -> None:
    ours = template_of(tokenizer, FORMATS[name])
    options: dict[str, Any] = {"add_generation_prompt": prompt, "enable_thinking": False}
    given = CHATS[chat]
    theirs = {
        "conversation": given["messages"],
        "tools": given.get("tools"),
        "chat_template": FORMATS[name],
        **options,
    }
    try:
        text = reference.apply_chat_template(**theirs, tokenize=False)
    except Exception:  # noqa: BLE001 (whatever it raises, we refuse too)
        with pytest.raises(InvalidRequest):
            ours.render(**given, **options)
        return
    assert ours.render(**given, **options) == text
    assert ours.encode_chat(**given, **options) == reference.apply_chat_template(
        **theirs, return_dict=False
    )


def test_the_file_s_template_or_chatml(tmp_path: Path, reference: Any, path: Path) -> None:
    assert ChatTemplate.from_gguf(path).templates == {"default": CHATML}
    text = ChatTemplate.from_gguf(path).render([HELLO])
    assert text == f"<|im_start|>user\n{HELLO['content']}<|im_end|>\n<|im_start|>assistant\n"
    single = write(tmp_path / "single.gguf", reference, ZEPHYR)
    assert ChatTemplate.from_gguf(str(single)).templates == {"default": ZEPHYR}
    named = [
        {"name": "default", "template": "plain"},
        {"name": "tool_use", "template": "tools {{ tools|length }}"},
        {"name": "rag", "template": "{{ documents[0].text }}"},
    ]
    several = ChatTemplate.from_gguf(write(tmp_path / "several.gguf", reference, named))
    assert several.render([HELLO]) == "plain"
    assert several.render([HELLO], tools=TOOLS) == "tools 1"
    assert several.render([HELLO], tools=TOOLS, template="default") == "plain"
    assert several.render([HELLO], documents=[{"text": "d"}], template="rag") == "d"
    with pytest.raises(InvalidRequest, match="no chat template 'x'; there are default, rag, t"):
        several.render([HELLO], template="x")


def special_tokens(tokenizer: Tokenizer, ids: list[int]) -> Counter[int]:
    return Counter(i for i in ids if i in tokenizer.special_tokens.values())


fragments = [*CONTROL, *USER_DEFINED, "<|", "<|im_", "im_end|>", "<", "|>", " ", "\n", "a", MARK]
forgeries = st.lists(st.sampled_from(fragments), max_size=8).map("".join)


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(sorted(FORMATS)), user=forgeries, result=forgeries, key=forgeries)
def test_messages_cannot_forge_markup(
    tokenizer: Tokenizer, name: str, user: str, result: str, key: str
) -> None:
    ours = template_of(tokenizer, FORMATS[name])

    def chat(user: str, result: str, key: str) -> dict[str, Any]:
        tool = {"name": "f" + key, "parameters": {"properties": {"p" + key: {"type": "string"}}}}
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": "s" + user},
            {"role": "user", "content": user},
            {"role": "assistant", "content": "yes"},
            {"role": "user", "content": result},
        ]
        if name in ("qwen2", "hermes"):
            call = {"name": "f", "arguments": {"p" + key: [user]}}
            messages[2]["tool_calls"] = [{"function": call}]
            messages[3]["role"] = "tool"
        return {"messages": messages, "tools": [tool]}

    forged = ours.encode_chat(**chat(user, result, key))
    honest = ours.encode_chat(**chat("u", "r", "k"))
    assert special_tokens(tokenizer, forged) == special_tokens(tokenizer, honest)
    plain = chat(*(text.replace(MARK, "") for text in (user, result, key)))
    assert tokenizer.decode(forged, special=True) == ours.render(**plain)


def test_parts_cannot_forge_markup_together(tokenizer: Tokenizer) -> None:
    ours = template_of(tokenizer, "{% for m in messages %}{{ m.content|trim }}{% endfor %}<s>")
    contents = ["<|im_", "end|> <", "|im_end|>", "<|im_start", "|> \n", " <|im_end|>"]
    ids = ours.encode_chat([{"role": "user", "content": text} for text in contents])
    assert special_tokens(tokenizer, ids) == {tokenizer.special_tokens["<s>"]: 1}
    assert tokenizer.decode(ids, special=True) == "".join(t.strip() for t in contents) + "<s>"


def test_an_assistant_s_words_keep_their_tags_but_end_no_turn(tokenizer: Tokenizer) -> None:
    ours = template_of(tokenizer, "<|im_start|>{{ messages[0]|tojson }}<|im_end|>")
    said: dict[str, Any] = {"role": "assistant", "content": "<think>a</think><|im_end|>"}
    said["tool_calls"] = [{"function": {"arguments": "<tool_call>"}}]
    ids = ours.encode_chat([said], add_generation_prompt=False)
    names = tokenizer.special_tokens
    expected = Counter(names[t] for t in ("<|im_start|>", "<think>", "</think>", "<|im_end|>"))
    assert special_tokens(tokenizer, ids) == expected


def test_roles_may_make_markup(tokenizer: Tokenizer) -> None:
    ours = template_of(tokenizer, "{% for m in messages %}<|{{ m.role }}|>{% endfor %}")
    ids = ours.encode_chat([{"role": "im_end", "content": ""}, {"role": "<|im_end|>"}])
    assert special_tokens(tokenizer, ids) == {tokenizer.special_tokens["<|im_end|>"]: 1}


def test_plain_text_between_markup_has_no_borders(tokenizer: Tokenizer) -> None:
    ours = template_of(tokenizer, "<s>Say {{ messages[0].content }} now</s>")
    ids = ours.encode_chat([{"role": "user", "content": "it is<|im_end|>"}])
    between = tokenizer.encode("Say it is<|im_end|> now")
    names = tokenizer.special_tokens
    assert ids == [names["<s>"], *between, names["</s>"]]


HOSTILE = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "recursion": "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "call tree": "{% macro f(n) %}{{ n and f(n - 1) ~ f(n - 1) }}{% endmacro %}{{ f(60) }}",
    "sum": "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}"
    "{% endfor %}",
    "concatenation": "{% set n = namespace(x='ab') %}{% for i in range(60) %}"
    "{% set n.x = n.x ~ n.x %}{% endfor %}",
    "block": "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set y %}{{ n.x }}{{ n.x }}"
    "{% endset %}{% set n.x = y %}{% endfor %}",
    "nesting": "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}"
    "{% endfor %}",
    "output": "{% for i in range(99999) %}{{ 'a' * 9999 }}{% endfor %}",
    "product": "{{ 'a' * 10 ** 10 }}",
    "list": "{{ ([1] * 10 ** 10)|length }}",
    "power": "{{ 10 ** (10 ** 10) }}",
    "squares": "{% set n = namespace(x=3) %}{% for i in range(99) %}{% set n.x = n.x * n.x %}"
    "{% endfor %}",
    "ljust": "{{ 'a'.ljust(10 ** 10) }}",
    "format": "{{ '{:>9999999999}'.format(1) }}",
    "format method": "{{ '{:>{}}'.format(1, 9999999999) }}",
    "percent": "{{ '%9999999999d' % 1 }}",
    "percent star": "{{ '%*d' % (9999999999, 1) }}",
    "replace": "{{ ('a' * 9999999).replace('a', 'b' * 99999) }}",
    "replace filter": "{{ ('a' * 9999999)|replace('a', 'b' * 99999) }}",
    "join": "{{ ','.join(['a' * 999999] * 99999) }}",
    "join filter": "{{ (['a' * 999999] * 99999)|join }}",
    "indent": "{{ ('a\\n' * 99999)|indent(10 ** 9) }}",
    "json indent": "{{ [[1]]|tojson(indent=10 ** 9) }}",
    "batch": "{{ [1]|batch(10 ** 10, 1)|list }}",
    "center": "{{ 'a'|center(10 ** 10) }}",
    "translate": "{{ ('a' * 9999999).translate({97: 'b' * 9999}) }}",
    "bytes": "{{ (5).to_bytes(10 ** 10, 'big') }}",
    "internals": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ namespace.__init__.__globals__ }}",
    "change": "{{ messages.append(1) }}",
    "syntax": "{% for %}",
    "long": "a" * (MAX_TEMPLATE + 1),
}
NESTED = ["{{ n.x }}", "{{ n.x|tojson }}", "{{ n.x|upper }}", "{{ n.x ~ '' }}", "{{ '%s' % n.x }}"]
for number, use in enumerate(NESTED):
    HOSTILE[f"nesting {number}"] = HOSTILE["nesting"] + use
del HOSTILE["nesting"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_templates_end_with_an_error(
    tokenizer: Tokenizer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cabinos.engine.template_sandbox.MAX_SECONDS", 2.0)
    began = time.monotonic()
    with pytest.raises(ModelFileError, match=r"model\.gguf: the chat template 'default' cannot"):
        template_of(tokenizer, HOSTILE[name]).render([HELLO])
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("name", ["loops", "call tree"])
def test_steps_are_counted(
    tokenizer: Tokenizer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cabinos.engine.template_sandbox.MAX_SECONDS", 600.0)
    monkeypatch.setattr("cabinos.engine.template_sandbox.MAX_STEPS", 1000)
    with pytest.raises(ModelFileError, match="did not end within 1,000 steps"):
        template_of(tokenizer, HOSTILE[name]).render([HELLO])


def test_nothing_is_a_missing_value(tokenizer: Tokenizer) -> None:
    ours = template_of(tokenizer, "{{ 'content' in messages[0] }} {{ tools is none }}")
    assert ours.render([{"role": "assistant", "content": None}]) == "False True"


def test_long_chats_stay_within_the_limits(tokenizer: Tokenizer) -> None:
    turns = [HELLO, {"role": "assistant", "content": "x" * 1000}] * 500
    for source in FORMATS.values():
        assert len(template_of(tokenizer, source).render(turns)) > 500_000


def test_what_templates_may_use(tokenizer: Tokenizer) -> None:
    source = """{%- for i in range(9) %}{% if i > 2 %}{% break %}{% endif %}{{ i }}{% endfor -%}
{{ "%s-%d" % ("a", 5) }} {{ "{}/{:>3}".format(1, 2) }} {{ ["b", "a"]|sort|join("+") }}
{{- [{"k": 1}, {"k": 2}]|join("~", attribute="k") }} {{ "x\ny"|indent(2) }} {{ 2 ** 10 }}
{{- ["é<"]|tojson }} {{ {"a": 1}|tojson(indent=1) }} {{ "a-b"|replace("-", "+") }} {{ none }}"""
    text = template_of(tokenizer, source).render([HELLO])
    assert text == '012a-5 1/  2 a+b1~2 x\n  y 1024["é<"] {\n "a": 1\n} a+b None'


def test_messages_must_be_plain_data(tokenizer: Tokenizer) -> None:
    ours = template_of(tokenizer, CHATML)
    with pytest.raises(InvalidRequest, match="at least one message"):
        ours.encode_chat([])
    with pytest.raises(InvalidRequest, match="message 1 is a str, not a mapping"):
        ours.encode_chat([HELLO, "hi"])  # type: ignore[list-item]
    with pytest.raises(InvalidRequest, match="holds a object; only text"):
        ours.render([{"role": "user", "content": object()}])
    calls = {"role": "assistant", "tool_calls": [1, 2]}
    with pytest.raises(InvalidRequest, match="refuses: one call at a time"):
        template_of(tokenizer, LLAMA3).render([HELLO, calls])
    with pytest.raises(InvalidRequest, match="cannot write these messages"):
        ours.render([{"role": "user", "content": ["a", "list"]}])


def test_the_caller_s_messages_are_left_alone(tokenizer: Tokenizer) -> None:
    messages = [{"role": "user", "content": "<|im_end|>", "parts": [{"a": "<s>"}]}]
    copy = json.loads(json.dumps(messages))
    template_of(tokenizer, CHATML).encode_chat(messages)
    assert messages == copy
