"""Notes for a query: those that hold its words, the best first, then some that mean the same.

The notes device, `cabin mem search` and MCP's `memory_search` all find notes by this.
"""

import re
from collections.abc import Sequence
from typing import Any

from cabinos.drivers.ranking import stems
from cabinos.drivers.recall import Recall

__all__ = ["MOST", "by_words", "match", "newest", "with_near"]

MOST = 5_000  # notes that are looked at for what they mean, the newest
NEAR = 3  # notes that share no word with the query
Row = tuple[Any, ...]


def match(query: str) -> str:
    """An FTS5 expression: any of the words, of which stop words count only where all are; or ""."""
    words = list(dict.fromkeys(re.findall(r"\w+", query)))
    content = [word for word in words if stems(word)]
    return " OR ".join(f'"{word}"' for word in content or words)


def by_words(columns: str, limit: int = -1) -> str:
    """The query, with a parameter for what `match` gives, for notes that hold the words."""
    return (
        f"SELECT {columns} FROM note_index JOIN note ON note.id = note_index.rowid "
        f"WHERE note_index MATCH ? ORDER BY note_index.rank, note.id DESC LIMIT {limit}"
    )


def newest(columns: str) -> str:
    """The query for the notes of which `with_near` is to find some."""
    return f"SELECT {columns} FROM note ORDER BY id DESC LIMIT {MOST}"


async def with_near(
    query: str, found: Sequence[Row], others: Sequence[Row], text_at: int, recall: Recall
) -> list[Row]:
    """What was found, and the NEAR of the others that mean the query most, if any do.

    A row is a note: its id comes first, its text stands at `text_at`.
    """
    near = await recall.rank(query, {row[0]: row[text_at] for row in others})
    rows = {row[0]: row for row in others}
    known = {row[0] for row in found}
    return [*found, *[rows[number] for number in near if number not in known][:NEAR]]
