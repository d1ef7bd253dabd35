"""Learns how answers are chosen from documents: makes src/cabinos/answers/weights.json.

    python tools/learn_answers.py --data FOLDER

Questions are made from textbooks (OpenStax, CC BY): a span of a sentence is taken out, and the
question is what kind of thing it was, with a few words of the sentence, some of the paragraph, and
some that stand nowhere, since people ask in other words. Each is asked of a small library of
paragraphs, and once more after its own paragraph was removed. No set that is measured on is read.
"""

import argparse
import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cabinos.answers.extract import FEATURES, SURE, Candidate, confidence_of, features_of, rarity
from cabinos.answers.question import Kind, Question
from cabinos.answers.spans import Span, sentences, spans
from cabinos.drivers.ranking import STOP, best_for, stems
from cabinos.lab.evaluate.sets import read_set

OUT = Path(__file__).parent.parent / "src/cabinos/answers/weights.json"
LIBRARY, TOGETHER = 120, 5  # paragraphs of one library, and how many of them are neighbours
READ = 5  # passages that are looked into
NEGATIVES = 300  # candidates beside the right one that are learnt from
# A question has some ten words, half of them content (SQuAD: Rajpurkar et al. 2016). Each of these
# is taken from the sentence, the nearer to the answer the likelier; from the rest of the paragraph,
# which says what it is about; or it is a word that stands nowhere: said otherwise.
LENGTHS = (3, 4, 4, 5, 5, 6, 7)
PARTIAL = 0.08  # chance that a span may be the answer that is only part of its group
FROM_SENTENCE, FROM_PARAGRAPH = 0.6, 0.2
FALSE_CLAIMS = 0.07  # of unanswerable questions that may be answered; the goal is a tenth

Array = NDArray[np.float64]


class Library:
    """Paragraphs, with what is computed of them once."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.stems = [stems(text) for text in texts]
        self.rare, self.most = dict(rarity(self.stems)), math.log(1 + len(texts))

    def read(self, query: tuple[str, ...], without: int | None = None) -> list[int]:
        """The passages that are looked into, the best first."""
        texts = [[] if n == without else one for n, one in enumerate(self.stems)]
        return best_for(query, texts, READ)


@dataclass(frozen=True)
class Case:
    """A question, the library it is asked of, and where its answer stands."""

    question: Question
    library: Library
    gold: int
    span: Span


def paragraphs(folder: Path) -> list[list[str]]:
    """Paragraphs of each textbook, in order."""
    books = []
    for row in read_set(folder, "openstax"):
        lines = (" ".join(line.split()) for line in row["text"].split("\n"))
        good = [x for x in lines if 400 <= len(x) <= 1500 and x.endswith(".")]
        if len(good) > LIBRARY:
            books.append(good)
    return books


def cases(books: list[list[str]], count: int, rng: Random) -> Iterator[Case]:
    """Questions, several to a library."""
    made = 0
    while made < count:
        library: list[str] = []
        while len(library) < LIBRARY:
            book = rng.choice(books)
            at = rng.randrange(len(book) - TOGETHER)
            library += book[at : at + TOGETHER]
        shared = Library(library)
        for gold in rng.sample(range(LIBRARY), 30):
            asked = _asked(library[gold], rng)
            if asked is not None:
                yield Case(asked[0], shared, gold, asked[1])
                made += 1


def _asked(paragraph: str, rng: Random) -> tuple[Question, Span] | None:
    ordered = list(sentences(paragraph))
    sentence = rng.choice(ordered)
    if len(sentence.tokens) < 8:
        return None
    whole = [span for span in spans(sentence) if _whole(span) or rng.random() < PARTIAL]
    shapes = {span.shape for span in whole}
    if not shapes:
        return None
    shape = rng.choice(sorted(shapes))
    span = rng.choice([span for span in whole if span.shape == shape])
    kind, focus = _kind(span, rng)
    own = [
        (token.stem, 1 / (span.first - n if n < span.first else n - span.last + 1))
        for n, token in enumerate(sentence.tokens)
        if token.lower not in STOP and not span.first <= n < span.last
    ]
    rest = [t for other in ordered if other is not sentence for t in other.tokens]
    others = [t.stem for t in rest if t.lower not in STOP]
    words = _neighbours(span)  # of a part of a group, the rest is what is asked with
    own = [pair for pair in own if pair[0] not in words]
    for number in range(rng.choice(LENGTHS) - len(words)):
        draw = rng.random()
        if draw < FROM_SENTENCE and own:
            word, _ = rng.choices(own, [weight for _, weight in own])[0]
            own = [pair for pair in own if pair[0] != word]
        elif draw < FROM_SENTENCE + FROM_PARAGRAPH and others:
            word = rng.choice(others)
        else:
            word = f"☐{number}"
        words.append(word)
    if not any(word in sentence.stems for word in words):
        return None
    return Question("", kind, (*focus, *words), frozenset(focus)), span


def _neighbours(span: Span) -> list[str]:
    tokens = span.sentence.tokens
    beside = (*tokens[max(0, span.first - 1) : span.first], *tokens[span.last : span.last + 1])
    return [token.stem for token in beside if not token.plain]


def _whole(span: Span) -> bool:
    tokens = span.sentence.tokens
    begins = span.first == 0 or tokens[span.first - 1].plain
    return begins and (span.last == len(tokens) or tokens[span.last].plain)


def _kind(span: Span, rng: Random) -> tuple[Kind, tuple[str, ...]]:
    """How one would ask for it."""
    tokens = span.sentence.tokens
    before = tokens[span.first - 1].lower if span.first else ""
    after = tokens[span.last] if span.last < len(tokens) else None
    match span.shape:
        case "date":
            return "time", ()
        case "number":
            return "number", ((span.tokens[-1].stem,) if span.last - span.first > 1 else ())
        case "name":
            if before in ("in", "at", "from", "near", "to"):
                return "place", ()
            if before == "by" or (after is not None and re.search("ed$", after.lower)):
                return "person", ()
            return rng.choice(("name", "thing")), ()
    if before in ("because", "due"):
        return "reason", ()
    last = span.tokens[-1].stem
    return "thing", ((last,) if span.last - span.first > 1 and rng.random() < 0.4 else ())


def learn_choice(tables: list[tuple[Array, int]]) -> Array:
    """Weights of the conditional logit, by gradient ascent with a small ridge (Adam)."""
    w = np.zeros(len(FEATURES))
    m, v = np.zeros_like(w), np.zeros_like(w)
    rng = np.random.default_rng(0)
    step = 0
    for _ in range(30):
        for at in rng.permutation(len(tables)):
            table, gold = tables[at]
            scores = table @ w
            p = np.exp(scores - scores.max())
            p /= p.sum()
            gradient = table[gold] - p @ table - 1e-3 * w
            step += 1
            m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
            w += 0.01 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    return w


def learn_sure(rows: Array, right: Array) -> Array:
    """Weights of the logistic regression and its bias (last), by Newton's method."""
    x = np.hstack([rows, np.ones((len(rows), 1))])
    w = np.zeros(x.shape[1])
    for _ in range(25):
        p = 1 / (1 + np.exp(-(x @ w)))
        hessian = (x.T * (p * (1 - p))) @ x + 1e-2 * np.eye(len(w))
        w += np.linalg.solve(hessian, x.T @ (right - p) - 1e-2 * w)
    return w


