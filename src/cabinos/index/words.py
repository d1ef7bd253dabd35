"""The words of a query, as SQLite's full-text search is to look for them."""

import re
from collections.abc import Sequence

__all__ = ["MAX_WORDS", "match", "words_of"]

MAX_WORDS = 48  # of a query, the first ones: a pasted page is no query
WORD = re.compile(r"\w+")
# Words that are in most texts and say nothing of what one is about.
STOP = frozenset(
    "a about all an and any are as at be been but by can could did do does for from had has have "
    "he her him his how i if in into is it its me my no not of on or our out please she so tell "
    "than that the their them then there these they this to up us was we were what when where "
    "which who whom whose why will with would you your".split()
)


def words_of(query: str) -> list[str]:
    """Its words, each once, without those that say nothing unless there are no others."""
    words = list(dict.fromkeys(word.lower() for word in WORD.findall(query)))
    return ([word for word in words if word not in STOP] or words)[:MAX_WORDS]


def match(words: Sequence[str]) -> str:
    """An FTS5 expression: any of the words. Quoted, so that no word is an operator."""
    return " OR ".join(f'"{word}"' for word in words)
