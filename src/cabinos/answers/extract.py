"""The span of some passages that best answers a question, with how sure that is.

Each candidate gets features that speak of its sentence (which of the question's words are there,
weighed by how rare they are) and of itself (does it look like what was asked for, how near does it
stand to those words). A conditional logit over all candidates of a question chooses:

    P(span) = exp(w · f(span)) / Σ exp(w · f(other))

and a logistic regression of how well the best one fits says whether it answers at all. Weights and
threshold are in `weights.json`, with the command that made them: they were learnt on questions made
from textbooks, and on no set that is measured on.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cabinos.answers.question import KINDS, Question
from cabinos.answers.spans import Sentence, Span, Token, sentences, spans
from cabinos.drivers.ranking import STOP

__all__ = ["FEATURES", "Found", "confidence_of", "extract", "features_of", "rarity", "threshold"]

SHAPES = ("date", "number", "name", "common")
IN = frozenset("in on during since by before after around until".split())
AT = frozenset("in at from near to of across".split())
BY = frozenset("by from with named called".split())
FOR = frozenset("because due to by for".split())
FEATURES = (
    "covered",  # share of the question's rarity that the sentence has
    "beside",  # … that the sentences before and after have, and this one has not
    "elsewhere",  # … that only the rest of the passage has
    "pairs",  # share of the question's neighbours that are neighbours in the sentence
    "rank",  # of the passage: 1, 1/2, 1/3 …
    "asked",  # share of the span's words that the question has itself
    "near",  # mean closeness of the question's words in the sentence to the span
    "nearest",  # closeness of the nearest
    "focus",  # what the answer is called stands in the span, or next to it
    "whole",  # the span reaches from one border of its group to the other
    "begins",  # it begins at one
    "ends",  # it ends at one
    "length",  # in words, logarithmic
    "preposition",  # the word before it is one that such answers follow
    "late",  # it stands behind the question's words
    "rare",  # how rare the span's own words are
    *(f"{kind}:{shape}" for kind in KINDS for shape in SHAPES),
)
# (kind, shape) → the features that say so, of which one is 1.
SHAPE_OF_KIND = {
    (kind, shape): tuple(float((kind, shape) == (other, one)) for other in KINDS for one in SHAPES)
    for kind in KINDS
    for shape in SHAPES
}
SURE = ("covered", "beside", "elsewhere", "pairs", "near", "nearest", "fits", "lead", "missing")
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Found:
    """An answer, and the sentence that says it."""

    text: str
    sentence: str
    passage: int  # its position among those given
    confidence: float  # that it answers the question, from 0 to 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A span of a passage."""

    span: Span
    passage: int


def rarity(passages: Sequence[Sequence[str]]) -> Mapping[str, float]:
    """ln(1 + N/n) of each stem that n of the N passages (as stems) hold."""
    counts = Counter(word for words in passages for word in set(words))
    return {word: math.log(1 + len(passages) / n) for word, n in counts.items()}


def extract(
    question: Question, passages: Sequence[str], rare: Mapping[str, float], most: float
) -> Found | None:
    """The best span of the passages (the best first); None if they hold nothing to choose from.

    `rare`: how rare each stem is in the whole collection; `most` is that of an unknown one.
    """
    found, table = features_of(question, passages, rare, most)
    if not found:
        return None
    learnt = _weights()
    scores = table @ np.array([learnt["choose"][name] for name in FEATURES])
    best = int(scores.argmax())
    chosen = found[best]
    sure = confidence_of(table, scores, best)
    logit = learnt["sure"]["bias"] + float(sure @ [learnt["sure"][name] for name in SURE])
    confidence = 1 / (1 + math.exp(-max(-50.0, min(50.0, logit))))
    sentence = chosen.span.sentence.text
    text = sentence if question.whole else chosen.span.text
    return Found(text, sentence, chosen.passage, confidence)


def threshold() -> float:
    """The confidence from which on an answer is given."""
    return float(_weights()["threshold"])


@cache
def _weights() -> Mapping[str, Any]:
    text = files("cabinos.answers").joinpath("weights.json").read_text(encoding="utf-8")
    learnt: Mapping[str, Any] = json.loads(text)
    return learnt


def confidence_of(table: Array, scores: Array, best: int) -> Array:
    """What speaks for the best candidate's being an answer: the columns of SURE."""
    row = dict(zip(FEATURES, table[best], strict=True))
    fits = sum(value for name, value in row.items() if ":" in name and _fits(name))
    others = np.abs(table[:, 0] - row["covered"]) > 1e-9  # of other sentences
    lead = scores[best] - scores[others].max() if others.any() else 1.0
    missing = 1.0 - row["covered"] - row["beside"] - row["elsewhere"]
    given = {**row, "fits": fits, "lead": float(np.tanh(lead)), "missing": missing}
    return np.array([given[name] for name in SURE])


