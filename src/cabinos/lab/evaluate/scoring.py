"""Scores and their uncertainty. Pure functions, each with its source."""

import re
import string
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from math import sqrt

import numpy as np

__all__ = [
    "content_words",
    "declines",
    "exact_match",
    "has_numbers",
    "interval_of_mean",
    "normalised",
    "numbers",
    "token_f1",
    "wilson",
]

Z = 1.959963984540054  # the 97.5 % point of the normal distribution
RESAMPLES = 2000


# ---- Uncertainty ---------------------------------------------------------------------------------


def wilson(successes: float, n: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson 1927, eq. 4); (0, 1) of nothing.

    (p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n)
    """
    if n == 0:
        return 0.0, 1.0
    share, square = successes / n, Z * Z
    middle = share + square / (2 * n)
    half = Z * sqrt(share * (1 - share) / n + square / (4 * n * n))
    low, high = ((middle + sign * half) / (1 + square / n) for sign in (-1, 1))
    return max(0.0, low), min(1.0, high)


def interval_of_mean(
    values: Sequence[float], weights: Sequence[float] | None = None, *, seed: int = 0
) -> tuple[float, float]:
    """The 95 % interval of a weighted mean, by the percentile bootstrap (Efron 1979).

    Cases are drawn with replacement, each with its weight. The same for the same seed.
    """
    if not len(values):
        return 0.0, 0.0
    worth = np.asarray(values, np.float64)
    weight = np.ones(len(worth)) if weights is None else np.asarray(weights, np.float64)
    rng = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for n in range(RESAMPLES):
        drawn = rng.integers(0, len(worth), len(worth))
        means[n] = np.average(worth[drawn], weights=weight[drawn])
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


# ---- What an answer says -------------------------------------------------------------------------

# A minus belongs to a number where no number or word stands before it: "= -3", not "7-3".
NUMBER = re.compile(r"(?<![\w.,)])[-−](?=[\d.])\.?\d[\d,]*(?:\.\d+)?|(?:\d[\d,]*(?:\.\d+)?|\.\d+)")
# Words that carry nothing: an answer may do without them.
EMPTY = frozenset(
    "a about all an and are as at be been but by can could do does for from had has have he her "
    "here his i if in into is it its me my no not now of on or our out she so some that the their "
    "them then there these they this those to too was we were what when where which who will with "
    "would you your s".split()
)


def numbers(text: str) -> list[Decimal]:
    """The numbers in a text, in order; "1,200.50" is 1200.5."""
    found = []
    for match in NUMBER.findall(text):
        digits = match.replace(",", "").replace("−", "-")
        found.append(Decimal(digits).normalize() + 0)
    return found


def has_numbers(text: str, wanted: Sequence[Decimal]) -> bool:
    """Whether every one of the numbers is in the text."""
    return set(wanted) <= set(numbers(text))


def normalised(text: str) -> str:
    """As SQuAD compares answers: lower case, without punctuation, articles and extra blanks."""
    lower = text.lower()
    plain = "".join(ch for ch in lower if ch not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", plain).split())


def content_words(text: str) -> set[str]:
    """The words of a text, in lower case, without numbers and those that carry nothing."""
    return {word for word in re.findall(r"[^\W\d_]+", text.casefold()) if word not in EMPTY}


def exact_match(answer: str, golds: Sequence[str]) -> bool:
    """Whether the answer is one of the gold ones, normalised (Rajpurkar et al. 2016)."""
    return any(normalised(answer) == normalised(gold) for gold in golds)


def token_f1(answer: str, golds: Sequence[str]) -> float:
    """The best harmonic mean of precision and recall over words (arXiv:1606.05250, §6.1)."""
    return max((_f1(normalised(answer).split(), normalised(gold).split()) for gold in golds),
               default=0.0)  # fmt: skip


def _f1(said: list[str], gold: list[str]) -> float:
    common = (Counter(said) & Counter(gold)).total()
    if not common:
        return 0.0
    precision, recall = common / len(said), common / len(gold)
    return 2 * precision * recall / (precision + recall)


DECLINES = re.compile(
    r"\b(?:can(?:no|['’])t|can not|could(?:n['’]t| not)|wo(?:n['’]t)|will not|unable|not able|"
    r"not something (?:i|that)|(?:do(?:n['’]t| not)|did(?:n['’]t| not)) (?:know|have|do)|"
    r"(?:have|there is|is) no (?:way|tool|access|means)|no larger model|"
    r"not (?:possible|available|supported)|beyond (?:me|what)|outside (?:of )?what|"
    r"only (?:help|do)|sorry|afraid)\b",
    re.IGNORECASE,
)


def declines(text: str) -> bool:
    """Whether an answer says in words that what was asked cannot be done."""
    return DECLINES.search(text) is not None
