"""nDCG@10 of Cabin's search beside its parts and its peers, in one table.

    python bench/retrieval/compare.py --data FOLDER [--minilm FOLDER --cache FOLDER]
                                      [--txtai-python TXTAI/bin/python]

FOLDER has scifact_corpus.jsonl, scifact_queries.jsonl and the same of cranfield, packed with xz or
not. Rows: `fts5` is SQLite alone, all words of the query; `bm25s` a peer, if it is installed;
`static` and `minilm` are the vectors alone; `cabin` is what `cabin search` does, and `txtai` what
txtai's hybrid search does, with either. All of one collection see the same texts. Times are the
processor's, on one thread, without the start; txtai's leave out that a query becomes a vector.

txtai has a virtual environment of its own (`pip install txtai`), whose Python is given.
"""

import argparse
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from collection import ROOT, Collection, Document, interval, ndcg, own_pages, read

Search = Callable[[str], Sequence[str]]
DEPTH = 10
PART = 100  # texts that the cache keeps in one file: what is interrupted goes on


def fts5(documents: Sequence[Document]) -> Search:
    """SQLite's FTS5 with the Porter stemmer, any word of the query."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE found USING fts5(title, text, tokenize='porter unicode61')")
    db.executemany("INSERT INTO found VALUES (?, ?)", [(d.title, d.text) for d in documents])

    def search(query: str) -> list[str]:
        words = " OR ".join(f'"{word}"' for word in dict.fromkeys(re.findall(r"\w+", query)))
        rows = db.execute(
            f"SELECT rowid FROM found WHERE found MATCH ? ORDER BY rank LIMIT {DEPTH}", (words,)
        )
        return [documents[number - 1].id for (number,) in rows]

    return search


def bm25s(documents: Sequence[Document]) -> Search:
    """The library of that name, with the English Snowball stemmer and its stop words."""
    import bm25s as library
    import Stemmer

    stemmer = Stemmer.Stemmer("english")

    def tokens(texts: list[str]) -> Any:
        return library.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)

    retriever = library.BM25()
    retriever.index(tokens([f"{d.title} {d.text}" for d in documents]), show_progress=False)

    def search(query: str) -> list[str]:
        found, _ = retriever.retrieve(tokens([query]), k=DEPTH, show_progress=False)
        return [documents[int(at)].id for at in found[0]]

    return search


def dense(documents: Sequence[Document], encoder: Any) -> Search:
    """The nearest vectors."""
    import numpy as np

    vectors = encoder.encode([f"{d.title}\n{d.text}" for d in documents])

    def search(query: str) -> list[str]:
        cosines = vectors @ encoder.encode([query])[0]
        return [documents[int(at)].id for at in np.argsort(-cosines, kind="stable")[:DEPTH]]

    return search


def cabin(documents: Sequence[Document], encoder: Any) -> Search:
    """`Index.search`, as the product has it."""
    from cabinos.index import Index, Passage, Source

    index = Index(None, encoder)
    index.put(Source("file", d.id, (Passage(d.text, d.title),)) for d in documents)
    return lambda query: [hit.name for hit in index.search(query, DEPTH)]


def txtai(
    collection: Collection, encoder: Any, python: Path
) -> tuple[float, Sequence[Sequence[str]], list[float]]:
    """The hybrid search of txtai in its own Python, with these vectors; see `searched`."""
    import numpy as np

    texts = [f"{d.title}\n{d.text}" for d in collection.documents]
    queries = [query.text for query in collection.queries]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = json.dumps({"documents": texts, "queries": queries})
        (folder / "texts.json").write_text(given, encoding="utf-8")
        np.save(folder / "documents.npy", encoder.encode(texts))
        np.save(folder / "queries.npy", encoder.encode(queries))
        run = subprocess.run(
            [str(python), str(Path(__file__).with_name("txtai_peer.py")), name],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )
    if run.returncode:
        raise ImportError(f"txtai: {run.stderr.strip().splitlines()[-1]}")
    told = json.loads(run.stdout.splitlines()[-1])
    ranked: list[Sequence[str]] = [
        [collection.documents[at].id for at in found] for found in told["ranked"]
    ]
    return float(told["build_s"]), ranked, list(told["times"])


class Cached:
    """An encoder that keeps what it has encoded in files, since MiniLM takes its time."""

    def __init__(self, encoder: Any, path: Path) -> None:
        self.encoder, self.path = encoder, path
        self.name, self.width = encoder.name, encoder.width
        self.batch, self.near = encoder.batch, encoder.near

    def encode(self, texts: Sequence[str]) -> Any:
        """Many texts from the files, if they are the same; a query is encoded anew each time."""
        import hashlib

        import numpy as np

        if len(texts) == 1:
            return self.encoder.encode(texts)
        parts = []
        for start in range(0, len(texts), PART):
            part = texts[start : start + PART]
            digest = hashlib.sha256("\0".join(part).encode()).hexdigest()[:16]
            path = self.path / f"{self.name}-{digest}.npy"
            if not path.is_file():
                self.path.mkdir(parents=True, exist_ok=True)
                vectors = self.encoder.encode(part)
                print(f"{self.name}: {start}/{len(texts)}", file=sys.stderr, flush=True)
                unfinished = path.with_suffix(".part.npy")
                np.save(unfinished, vectors)
                unfinished.replace(path)
            parts.append(np.load(path))
        return np.concatenate(parts)


def rows_of(collection: Collection, minilm: Any, python: Path | None) -> list[dict[str, Any]]:
    """A row for each method that is there."""
    from cabinos.index.static import built_in

    makers: dict[str, Callable[[Sequence[Document]], Search]] = {"fts5": fts5, "bm25s": bm25s}
    encoders = {"static": built_in()} | ({} if minilm is None else {"minilm": minilm})
    for name, encoder in encoders.items():
        suffix = "" if name == "static" else f"-{name}"
        makers[name] = partial(dense, encoder=encoder)
        makers[f"cabin{suffix}"] = partial(cabin, encoder=encoder)
    rows = []
    for name, make in makers.items():
        rows.append(row_of(collection, name, partial(searched, collection, make)))
    if python is not None:
        for name, encoder in encoders.items():
            peer = partial(txtai, collection, encoder, python)
            rows.append(row_of(collection, f"txtai-{name}", peer))
    return rows


def searched(
    collection: Collection, make: Callable[[Sequence[Document]], Search]
) -> tuple[float, Sequence[Sequence[str]], list[float]]:
    """Seconds to build, what each query found, and milliseconds of each."""
    began = time.process_time()
    search = make(collection.documents)
    built, ranked, times = time.process_time() - began, [], []
    for query in collection.queries:
        began = time.process_time()
        ranked.append(search(query.text))
        times.append(1000 * (time.process_time() - began))
    return built, ranked, times


def row_of(
    collection: Collection,
    name: str,
    run: Callable[[], tuple[float, Sequence[Sequence[str]], list[float]]],
) -> dict[str, Any]:
    """A method's row, printed too."""
    row: dict[str, Any] = {"collection": collection.name, "method": name}
    try:
        built, ranked, times = run()
    except ImportError as error:
        row["missing"] = str(error)
    else:
        scores = [
            ndcg(found, query.relevant)
            for found, query in zip(ranked, collection.queries, strict=True)
        ]
        row |= {**score_of(scores), **times_of(times), "build_s": round(built, 2)}
        row["scores"] = [round(score, 4) for score in scores]
    print_row(row)
    return row