def _fits(name: str) -> bool:
    """Whether a kind of question and a shape of answer go together."""
    kind, _, shape = name.partition(":")
    wanted = {"time": ("date",), "number": ("number", "date"), "person": ("name",)}
    wanted |= {"place": ("name",), "name": ("name",)}
    return shape in wanted.get(kind, SHAPES)


def features_of(
    question: Question, passages: Sequence[str], rare: Mapping[str, float], most: float
) -> tuple[list[Candidate], Array]:
    """The candidates, and a table of their features: (candidates, len(FEATURES))."""
    asked = Counter(question.stems)
    weight = {word: rare.get(word, most) for word in asked}
    total = sum(weight.values()) or 1.0
    found: list[Candidate] = []
    rows: list[list[float]] = []
    for at, passage in enumerate(passages):
        ordered = list(sentences(passage))
        everywhere = frozenset().union(*(one.stems for one in ordered)) if ordered else frozenset()
        for number, sentence in enumerate(ordered):
            around = frozenset[str]().union(
                *(one.stems for one in (*ordered[max(0, number - 1) : number],
                                        *ordered[number + 1 : number + 2]))
            )  # fmt: skip
            covered = sum(w for word, w in weight.items() if word in sentence.stems) / total
            beside = sum(
                w for word, w in weight.items() if word in around and word not in sentence.stems
            )
            rest = everywhere - around - sentence.stems
            elsewhere = sum(w for word, w in weight.items() if word in rest)
            shared = [covered, beside / total, elsewhere / total, _pairs(question, sentence)]
            shared.append(1 / (at + 1))
            hits = [
                (n, weight[token.stem])
                for n, token in enumerate(sentence.tokens)
                if token.stem in weight and token.lower not in STOP
            ]
            for span in spans(sentence):
                found.append(Candidate(span, at))
                rows.append(shared + _of_span(question, span, hits, rare, most))
    return found, np.array(rows, np.float64).reshape(len(rows), len(FEATURES))


def _pairs(question: Question, sentence: Sentence) -> float:
    """The share of the question's neighbouring content words that are neighbours there."""
    content = [token.stem for token in sentence.tokens if token.lower not in STOP]
    there = set(pairwise(content))
    asked = list(pairwise(question.stems))
    return sum(pair in there for pair in asked) / len(asked) if asked else 0.0


def _of_span(
    question: Question,
    span: Span,
    hits: Sequence[tuple[int, float]],
    rare: Mapping[str, float],
    most: float,
) -> list[float]:
    tokens, first, last = span.sentence.tokens, span.first, span.last
    content = [token.stem for token in span.tokens if token.lower not in STOP]
    asked = sum(s in question.stems for s in content) / max(1, len(content))
    outside = [(first - n if n < first else n - last + 1, n, w) for n, w in hits
               if not first <= n < last]  # fmt: skip
    mass = sum(w for *_, w in outside) or 1.0
    near = sum(w / distance for distance, _, w in outside) / mass
    nearest = max((1 / distance for distance, _, w in outside), default=0.0)
    late = sum(w for _, n, w in outside if n < first) / mass
    focus = 0.0
    if question.focus:
        reach = tokens[max(0, first - 1) : last + 1]
        focus = float(any(token.stem in question.focus for token in reach))
    begins = first == 0 or _parts(question, tokens[first - 1]) or _gap(span.sentence, first)
    ends = last == len(tokens) or _parts(question, tokens[last]) or _gap(span.sentence, last)
    before = tokens[first - 1].lower if first else ""
    if before in ("the", "a", "an") and first > 1:
        before = tokens[first - 2].lower
    leads = {"time": IN, "place": AT, "person": BY, "reason": FOR}.get(question.kind, frozenset())
    own = [rare.get(s, most) for s in content if s not in question.stems]
    return [
        asked,
        near,
        nearest,
        focus,
        float(begins and ends),
        float(begins),
        float(ends),
        math.log(last - first),
        float(before in leads),
        late,
        sum(own) / len(own) / most if own else 0.0,
        *SHAPE_OF_KIND[question.kind, span.shape],
    ]


def _parts(question: Question, neighbour: Token) -> bool:
    """Whether a group ends at a word: it is a function word, or one that is asked with."""
    return neighbour.plain or neighbour.stem in question.stems


def _gap(sentence: Sentence, at: int) -> bool:
    """Whether something else than space stands before a word."""
    before, after = sentence.tokens[at - 1], sentence.tokens[at]
    return bool(sentence.text[before.end : after.start].strip())
