"""The rows of the sets that models are measured on, from the files of their authors.

Of two sets only one half is taken, by a hash of what names a row: the other half stays unseen, so
that whoever wants to check a score without anything having been tuned to it can do so.
"""

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["READERS"]

Row = dict[str, Any]


def _is_taken(name: str) -> bool:
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2 == 0


def _intents(_path: str, text: str) -> Iterator[Row]:
    """CLINC150's validation part, and its requests that fit none of the intents."""
    sets = json.loads(text)
    for request, intent in (*sets["val"], *sets["oos_val"]):
        yield {"text": request, "intent": intent}


def _questions(_path: str, text: str) -> Iterator[Row]:
    """XQuAD's English part, half of its articles."""
    for article in json.loads(text)["data"]:
        if not _is_taken(article["title"]):
            continue
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                yield {
                    "title": article["title"],
                    "context": paragraph["context"],
                    "question": question["question"],
                    "answers": [answer["text"] for answer in question["answers"]],
                }


def _functions(path: str, text: str) -> Iterator[Row]:
    """The Berkeley function-calling leaderboard, half of its cases, with what counts as right."""
    for row in _lines(text):
        if _is_taken(row["id"]):
            yield {"file": path, **row}


def _pairs(path: str, text: str) -> Iterator[Row]:
    """BLiMP: a sentence and one that differs from it in being wrong."""
    for row in _lines(text):
        kept = {key: row[key] for key in ("sentence_good", "sentence_bad")}
        yield {"set": path, **kept}


def _questions_to_chat(path: str, text: str) -> Iterator[Row]:
    """MT-bench and Vicuna-bench: what is asked, turn by turn."""
    for row in _lines(text):
        yield {"file": path, **row}


def _runs(_path: str, text: str) -> Iterator[Row]:
    """Training runs, a line each, with the names of the table's columns."""
    yield from csv.DictReader(text.splitlines())


def _lines(text: str) -> Iterator[Row]:
    yield from (json.loads(line) for line in text.split("\n") if line.strip())


READERS: dict[str, Callable[[str, str], Iterator[Row]]] = {
    "clinc_val": _intents,
    "xquad_en_a": _questions,
    "bfcl_a": _functions,
    "blimp": _pairs,
    "arena_prompts": _questions_to_chat,
    "chinchilla_runs": _runs,
}
"""By the name of the set: from the path and the text of a file to rows."""
