"""Which share of the score the vectors get, chosen on texts that nothing is measured on.

    python bench/retrieval/share.py --corpus FOLDER

FOLDER is the corpus that `cabin data get` makes; only its held-out documents are read, which the
vectors were not fitted to. A query is a sentence or a heading, and the paragraph it was taken from
is to be found among all others of that domain.
"""

import argparse
import json
import sys
from pathlib import Path

from collection import ROOT, ndcg

sys.path.insert(1, str(ROOT / "tools"))

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)


def main() -> None:
    """Measures, and prints one JSON line last."""
    from static_vectors import PAIRS, pairs_of

    from cabinos.index import Passage, Source, in_memory

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=300, help="of each domain")
    parser.add_argument("--quick", action="store_true", help="50 of each domain")
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results/retrieval")
    options = parser.parse_args()
    asked = 50 if options.quick else options.queries
    found = pairs_of(options.corpus, "held")
    scores: dict[str, dict[str, float]] = {}
    for domain in PAIRS:
        pairs = found[domain]
        texts = {text: str(at) for at, (_, text) in enumerate(pairs)}
        made = in_memory()
        made.put(Source("file", name, (Passage(text),)) for text, name in texts.items())
        for share in SHARES:
            made.share = share
            ranked = [
                ndcg([hit.name for hit in made.search(query, 10)], {texts[text]: 1})
                for query, text in pairs[:asked]
            ]
            scores.setdefault(domain, {})[f"{share:.1f}"] = round(sum(ranked) / len(ranked), 4)
        print(f"{domain:<12} {scores[domain]}", flush=True)
    row = {"bench": "share", "queries": asked, "scores": scores}
    if not options.quick:
        options.results.mkdir(parents=True, exist_ok=True)
        (options.results / "share.json").write_text(json.dumps(row) + "\n")
    print(json.dumps(row))


if __name__ == "__main__":
    main()
