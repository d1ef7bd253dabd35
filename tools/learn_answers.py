"""Learns how answers are chosen from documents: makes src/cabinos/answers/weights.json.

    python tools/learn_answers.py --data FOLDER

Questions are made from textbooks (OpenStax, CC BY): a span of a sentence is taken out, and the
question is what kind of thing it was, with a few words of the sentence, some of the paragraph, and
some that stand nowhere, since people ask in other words. Each is asked of a small library of paragraphs, and once more after its own paragraph was removed.
No set that is measured on is read.
"""

import argparse
import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

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
# A question has some ten words, half of them content (SQuAD: Rajpurkar et al. 2016). Each of these is
# taken from the sentence, the nearer to the answer the likelier; from the rest of the paragraph,
# which says what it is about; or it is a word that stands nowhere: said otherwise.
LENGTHS = (3, 4, 4, 5, 5, 6, 7)
FROM_SENTENCE, FROM_PARAGRAPH = 0.6, 0.2
FALSE_CLAIMS = 0.07  # of unanswerable questions that may be answered; the goal is a tenth

Array = NDArray[np.float64]


class Library:
    """Paragraphs, with what is computed of them once."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.stems = [stems(text) for text in texts]
        self.rare, self.most = dict(rarity(texts)), math.log(1 + len(texts))

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
    whole = [span for span in spans(sentence) if _whole(span)]
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
    words = []
    for number in range(rng.choice(LENGTHS)):
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with openstax.jsonl[.xz]")
    parser.add_argument("--cases", type=int, default=1200)
    arguments = parser.parse_args()
    rng = Random(1)
    everything = list(cases(paragraphs(arguments.data), arguments.cases, rng))
    tables, prepared = [], []
    recall = 0
    for number, case in enumerate(everything):
        library = case.library
        order = library.read(case.question.stems)
        recall += case.gold in order
        found, table = _features(case, order)
        gold = [n for n, c in enumerate(found) if order[c.passage] == case.gold
                and c.span == case.span]  # fmt: skip
        _, lone = _features(case, library.read(case.question.stems, without=case.gold))
        prepared.append((order, found, table, lone, gold))
        if gold:
            kept = rng.sample(range(len(found)), min(NEGATIVES, len(found)))
            tables.append((table[[gold[0], *(n for n in kept if n != gold[0])]], 0))
        if number % 100 == 0:
            print(f"{number}/{len(everything)} read", file=sys.stderr)
    w = learn_choice(tables)
    rows, right, kinds = [], [], []
    exact = same_sentence = 0
    for (order, found, table, lone, gold), case in zip(prepared, everything, strict=True):
        if len(table):
            scores = table @ w
            at = int(scores.argmax())
            chosen = found[at]
            good = order[chosen.passage] == case.gold and (
                chosen.span.sentence.start == case.span.sentence.start
            )
            same_sentence += good
            exact += bool(gold) and at == gold[0]
            rows.append(confidence_of(table, scores, at))
            right.append(float(good))
            kinds.append("asked")
        if len(lone):
            scores = lone @ w
            rows.append(confidence_of(lone, scores, int(scores.argmax())))
            right.append(0.0)
            kinds.append("removed")
    x, y = np.array(rows), np.array(right)
    sure = learn_sure(x, y)
    logits = np.hstack([x, np.ones((len(x), 1))]) @ sure
    p = 1 / (1 + np.exp(-logits))
    removed = np.array([kind == "removed" for kind in kinds])
    limit = float(np.quantile(p[removed], 1 - FALSE_CLAIMS))
    answered = (p[~removed] >= limit).mean()
    correct = y[(~removed) & (p >= limit)].mean()
    n = len(everything)
    report = {
        "cases": n,
        "recall@5": round(recall / n, 3),
        "sentence": round(same_sentence / n, 3),
        "exact": round(exact / n, 3),
        "answered": round(float(answered), 3),
        "right sentence of the answered": round(float(correct), 3),
        "false claims": FALSE_CLAIMS,
    }
    weights = {
        "made_by": f"python tools/learn_answers.py --data FOLDER --cases {n}",
        "on_its_own_questions": report,
        "threshold": round(limit, 4),
        "choose": dict(zip(FEATURES, (round(float(x), 4) for x in w), strict=True)),
        "sure": dict(zip((*SURE, "bias"), (round(float(x), 4) for x in sure), strict=True)),
    }
    OUT.write_text(json.dumps(weights, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report))


def _features(case: Case, order: list[int]) -> tuple[list[Candidate], Array]:
    texts = [case.library.texts[n] for n in order]
    return features_of(case.question, texts, case.library.rare, case.library.most)


if __name__ == "__main__":
    main()
