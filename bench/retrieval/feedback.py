"""Whether feedback and centring find more, on texts that nothing else is measured on.

    python bench/retrieval/feedback.py --corpus FOLDER

FOLDER is the corpus that `cabin data get` makes; only its held-out documents are read, which the
vectors were not fitted to. A query is what a section of a textbook says will be learned, a heading,
or a sentence whose paragraph is taken out, and all paragraphs of that section are to be found; or
the example of a dictionary's entry, or what a command does, and one text is to be found. Rows: the
two scores fused, with the best 1 or 3 as feedback, without what all passages share, and both as
`cabin search` has it.
"""

import argparse
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from collection import ROOT, ndcg

sys.path.insert(1, str(ROOT / "tools"))

from static_vectors import COMMAND, DEFINED, SENTENCE

Asked = tuple[list[str], list[tuple[str, set[int]]]]  # passages; queries, what is to be found

SHORTEST = 25  # words of a paragraph
TAKEN_OUT = 0.08  # of the paragraphs
UNCENTRED = 10**12  # passages that have nothing in common: no mean is left
VARIANTS = {
    "fused": (0, UNCENTRED),
    "feedback-1": (1, UNCENTRED),
    "feedback-3": (3, UNCENTRED),
    "centred": (0, 100),
    "both-1": (1, 100),
    "both-3": (3, 100),
}


def sections(text: str) -> Iterator[tuple[str, list[str]]]:
    """(heading, blocks below it) of a document."""
    heading, blocks = "", list[str]()
    for block in re.split(r"\n\s*\n", text):
        lines, words = block.strip().split("\n"), block.split()
        underlined = len(lines) == 2 and re.fullmatch(r"[=~-]{3,}", lines[1].strip())
        short = len(words) <= 8 and not block.rstrip().endswith((".", "?", ":", ";"))
        if underlined or block.startswith("#") or short:
            yield heading, blocks
            heading, blocks = " ".join(lines[0].split()).lstrip("# "), []
        else:
            blocks.append(" ".join(words))
    yield heading, blocks


def topical(corpus: Path) -> dict[str, Asked]:
    """By name: passages, and queries with the passages that are to be found."""
    made: dict[str, Asked] = {}
    for domain in ("textbooks", "technical"):
        rng = random.Random(7)
        passages: list[str] = []
        asked: dict[str, list[tuple[str, set[int]]]] = {
            "outcome": [],
            "heading": [],
            "sentence": [],
        }
        lines = (corpus / f"{domain}-held.jsonl").read_text(encoding="utf-8").split("\n")
        for line in filter(None, lines):
            first, outcomes = len(passages), list[str]()
            for heading, blocks in sections(json.loads(line)["text"]):
                mine: set[int] = set()
                sentences = []
                for block in blocks:
                    if len(block.split()) < SHORTEST:
                        outcomes += [block] if "Learning Outcomes" in heading else []
                        continue
                    parts = SENTENCE.split(block)
                    chosen = rng.choice(parts)
                    if rng.random() < TAKEN_OUT and 6 <= len(chosen.split()) <= 40:
                        sentences.append(chosen)
                    else:
                        mine.add(len(passages))
                        passages.append(block)
                if mine and 2 <= len(heading.split()) <= 12:
                    asked["heading"].append((heading, mine))
                asked["sentence"] += [(sentence, mine) for sentence in sentences if mine]
            document = set(range(first, len(passages)))
            wanted = [one for one in outcomes if len(one.split()) >= 4 and ":" not in one]
            asked["outcome"] += [(one, document) for one in wanted if document]
        for kind, queries in asked.items():
            rng.shuffle(queries)
            if len(queries) >= 20:
                made[f"{kind}-{domain}"] = (passages, queries)
    return made


def entries(corpus: Path) -> Asked:
    """The dictionary's entries, asked for by their examples."""
    passages: list[str] = []
    queries = []
    lines = (corpus / "dictionary-held.jsonl").read_text(encoding="utf-8").split("\n")
    for line in filter(None, lines):
        for entry in re.split(r"\n\s*\n", json.loads(line)["text"]):
            if defined := DEFINED.match(" ".join(entry.split())):
                if defined[3] and len(defined[3].split()) >= 5:
                    queries.append((defined[3], {len(passages)}))
                passages.append(f"{defined[1]}: {defined[2]}")
    random.Random(7).shuffle(queries)
    return passages, queries


def commands(corpus: Path) -> Asked:
    """Pages of commands, asked for by one of the things they do, which is taken out."""
    rng = random.Random(7)
    passages: list[str] = []
    queries = []
    lines = (corpus / "shell-held.jsonl").read_text(encoding="utf-8").split("\n")
    for line in filter(None, lines):
        page = json.loads(line)["text"]
        found = COMMAND.findall(page)
        if len(found) > 1:
            does = rng.choice(found)[0]
            queries.append((does, {len(passages)}))
            page = page.replace(does, "", 1)
        passages.append(page)
    return passages, queries


def measured(passages: list[str], queries: list[tuple[str, set[int]]]) -> dict[str, float]:
    """nDCG@10 of each variant."""
    from cabinos.index import Passage, Source, columns, in_memory, index

    made = in_memory()
    made.put(Source("note", str(at), (Passage(text),)) for at, text in enumerate(passages))
    scores = {}
    for name, (index.FEEDBACK, columns.PRIOR) in VARIANTS.items():
        made.put([Source("note", "none")])  # a change, so that the mean is taken again
        ranked = [
            ndcg([hit.name for hit in made.search(query, 10)], {str(at): 1 for at in relevant})
            for query, relevant in queries
        ]
        scores[name] = round(sum(ranked) / len(ranked), 4)
    return scores


def main() -> None:
    """Measures, and prints one JSON line last."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=300, help="of each kind, at most")
    parser.add_argument("--quick", action="store_true", help="20 of each kind")
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results/retrieval")
    options = parser.parse_args()
    most = 20 if options.quick else options.queries
    scores, counts = {}, {}
    found = {
        **topical(options.corpus),
        "example-dictionary": entries(options.corpus),
        "use-shell": commands(options.corpus),
    }
    for name, (passages, queries) in found.items():
        scores[name] = measured(passages, queries[:most])
        counts[name] = {"passages": len(passages), "queries": len(queries[:most])}
        print(f"{name:<20} {scores[name]}", flush=True)
    row = {"bench": "feedback", "counts": counts, "scores": scores}
    if not options.quick:
        options.results.mkdir(parents=True, exist_ok=True)
        (options.results / "feedback.json").write_text(json.dumps(row) + "\n")
    print(json.dumps(row))


if __name__ == "__main__":
    main()
