"""Byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909) trained with Hugging Face `tokenizers`.

Digits stand alone, so that numbers are read, computed with and copied digit by digit. Every byte
is a token, so any text survives a round trip. The tokens of ChatML and of Hermes' tool calls are
single tokens with the lowest ids; the rest of that block is in reserve.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cabinos.train.errors import CorpusError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = [
    "CHAT_TEMPLATE",
    "END_OF_TEXT",
    "SPECIAL",
    "TOOLS_SHOWN",
    "encoder",
    "open_tokenizer",
    "train",
]

VOCABULARY = 8192
END_OF_TEXT = "<|endoftext|>"  # between documents; also what a text begins with
CONTROL = (END_OF_TEXT, "<|im_start|>", "<|im_end|>")  # never part of what a model says
TAGS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")  # part of it
RESERVED = tuple(f"<|reserved_{n}|>" for n in range(32 - len(CONTROL) - len(TAGS)))
SPECIAL = CONTROL + TAGS + RESERVED

TOOLS_SHOWN = 4  # at most, to the assistant that conversations are made for

CHAT_TEMPLATE = """\
{%- if tools %}
{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{% endif %}
{{- 'Tools:' }}
{%- for tool in tools %}
{%- set tool = tool.function or tool %}
{%- set schema = tool.parameters or {} %}
{{- '\\n' + tool.name + '(' }}
{%- for name, value in (schema.properties or {}).items() %}
{{- name + ('' if name in (schema.required or []) else '?') }}
{%- if value.enum %}{{- '=' + value.enum | join('|') }}{% endif %}
{%- if not loop.last %}{{- ', ' }}{% endif %}
{%- endfor %}
{%- set text = (tool.description or '').split('. ')[0].split(', ')[0].split(': ')[0] %}
{%- set text = text.split()[:8] | join(' ') %}
{{- ')' }}{%- if text %}{{- ': ' + text + ('' if text.endswith('.') else '.') }}{% endif %}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'tool' %}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{% endif %}
{{- '\\n<tool_response>\\n' + message.content[:120] + '\\n</tool_response>' }}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\\n' }}{% endif %}
{%- elif message.role == 'assistant' %}
{{- '<|im_start|>assistant\\n' }}
{%- set after = not loop.first and messages[loop.index0 - 1].role == 'tool' %}
{%- set tells = after and not message.tool_calls %}
{{- '<tool_response>' if tells else (message.content or '') }}
{%- for call in message.tool_calls or [] %}
{%- set call = call.function or call %}
{%- if message.content or not loop.first %}{{- '\\n' }}{% endif %}
{{- '<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}
{{- call.arguments if call.arguments is string else call.arguments | tojson }}
{{- '}\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- elif message.role != 'system' or not loop.first %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}
"""
"""ChatML with Hermes tags; what stands between tags is what the engine's grammar can constrain.

A tool is one line, since a small model reads few tokens well: its parameters (a question mark where
one may be left out, the values of an enumeration) and how its description begins. Of a result it
reads the beginning, enough to see whether another call is needed.
An answer that follows a tool's result is one token that stands for it: the kernel lets the tool say
it, word for word (`cabinos.drivers.model.telling`).
"""


def train(texts: Iterable[str], vocabulary: int = VOCABULARY) -> "Tokenizer":
    """A tokenizer of at most `vocabulary` tokens, the special ones included."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    # Known to llama.cpp and the engine by the name "smollm". No Unicode normalisation: lossless.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[AddedToken(t, special=t not in TAGS, normalized=False) for t in SPECIAL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # The trainer marks every special token as control; tags are part of what a model says.
    described = json.loads(tokenizer.to_str())
    for token in described["added_tokens"]:
        token["special"] = token["content"] not in TAGS
    return Tokenizer.from_str(json.dumps(described))


def sample(
    texts: Sequence[tuple[float, Iterable[str]]], size: int, piece: int = 4096
) -> Iterator[str]:
    """About `size` characters, in the shares given: the beginning of every document.

    A tokenizer learns from frequencies, so it should see the mixture that the model will see.
    """
    total = sum(share for share, _ in texts)
    for share, domain in texts:
        left = size * share / total
        for text in domain:
            if left <= 0:
                break
            part = text[: max(piece, len(text) // 16)]
            left -= len(part)
            yield part


def open_tokenizer(path: Path) -> "Tokenizer":
    """Read a tokenizer.json. Raises CorpusError if it is missing or damaged."""
    from tokenizers import Tokenizer

    if not path.is_file():
        raise CorpusError(f"{path}: not there yet. Make it first: cabin data get.")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 (the library has no narrower type)
        raise CorpusError(f"{path}: not a tokenizer ({error}).") from None


def encoder(tokenizer: "Tokenizer") -> "Tokenizer":
    """The same tokenizer for plain text: what looks like a special token is text."""
    from tokenizers import Tokenizer, models

    described = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(merge) for merge in described["merges"]]
    plain = Tokenizer(models.BPE(described["vocab"], merges))
    plain.pre_tokenizer = tokenizer.pre_tokenizer
    plain.decoder = tokenizer.decoder
    return plain
