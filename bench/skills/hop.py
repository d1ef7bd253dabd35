"""Does one hop along the graph find more of the principles that answer a question?

    python bench/skills/hop.py [--quick]

65 paraphrased questions (paraphrases.jsonl) over the shipped skills, written before any constant of
the retrieval was chosen and used for nothing else. Measured is recall@5: without a hop; with the
last two places, or the last one, given to what the best three, or four, require or contrast with;
and with scores that flow along links. Differences are tested with a paired bootstrap over
questions. Besides: what is found if the hop comes on top of the five, as Cabin ships it.
"""

import json
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cabinos.skills.catalog import library_folder, skill_folders
from cabinos.skills.graph import compile_graph
from cabinos.skills.package import read_skill
from cabinos.skills.retrieval import Found, Searcher
from skill_bench import HERE, options, report

FIRST = 5
DRAWS = 10_000  # of the bootstrap


def load(path: Path) -> list[tuple[str, set[str]]]:
    """(question, principles that answer it)."""
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [(row["question"], set(row["principles"])) for row in rows]


def keys(found: Sequence[Found]) -> list[str]:
    return [one.principle.key for one in found]


def seeded(searcher: Searcher, question: str, seeds: int) -> list[str]:
    """The best few, then what they lead to, then the next best, five in all."""
    every = searcher.search(question, limit=FIRST)
    best = every[:seeds]
    led = searcher.companions(best, limit=FIRST)
    return list(dict.fromkeys([*keys(best), *keys(led), *keys(every)]))[:FIRST]


def flowing(searcher: Searcher, question: str, share: float) -> list[str]:
    """Each principle also gets a share of the best score among those it is linked to."""
    scores = {one.principle.key: one.score for one in searcher.search(question, limit=1_000)}
    raised = dict.fromkeys(searcher.graph.principles, 0.0) | scores
    for edge in searcher.graph.edges:
        if edge.kind in ("requires", "contrasts") and edge.source in scores:
            target = edge.target
            own = scores.get(target, 0.0)
            raised[target] = max(raised[target], own + share * scores[edge.source])
    return sorted(raised, key=lambda key: (-raised[key], key))[:FIRST]


def recall(rows: list[tuple[str, set[str]]], find: Callable[[str], list[str]]) -> list[float]:
    return [len(gold & set(find(question))) / len(gold) for question, gold in rows]


def interval(differences: list[float]) -> tuple[float, float]:
    """95 % of a paired bootstrap of the mean."""
    rng = random.Random(1)
    n = len(differences)
    means = sorted(statistics.fmean(rng.choices(differences, k=n)) for _ in range(DRAWS))
    return round(means[int(0.025 * DRAWS)], 4), round(means[int(0.975 * DRAWS)], 4)


def main() -> int:
    """A table, then one JSON line."""
    given = options(__doc__).parse_args()
    rows = load(HERE / "paraphrases.jsonl")[:: 3 if given.quick else 1]
    skills = [read_skill(path) for path in skill_folders(library_folder())]
    searcher = Searcher(compile_graph(skills))
    ways: dict[str, Callable[[str], list[str]]] = {
        "no hop": lambda q: keys(searcher.search(q, limit=FIRST)),
        "best 3, then what they lead to": lambda q: seeded(searcher, q, 3),
        "best 4, then what they lead to": lambda q: seeded(searcher, q, 4),
        "a tenth of a score flows": lambda q: flowing(searcher, q, 0.1),
        "a quarter of a score flows": lambda q: flowing(searcher, q, 0.25),
    }
    shares = {name: recall(rows, find) for name, find in ways.items()}
    plain = shares["no hop"]
    table: dict[str, dict[str, Any]] = {}
    for name, values in shares.items():
        differences = [a - b for a, b in zip(values, plain, strict=True)]
        low, high = interval(differences)
        table[name] = {"recall@5": round(statistics.fmean(values), 4), "gain": [low, high]}
        print(f"{name:32} recall@5 {table[name]['recall@5']:.3f}   gain {low:+.3f} … {high:+.3f}")
    on_top = recall(
        rows,
        lambda q: keys(
            (best := searcher.search(q, limit=FIRST)) + searcher.companions(best, limit=FIRST)
        ),
    )
    print(f"{'five, and up to five on top':32} recall    {statistics.fmean(on_top):.3f}")
    better = [name for name, row in table.items() if row["gain"][0] > 0]
    figures = {
        "questions": len(rows),
        "ways": table,
        "on_top": round(statistics.fmean(on_top), 4),
        "significant": better,
        "ships": "on top of the five, replacing none",
    }
    return report("hop", given, figures)


if __name__ == "__main__":
    sys.exit(main())