def score_of(scores: Sequence[float]) -> dict[str, float]:
    """The mean, and the interval it lies in."""
    low, high = interval(scores)
    mean = sum(scores) / len(scores)
    return {"ndcg10": round(mean, 4), "low": round(low, 4), "high": round(high, 4)}


def times_of(times: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    ordered = sorted(times)
    return {
        "ms": round(ordered[len(ordered) // 2], 2),
        "ms_p95": round(ordered[len(ordered) * 95 // 100], 2),
    }


def print_row(row: dict[str, Any]) -> None:
    """One line of the table."""
    if "missing" in row:
        print(f"{row['collection']:<10} {row['method']:<13} not there: {row['missing']}")
        return
    print(
        f"{row['collection']:<10} {row['method']:<13} {row['ndcg10']:.3f}  "
        f"[{row['low']:.3f}, {row['high']:.3f}]  {row['ms']:6.2f} ms  p95 {row['ms_p95']:6.2f} ms",
        flush=True,
    )


def beside(rows: Sequence[dict[str, Any]], ours: str, peers: Sequence[str]) -> dict[str, Any]:
    """How much `ours` is better than the best of its peers, query by query."""
    there = {row["method"]: row for row in rows if "scores" in row}
    best = max((there[name] for name in peers if name in there), key=lambda row: row["ndcg10"])
    gains = [a - b for a, b in zip(there[ours]["scores"], best["scores"], strict=True)]
    low, high = interval(gains)
    return {
        "method": ours,
        "best_single": best["method"],
        "gain": round(sum(gains) / len(gains), 4),
        "low": round(low, 4),
        "high": round(high, 4),
    }


def main() -> None:
    """Measures, prints the table, and one JSON line last."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the collections")
    parser.add_argument("--minilm", type=Path, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--cache", type=Path, help="where MiniLM's vectors are kept")
    parser.add_argument("--txtai-python", type=Path, help="of an environment that has txtai")
    parser.add_argument("--only", nargs="*", default=["scifact", "cranfield"])
    parser.add_argument("--quick", action="store_true", help="this repository's docs; no files")
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results/retrieval")
    options = parser.parse_args()
    if not options.quick and options.data is None:
        parser.error("--data FOLDER, or --quick")
    minilm: Any = None
    if options.minilm:
        from cabinos.index.minilm import MiniLM

        minilm = MiniLM(options.minilm)
        minilm = Cached(minilm, options.cache) if options.cache else minilm
    chosen = [own_pages()] if options.quick else [read(options.data, name) for name in options.only]
    rows: list[dict[str, Any]] = []
    gains: list[dict[str, Any]] = []
    for collection in chosen:
        found = rows_of(collection, minilm, options.txtai_python)
        singles = ("fts5", "bm25s", "static", "minilm")
        ours = [row["method"] for row in found if row["method"].startswith("cabin")]
        gains += [{"collection": collection.name, **beside(found, o, singles)} for o in ours]
        rows += found
    name = "compare-quick" if options.quick else "compare"
    options.results.mkdir(parents=True, exist_ok=True)
    told = {"bench": name, "rows": rows, "gains": gains}
    (options.results / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n")
    plain = [{k: v for k, v in row.items() if k != "scores"} for row in rows]
    print(json.dumps({**told, "rows": plain}))


if __name__ == "__main__":
    main()
