"""txtai's side of the table: its hybrid search, BM25 beside vectors that are given to it.

    TXTAI_PYTHON bench/retrieval/txtai_peer.py FOLDER

FOLDER has `texts.json` (documents and queries) and `documents.npy`, `queries.npy`: the vectors of
both, so that it searches with the same weights as Cabin. Prints rankings and milliseconds as JSON.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

DEPTH = 10


def main() -> None:
    """Indexes, searches, and prints one JSON line."""
    from txtai import Embeddings

    folder = Path(sys.argv[1])
    texts = json.loads((folder / "texts.json").read_text(encoding="utf-8"))
    vectors = {
        text: vector
        for name in ("documents", "queries")
        for text, vector in zip(texts[name], np.load(folder / f"{name}.npy"), strict=True)
    }

    def transform(wanted: list[str]) -> np.ndarray:
        return np.array([vectors[text] for text in wanted], np.float32)

    began = time.process_time()
    embeddings = Embeddings(method="external", transform=transform, hybrid=True)
    embeddings.index(enumerate(texts["documents"]))
    built = time.process_time() - began
    ranked, times = [], []
    for query in texts["queries"]:
        began = time.process_time()
        found = embeddings.search(query, DEPTH)
        times.append(1000 * (time.process_time() - began))
        ranked.append([int(number) for number, _ in found])
    print(json.dumps({"build_s": built, "ranked": ranked, "times": times}))


if __name__ == "__main__":
    main()
