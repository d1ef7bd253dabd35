"""Texts by their words: light stems, stop words, and Okapi BM25.

BM25 as in Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009), with their usual
k1 and b.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

__all__ = ["best", "best_for", "stem", "stems"]

K1, B = 1.2, 0.75
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
STOP = frozenset(
    "a about all an and any are as at be been but by can could did do does for from had has have "
    "he her his how i if in into is it its me my no not of on or our out please she so tell than "
    "that the their them then there these they this to up us was we were what what's when where "
    "which who why will with would you your".split()
)
# The first that fits is taken off, where enough of the word is left.
ENDINGS = (
    *(("ational", "ate"), ("ization", "ize"), ("fulness", "ful"), ("iveness", "ive")),
    *(("ations", "ate"), ("ation", "ate"), ("sses", "ss"), ("ies", "y"), ("ied", "y")),
    *(("ingly", ""), ("edly", ""), ("ing", ""), ("ed", ""), ("ly", ""), ("'s", ""), ("es", "")),
    *(("s", ""), ("e", ""), ("y", "i")),
)
KEPT = ("ss", "us", "is")  # endings in which the s belongs to the word


@lru_cache(maxsize=16_384)
def stem(word: str) -> str:
    """A word without what declension added, roughly: `opened`, `opens`, `opening` are one."""
    for ending, instead in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            if ending == "s" and word.endswith(KEPT):
                continue
            word = word[: -len(ending)] + instead
            if ending in ("ing", "ed") and len(word) > 3 and word[-1] == word[-2] not in "lsz":
                word = word[:-1]  # planned, plan
            break
    word = word.removesuffix("e") if len(word) > 3 else word
    return word[:-1] + "i" if len(word) > 2 and word.endswith("y") else word


def stems(text: str) -> list[str]:
    """The stems of a text's words in order, without stop words."""
    found = (word.lower() for word in WORD.findall(text.replace("\u2019", "'")))
    return [stem(word) for word in found if word not in STOP]


def best(query: str, texts: Sequence[Sequence[str]], limit: int) -> list[int]:
    """The positions of the texts (as stems) that say most about the query, the best first.

    Texts that share no word with it are left out.
    """
    return best_for(stems(query), texts, limit)


def best_for(query: Iterable[str], texts: Sequence[Sequence[str]], limit: int) -> list[int]:
    """`best` for a query whose words are stems already."""
    wanted = Counter(query)
    lengths = [len(text) for text in texts]
    average = sum(lengths) / len(lengths) if lengths else 1.0
    counts = [Counter(word for word in text if word in wanted) for text in texts]
    scores = [0.0] * len(texts)
    for word, times in wanted.items():
        holding = sum(word in count for count in counts)
        rarity = math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
        for at, count in enumerate(counts):
            if frequency := count[word]:
                norm = K1 * (1 - B + B * lengths[at] / max(average, 1.0))
                scores[at] += times * rarity * frequency * (K1 + 1) / (frequency + norm)
    order = sorted(range(len(texts)), key=lambda at: (-scores[at], at))
    return [at for at in order[:limit] if scores[at] > 0]
