"""What the contestants are asked: prompts of one turn or of several.

A file has a line for each: {"turns": ["…", "…"]} or {"prompt": "…"}, with an "id" and a "category"
at will, and a "check" where it can be verified what is right:

    {"prompt": "What is 12 * 12?", "check": {"numbers": ["144"]}}
    {"prompt": "Capital of France?", "check": {"one_of": ["Paris"]}}
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from cabinos.lab.arena.errors import ArenaError
from cabinos.lab.evaluate.scoring import has_numbers, normalised

__all__ = ["Prompt", "is_right", "prompts_of", "read_prompts"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt; a further turn is said after the answer to the one before."""

    id: str
    turns: tuple[str, ...]
    category: str = ""
    check: Mapping[str, Any] | None = None


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a file. Raises ArenaError, naming the line, and OSError."""
    prompts, number = [], 0
    try:
        for number, line in enumerate(path.read_bytes().decode("utf-8").split("\n"), 1):
            if line.strip():
                prompts.append(_prompt(json.loads(line), str(number)))
    except UnicodeDecodeError as error:
        wrong = f"not UTF-8 ({error.reason} at byte {error.start})"
        raise ArenaError(f"{path}: {wrong}.") from None
    except (ValueError, TypeError) as error:
        raise ArenaError(f"{path}, line {number}: {error}.") from None
    if not prompts:
        raise ArenaError(f"{path}: holds no prompts.")
    return prompts


def prompts_of(rows: list[dict[str, Any]]) -> list[Prompt]:
    """The rows of the set `arena_prompts`, which name their turns and their category."""
    return [_prompt({**row, "id": str(row["question_id"])}, "") for row in rows]


def _prompt(row: Any, name: str) -> Prompt:
    if not isinstance(row, dict):
        raise TypeError("not a JSON object")
    turns = row.get("turns", [row.get("prompt")])
    if not isinstance(turns, list) or not turns or not all(isinstance(t, str) for t in turns):
        raise TypeError('neither a "prompt" (a text) nor "turns" (a list of texts)')
    check = row.get("check")
    if check is not None:
        _verify_check(check)
    name = str(row.get("id", name))
    category = str(row.get("category", ""))
    told = hashlib.sha256(json.dumps([turns, check]).encode()).hexdigest()[:8]
    return Prompt("-".join(filter(None, (category, name, told))), tuple(turns), category, check)


def _verify_check(check: Any) -> None:
    kinds = {"numbers", "one_of"}
    if not isinstance(check, dict) or not check or not check.keys() <= kinds:
        raise ValueError('a "check" has "numbers" or "one_of"')
    for values in check.values():
        if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
            raise ValueError('what a "check" has must be a list of texts')
    try:
        [Decimal(value) for value in check.get("numbers", ())]
    except InvalidOperation:
        raise ValueError('"numbers" must be numbers, written as texts') from None


def is_right(check: Mapping[str, Any], answer: str) -> bool:
    """Whether an answer has every number, and one of the texts in any case."""
    if not has_numbers(
        answer, [Decimal(value).normalize() + 0 for value in check.get("numbers", ())]
    ):
        return False
    texts = check.get("one_of")
    said = f" {normalised(answer)} "
    return not texts or any(f" {normalised(text)} " in said for text in texts)