@dataclass(frozen=True)
class Read:
    """What was read for a case: with its paragraph, and without it."""

    case: Case
    order: list[int]
    found: list[Candidate]
    table: Array
    gold: int | None  # the right candidate
    lone: Array  # the candidates of the other paragraphs


def read(case: Case) -> Read:
    """Reads for a case."""
    order = case.library.read(case.question.stems)
    found, table = _features(case, order)
    gold = next(
        (
            n
            for n, one in enumerate(found)
            if order[one.passage] == case.gold and one.span == case.span
        ),
        None,
    )
    _, lone = _features(case, case.library.read(case.question.stems, without=case.gold))
    return Read(case, order, found, table, gold, lone)


def judged(one: Read, w: Array) -> Iterator[tuple[Array, float, float, bool]]:
    """(what speaks for the choice, its sentence is right, it is exact, the answer was removed)."""
    if len(one.table):
        scores = one.table @ w
        at = int(scores.argmax())
        chosen, span = one.found[at], one.case.span
        right = one.order[chosen.passage] == one.case.gold and (
            chosen.span.sentence.start == span.sentence.start
        )
        yield confidence_of(one.table, scores, at), float(right), float(at == one.gold), False
    if len(one.lone):
        scores = one.lone @ w
        yield confidence_of(one.lone, scores, int(scores.argmax())), 0.0, 0.0, True


def main() -> None:
    """Learns, writes the weights, and prints how well they do on the made questions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with openstax.jsonl[.xz]")
    parser.add_argument("--cases", type=int, default=400)
    arguments = parser.parse_args()
    rng = Random(1)
    reads, tables = [], []
    for number, case in enumerate(list(cases(paragraphs(arguments.data), arguments.cases, rng))):
        one = read(case)
        reads.append(one)
        if one.gold is not None:
            kept = rng.sample(range(len(one.found)), min(NEGATIVES, len(one.found)))
            tables.append((one.table[[one.gold, *(n for n in kept if n != one.gold)]], 0))
        if number % 100 == 0:
            print(f"{number} read", file=sys.stderr)
    w = learn_choice(tables)
    rows, right, exact, removed = (
        np.array(column)
        for column in zip(*(row for one in reads for row in judged(one, w)), strict=True)
    )
    sure = learn_sure(rows, right)
    p = 1 / (1 + np.exp(-(rows @ sure[:-1] + sure[-1])))
    limit = float(np.quantile(p[removed], 1 - FALSE_CLAIMS))
    report = {
        "cases": len(reads),
        "recall@5": _share([one.case.gold in one.order for one in reads]),
        "sentence": _share(right[~removed]),
        "exact": _share(exact[~removed]),
        "answered": _share(p[~removed] >= limit),
        "right sentence of the answered": _share(right[~removed & (p >= limit)]),
        "false claims": FALSE_CLAIMS,
    }
    weights = {
        "made_by": f"python tools/learn_answers.py --data FOLDER --cases {arguments.cases}",
        "on_its_own_questions": report,
        "threshold": round(limit, 4),
        "choose": _named(FEATURES, w),
        "sure": _named((*SURE, "bias"), sure),
    }
    OUT.write_text(json.dumps(weights, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report))


def _share(values: Sequence[Any] | NDArray[Any]) -> float:
    return round(float(np.mean(values)), 3)


def _named(names: Sequence[str], values: Array) -> dict[str, float]:
    return dict(zip(names, (round(float(value), 4) for value in values), strict=True))


def _features(case: Case, order: list[int]) -> tuple[list[Candidate], Array]:
    texts = [case.library.texts[n] for n in order]
    return features_of(case.question, texts, case.library.rare, case.library.most)


if __name__ == "__main__":
    main()
