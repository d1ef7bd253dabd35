"""The collections that retrieval is measured on, and how rankings are scored."""

import ast
import json
import lzma
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(ROOT / "bench" / "engine"), str(ROOT / "src")]

RESAMPLES = 5_000


@dataclass(frozen=True)
class Document:
    """A text with a title; they are one passage."""

    id: str
    title: str
    text: str


@dataclass(frozen=True)
class Query:
    """What is asked, and the documents that answer it."""

    text: str
    relevant: Mapping[str, int]


@dataclass(frozen=True)
class Collection:
    """Documents and queries."""

    name: str
    documents: Sequence[Document]
    queries: Sequence[Query]


def read(folder: Path, name: str) -> Collection:
    """NAME_corpus.jsonl and NAME_queries.jsonl in a folder, packed (.xz) or not."""
    documents = [
        Document(row["id"], row["title"], _plain(row["text"], row["title"]))
        for row in _rows(folder, f"{name}_corpus")
    ]
    queries = [
        Query(" ".join(row["query"].split()), {k: v for k, v in row["relevant"].items() if v > 0})
        for row in _rows(folder, f"{name}_queries")
    ]
    return Collection(name, documents, queries)


def own_pages() -> Collection:
    """The sections of this repository's documentation, asked for by their headings."""
    from cabinos.index.passages import passages_of

    documents, queries = [], []
    for path in sorted((ROOT / "docs").glob("*.md")):
        found: dict[str, int] = {}
        heading = ""
        for at, passage in enumerate(passages_of(path.read_text(encoding="utf-8"))):
            if passage.heading != heading and found:
                queries.append(Query(heading.rsplit(" › ", 1)[-1], found))
                found = {}
            heading = passage.heading
            documents.append(Document(f"{path.stem}/{at}", "", passage.text))
            found[f"{path.stem}/{at}"] = 1
    return Collection("docs", documents, queries)


def _rows(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    plain, packed = folder / f"{name}.jsonl", folder / f"{name}.jsonl.xz"
    if packed.is_file():
        with lzma.open(packed, "rt", encoding="utf-8") as file:
            yield from map(json.loads, file)
    else:
        with plain.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def _plain(text: str, title: str) -> str:
    """The text without what is no text: SciFact's are printed lists, Cranfield's repeat titles."""
    if text.startswith(("['", '["')):
        try:
            text = " ".join(ast.literal_eval(re.sub(r"(['\"])\n (['\"])", r"\1, \2", text)))
        except (SyntaxError, ValueError):
            text = text[2:-2]
    return text.removeprefix(title).lstrip()


def ndcg(ranked: Sequence[str], relevant: Mapping[str, int], depth: int = 10) -> float:
    """Normalised discounted cumulative gain, with gains of 2^relevance - 1 as trec_eval's peers."""
    gains = [2 ** relevant.get(one, 0) - 1 for one in ranked[:depth]]
    ideal = sorted((2**level - 1 for level in relevant.values()), reverse=True)[:depth]
    best = sum(gain / np.log2(at + 2) for at, gain in enumerate(ideal))
    return (
        float(sum(gain / np.log2(at + 2) for at, gain in enumerate(gains)) / best) if best else 0.0
    )


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """The middle 95 % of the means of resampled queries."""
    scores: NDArray[np.float64] = np.asarray(values)
    rng = np.random.default_rng(seed)
    means = scores[rng.integers(0, len(scores), (RESAMPLES, len(scores)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
