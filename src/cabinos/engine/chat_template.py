"""Chats as the text and tokens a model was trained on, by the template in its GGUF file.

A chat is a list of messages, dictionaries with "role", "content" and what else the template reads
("tool_calls", "reasoning_content"…). The template writes them out between markup like
`<|im_start|>`. The markup has authority: whoever can write it can end their turn and speak as the
system. So `encode` makes tokens of the template's markup only, never of markup in a message:

Wherever a message's text names a special token, a mark is put inside that name, and one after a
text that ends in the beginning of such a name, since the template could put the rest behind it.
After rendering, the marked names no longer match; then the marks are removed, and each stretch
between two special tokens is encoded as one plain text. So a chat without such names encodes
exactly as in transformers, and in one with them each name becomes ordinary text in its place, with
nothing else changed: no borders are drawn around contents, and templates may still trim them.

Two limits. A template that rewrites contents (say, to upper case) could still make markup of them.
And templates look into what an assistant said, for `</think>` and the like; so there, except in
its calls of tools, only control tokens are neutralised and user-defined ones stay what they are.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from os import PathLike
from typing import TYPE_CHECKING, Any, Self

from cabinos.engine.errors import InvalidRequest, ModelFileError
from cabinos.engine.gguf import GGUFFile, read_gguf
from cabinos.engine.tokenizer import Tokenizer

if TYPE_CHECKING:
    from jinja2 import Template

    from cabinos.engine.template_sandbox import ChatEnvironment

Message = Mapping[str, Any]

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""What a file without a template gets; the tokens' names are as good as any to a base model."""

MAX_TEMPLATE = 1 << 20  # characters; the longest in use have 2**14

MARK = "\ufdd0"  # a code point that Unicode reserves for a program's own use, never for text
IDENTIFIER_KEYS = ("role", "type")  # whose values templates compare with words of their own


