"""Does one hop along the graph find more of the principles that answer a question?

    python bench/skills/hop.py [--quick]

125 paraphrased questions (paraphrases.jsonl) over the shipped skills, which choose no constant.
Measured is recall@5: without a hop, as shipped; with a share of each score flowing along `requires`
and `contrasts`; and with the last two places, or the last one, given to what the best three, or
four, lead to. Differences are tested with a paired bootstrap over questions. Besides: what is among
the five or in their company.
"""

import json
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from skill_bench import HERE, options, report

from cabinos.skills.catalog import library_folder, skill_folders
from cabinos.skills.graph import compile_graph
from cabinos.skills.meaning import encoder
from cabinos.skills.package import read_skill
from cabinos.skills.retrieval import Found, Searcher

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
    searcher = Searcher(compile_graph(skills), encoder())
    ways: dict[str, Callable[[str], list[str]]] = {
        "no hop (shipped)": lambda q: keys(searcher.search(q)),
        "0.05 of a score flows": lambda q: keys(searcher.search(q, flow=0.05)),
        "0.1 of a score flows": lambda q: keys(searcher.search(q, flow=0.1)),
        "0.25 of a score flows": lambda q: keys(searcher.search(q, flow=0.25)),
        "best 3, then what they lead to": lambda q: seeded(searcher, q, 3),
        "best 4, then what they lead to": lambda q: seeded(searcher, q, 4),
    }
    shares = {name: recall(rows, find) for name, find in ways.items()}
    plain = shares["no hop (shipped)"]
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
    print(f"{'five, and up to five in company':32} recall    {statistics.fmean(on_top):.3f}")
    significant = [name for name, row in table.items() if row["gain"][0] > 0]
    figures = {
        "questions": len(rows),
        "ways": table,
        "with_company": round(statistics.fmean(on_top), 4),
        "significant": significant,
        "ships": "off: what one step leads to is company, and takes no place",
    }
    return report("hop", given, figures)


if __name__ == "__main__":
    sys.exit(main())
