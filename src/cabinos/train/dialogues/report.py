"""What a file of conversations holds: how much of each family, and how long it is."""

import json
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cabinos.train.errors import CorpusError

if TYPE_CHECKING:
    from jinja2 import Template
    from tokenizers import Tokenizer

    from cabinos.engine.template_sandbox import ChatEnvironment

__all__ = ["rendered", "report"]


def report(path: Path, tokenizer: Path | None = None) -> dict[str, Any]:
    """Rows, templates, and means of turns, calls and (with a tokenizer.json) tokens, by family.

    Raises CorpusError if `path` cannot be read, or holds no rows.
    """
    from cabinos.train.tokenizer import open_tokenizer

    encode = open_tokenizer(tokenizer) if tokenizer is not None else None
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    templates: dict[str, set[str]] = defaultdict(set)
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                roles = Counter(message["role"] for message in row["messages"])
                for name in (row["family"], "all"):
                    templates[name].add(row["template"])
                    counts[name] += Counter(rows=1, turns=roles["user"], calls=roles["tool"])
                    counts[name]["tokens"] += _tokens(row, encode)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{path}: no file of conversations ({error}).") from None
    if not counts:
        raise CorpusError(f"{path}: there are no conversations in it.")
    order = sorted(counts, key=lambda name: (name == "all", name))
    return {
        "families": [
            {"family": name, "rows": counts[name]["rows"], "templates": len(templates[name])}
            | {
                key: counts[name][key] / counts[name]["rows"]
                for key in ("turns", "calls", "tokens")
            }
            for name in order
        ]
    }


def _tokens(row: dict[str, Any], tokenizer: "Tokenizer | None") -> int:
    return len(tokenizer.encode(rendered(row)).ids) if tokenizer is not None else 0


def rendered(row: dict[str, Any]) -> str:
    """The text of a row by the chat template."""
    environment, template = _template()
    return environment.render(template, {"messages": row["messages"], "tools": row["tools"]})


@cache
def _template() -> "tuple[ChatEnvironment, Template]":
    from cabinos.engine.template_sandbox import ChatEnvironment
    from cabinos.train.tokenizer import CHAT_TEMPLATE

    environment = ChatEnvironment()
    return environment, environment.load(CHAT_TEMPLATE)
