"""100,000 passages: how long the index takes to build, and a query to answer.

    python bench/retrieval/scale.py [--passages N]

The passages are made of words with the frequencies of English (Zipf), so that common words are in
most of them, as in real texts; queries are a few words of a passage. Times are of the wall and of
the processor: on a busy machine the latter is the one to read.
"""

import argparse
import json
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from collection import ROOT

BATCH = 2000
WORDS = 80  # of a passage


def words() -> tuple[list[str], list[float]]:
    """Word pieces of the encoder that are whole words, by Zipf's law."""
    from importlib.resources import files

    pieces = files("cabinos.index").joinpath("static/pieces.txt").read_text(encoding="utf-8")
    found = [piece for piece in pieces.split("\n") if piece.isalpha() and len(piece) > 1]
    return found, [1 / (rank + 2.7) for rank in range(len(found))]


def measured(count: int, queries: int) -> dict[str, Any]:
    """Builds an index in a file and searches it."""
    from cabinos.index import Index, Passage, Source
    from cabinos.index.static import built_in

    rng = random.Random(0)
    lexicon, weights = words()
    texts = [" ".join(rng.choices(lexicon, weights, k=WORDS)) for _ in range(BATCH)]
    built_in()
    with tempfile.TemporaryDirectory() as folder:
        index = Index(Path(folder) / "index.db", built_in())
        wall, cpu = time.monotonic(), time.process_time()
        for start in range(0, count, BATCH):
            part = []
            for at in range(start, min(start + BATCH, count)):
                text = texts[at % BATCH].split(" ")
                rng.shuffle(text)
                part.append(Source("file", f"/made/{at}", (Passage(" ".join(text)),)))
            index.put(part)
        built = (time.monotonic() - wall, time.process_time() - cpu)
        size = (Path(folder) / "index.db").stat().st_size
        began = time.monotonic()
        index.search("warm up")
        first = time.monotonic() - began
        walls, cpus = [], []
        for _ in range(queries):
            query = " ".join(rng.choices(lexicon, weights, k=8))
            wall, cpu = time.monotonic(), time.process_time()
            index.search(query)
            walls.append(1000 * (time.monotonic() - wall))
            cpus.append(1000 * (time.process_time() - cpu))
        index.close()
    walls.sort()
    cpus.sort()
    at = queries * 95 // 100
    return {
        "passages": count,
        "build_s": round(built[0], 1),
        "build_cpu_s": round(built[1], 1),
        "file_mb": round(size / 1e6, 1),
        "first_ms": round(1000 * first, 1),
        "ms": round(walls[queries // 2], 1),
        "ms_p95": round(walls[at], 1),
        "cpu_ms": round(cpus[queries // 2], 1),
        "cpu_ms_p95": round(cpus[at], 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def main() -> None:
    """Measures, and prints one JSON line last."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="5,000 passages, 50 queries")
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results/retrieval")
    options = parser.parse_args()
    if options.quick:
        options.passages, options.queries = 5_000, 50
    row = measured(options.passages, options.queries)
    for name, value in row.items():
        print(f"{name:<12} {value}")
    name = "scale-quick" if options.quick else "scale"
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / f"{name}.json").write_text(json.dumps({"bench": name, **row}) + "\n")
    print(json.dumps({"bench": name, **row}))


if __name__ == "__main__":
    main()