class ChatTemplate:
    """The chat template, or the named ones, of one model. Safe to use from several threads."""

    def __init__(self, templates: Mapping[str, str], tokenizer: Tokenizer, source: str) -> None:
        """`templates` by name; "default" is required. `source` is named in messages of errors."""
        self.templates = dict(templates)
        self._tokenizer = tokenizer
        self._source = source
        names = tokenizer.special_tokens
        markup = [t for t in names if len(t) > 1 and not t.isspace()]
        self._markup = _Markup(markup)
        self._control = _Markup([t for t in markup if names[t] in tokenizer.special_ids])

    @classmethod
    def from_gguf(
        cls, source: "str | PathLike[str] | GGUFFile", tokenizer: Tokenizer | None = None
    ) -> Self:
        """The templates of a GGUF file; ChatML if it has none. `tokenizer` saves building it again.

        Raises ModelFileError if the file or its template is damaged.
        """
        file = source if isinstance(source, GGUFFile) else read_gguf(source)
        prefix = "tokenizer.chat_template"
        found = {key: text for key, text in file.metadata.items() if key.startswith(prefix)}
        templates = {
            key.removeprefix(prefix).lstrip(".") or "default": text
            for key, text in found.items()
            if key != f"{prefix}s" and isinstance(text, str)
        }
        templates.setdefault("default", CHATML)
        return cls(templates, tokenizer or Tokenizer.from_gguf(file), str(file.path))

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        template: str | None = None,
        **variables: Any,
    ) -> str:
        """The chat as text, as transformers' `apply_chat_template(tokenize=False)`.

        `template` names one of several; by default it is "tool_use" if there are tools and such a
        one, else "default". `variables` go to the template, such as `enable_thinking=False`.

        Raises InvalidRequest if the messages are not what the template takes, ModelFileError if the
        template is broken, or does not end.
        """
        name = template or ("tool_use" if tools and "tool_use" in self.templates else "default")
        if name not in self.templates:
            there = ", ".join(sorted(self.templates))
            raise InvalidRequest(f"there is no chat template {name!r}; there are {there}.")
        tokenizer = self._tokenizer
        special = {"bos_token": tokenizer.bos_id, "eos_token": tokenizer.eos_id}
        values: dict[str, Any] = {
            key: tokenizer.token_bytes(token).decode(errors="replace")
            for key, token in special.items()
            if token is not None
        }
        values |= variables
        # To templates, a message's None is a missing value, as in the APIs messages come from.
        values["messages"] = [
            {k: _plain(v) for k, v in message.items() if v is not None}
            for message in _checked(messages)
        ]
        values["tools"] = _plain(tools)
        values["documents"] = _plain(documents)
        values["add_generation_prompt"] = add_generation_prompt
        return self._run(name, values)

    def encode_chat(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> list[int]:
        """The chat as tokens; markup in messages, tools and documents is ordinary text.

        Takes and raises what `render` does. BOS is there if the template writes it.
        """
        text = self.render(
            [self._marked_message(message) for message in _checked(messages)],
            tools=self._marked(tools, self._markup),
            documents=self._marked(documents, self._markup),
            **options,
        )
        ids: list[int] = []
        for part in self._tokenizer.split_special(text):
            if isinstance(part, int):
                ids.append(part)
            else:
                ids += self._tokenizer.encode(part.replace(MARK, ""), add_special=False)
        return ids

    def _marked_message(self, message: Message) -> Message:
        if message.get("role") != "assistant":
            return self._marked(message, self._markup)  # type: ignore[no-any-return]
        said = {key: value for key, value in message.items() if key != "tool_calls"}
        marked: dict[str, Any] = self._marked(said, self._control)
        if "tool_calls" in message:
            marked["tool_calls"] = self._marked(message["tool_calls"], self._markup)
        return marked

    def _marked(self, value: Any, markup: "_Markup") -> Any:
        if isinstance(value, str):
            return markup.mark(value)
        if isinstance(value, Mapping):
            return {
                _marked_key(key, markup): item
                if key in IDENTIFIER_KEYS and isinstance(item, str) and item.isidentifier()
                else self._marked(item, markup)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self._marked(item, markup) for item in value]
        return value

    def _run(self, name: str, values: dict[str, Any]) -> str:
        from jinja2 import TemplateError, TemplateSyntaxError
        from jinja2.exceptions import SecurityError

        from cabinos.engine.template_sandbox import TemplateLimit

        try:
            environment, template = _load(self.templates[name])
            return environment.render(template, values)
        except (TemplateSyntaxError, SecurityError, TemplateLimit) as error:
            raise ModelFileError(
                f"{self._source}: the chat template {name!r} cannot be used: {error}. "
                "Give another template, or messages as plain text."
            ) from None
        except TemplateError as error:  # its own raise_exception, or a value it misses
            raise InvalidRequest(f"the chat template {name!r} refuses: {error}") from None
        except Exception as error:  # noqa: BLE001 (a template can raise whatever Python does)
            raise InvalidRequest(
                f"the chat template {name!r} cannot write these messages: {error}"
            ) from None


@lru_cache(maxsize=16)
def _load(source: str) -> "tuple[ChatEnvironment, Template]":
    from cabinos.engine.template_sandbox import ChatEnvironment, TemplateLimit

    if len(source) > MAX_TEMPLATE:
        raise TemplateLimit(f"it has {len(source):,} characters, more than {MAX_TEMPLATE:,}")
    environment = ChatEnvironment()
    return environment, environment.load(source)


def _checked(messages: Sequence[Message]) -> Sequence[Message]:
    if not messages:
        raise InvalidRequest("a chat needs at least one message.")
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise InvalidRequest(f"message {number} is a {type(message).__name__}, not a mapping.")
    return messages


def _plain(value: Any) -> Any:
    """A copy of `value` out of plain data, so that a template meets no object's methods."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise InvalidRequest(
        f"a message holds a {type(value).__name__}; only text, numbers, lists and dictionaries can "
        "go into a chat template."
    )


def _marked_key(key: Any, markup: "_Markup") -> Any:
    """Templates read keys by name; none of these names is markup."""
    return markup.mark(key) if isinstance(key, str) and not key.isidentifier() else key


class _Markup:
    """The names of some special tokens, and how to break them."""

    def __init__(self, names: Sequence[str]) -> None:
        rests: dict[str, list[str]] = {}
        for name in names:
            rests.setdefault(name[0], []).append(re.escape(name[1:]))
        # The first character of a name, wherever one starts, even inside another.
        starts = [f"{re.escape(first)}(?={'|'.join(rest)})" for first, rest in rests.items()]
        self._first = re.compile("|".join(starts) or "(?!)")
        self._beginnings = {name[:n] for name in names for n in range(1, len(name))}
        self._longest = max(map(len, names), default=1) - 1

    def mark(self, text: str) -> str:
        """`text` with a MARK in each of the names, and after the beginning of one at its end."""
        text = text.replace(MARK, "")
        core = text.rstrip()
        if any(core[-n:] in self._beginnings for n in range(1, min(self._longest, len(core)) + 1)):
            text = core + MARK + text[len(core) :]
        return self._first.sub(rf"\g<0>{MARK}", text)
