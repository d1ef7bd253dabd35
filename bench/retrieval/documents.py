"""Questions to documents: found, answered with a quote, and declined where the answer is not there.

    python bench/retrieval/documents.py [--quick] [--data FOLDER]

The English part of XQuAD (Artetxe et al. 2020), the half that `cabin eval` uses: its paragraphs lie
as text files in one folder, an article to a file, and are read as `cabin "question" --from FOLDER`
reads them. Each question is asked twice: of all the documents, and after the paragraph that answers
it was removed (its article's other paragraphs stay). Scores are SQuAD's. What the shipped brain
says by its own tool, `cabin eval --suite xquad` measures.

Nothing here was learnt from these questions: see tools/learn_answers.py.
"""

import argparse
import asyncio
import json
import re
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(1, str(ROOT / "src"))

from cabinos.answers.ask import READ, Library  # noqa: E402
from cabinos.answers.extract import threshold  # noqa: E402
from cabinos.answers.quote import Answer  # noqa: E402
from cabinos.drivers.beneath import Place  # noqa: E402
from cabinos.drivers.reader import Passage, Reader  # noqa: E402
from cabinos.kernel.capability import files  # noqa: E402
from cabinos.lab.evaluate.errors import EvalError  # noqa: E402
from cabinos.lab.evaluate.scoring import exact_match, interval_of_mean, token_f1, wilson  # noqa: E402
from cabinos.lab.evaluate.sets import read_set  # noqa: E402
from cabinos.store.home import cabin_home  # noqa: E402

OUT = ROOT / "bench/results/retrieval"
GOAL = 0.10  # false claims
QUICK = 60  # questions

Row = Mapping[str, Any]


@dataclass(slots=True)
class Counts:
    """What was counted."""

    recall: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    f1: list[float] = field(default_factory=list)
    exact: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    right_sentence: list[float] = field(default_factory=list)  # of those answered
    f1_forced: list[float] = field(default_factory=list)  # of the best guess, were it always given
    claims: list[float] = field(default_factory=list)  # of the unanswerable
    seconds: list[float] = field(default_factory=list)
    verbatim: list[float] = field(default_factory=list)  # quotes that stand in the files


def write_documents(rows: Sequence[Row], folder: Path) -> dict[str, str]:
    """A file for each article; its text by name."""
    articles: dict[str, dict[str, None]] = defaultdict(dict)
    for row in rows:
        articles[row["title"]][" ".join(row["context"].split())] = None
    texts = {}
    for title, paragraphs in articles.items():
        name = re.sub(r"\W+", "-", title).strip("-").lower()
        texts[name] = "\n\n".join(paragraphs) + "\n"
        (folder / f"{name}.txt").write_text(texts[name], encoding="utf-8")
    return texts


def read(folder: Path) -> list[Passage]:
    """The documents, as the command reads them."""
    reader = Reader()
    asyncio.run(reader.read([Place(files(folder), ())]))
    return reader.passages


def measure(rows: Sequence[Row], asked: Sequence[Row]) -> Counts:
    """Asks each question of all documents, and of those without its paragraph."""
    counts = Counts()
    with tempfile.TemporaryDirectory() as folder:
        texts = "\n".join(write_documents(rows, Path(folder)).values())
        passages = read(Path(folder))
    library = Library(passages)
    without: dict[str, Library] = {}
    for row in asked:
        gold = " ".join(row["context"].split())
        began = time.perf_counter()
        found = library.find(row["question"], 10)
        guess = library.answer_from(row["question"], found[:READ], limit=0.0)
        counts.seconds.append(time.perf_counter() - began)
        answer = guess if (guess.confidence or 0.0) >= threshold() else Answer("")
        for n in (1, 5, 10):
            counts.recall[n].append(float(any(gold in one.text for one in found[:n])))
        counts.f1.append(token_f1(answer.text, row["answers"]) if answer.found else 0.0)
        counts.exact.append(float(answer.found and exact_match(answer.text, row["answers"])))
        counts.answered.append(float(answer.found))
        if answer.found:
            words = answer.quotes[0].words
            counts.right_sentence.append(float(any(a in words for a in row["answers"])))
            counts.verbatim.append(float(words in texts))
        counts.f1_forced.append(token_f1(guess.text, row["answers"]))
        if gold not in without:
            without = {gold: Library([p for p in passages if p.text != gold])}
        counts.claims.append(float(without[gold].answer(row["question"]).found))
        if len(counts.claims) % 100 == 0:
            print(f"{len(counts.claims)} of {len(asked)} asked", file=sys.stderr)
    return counts


def share(values: Sequence[float]) -> dict[str, Any]:
    """A share with its 95 % interval."""
    low, high = wilson(sum(values), len(values))
    mean = sum(values) / max(1, len(values))
    return {"share": round(mean, 4), "interval": [round(low, 3), round(high, 3)], "n": len(values)}


def mean(values: Sequence[float]) -> dict[str, Any]:
    """A mean with its 95 % interval."""
    low, high = interval_of_mean(values)
    return {
        "mean": round(sum(values) / max(1, len(values)), 4),
        "interval": [round(low, 3), round(high, 3)],
        "n": len(values),
    }


def main() -> int:
    """A table, then one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} questions")
    parser.add_argument(
        "--data", type=Path, default=cabin_home() / "data", help="holds xquad_en_a.jsonl[.xz]"
    )
    options = parser.parse_args()
    try:
        rows = read_set(options.data, "xquad_en_a")
    except EvalError as error:
        parser.exit(2, f"{error}\n")
    asked = rows[:: max(1, len(rows) // QUICK)] if options.quick else rows
    counts = measure(rows, asked)
    result: dict[str, Any] = {
        "bench": "documents",
        "questions": len(asked),
        "paragraphs": len({row["context"] for row in rows}),
        **{f"recall@{n}": share(values) for n, values in counts.recall.items()},
        "F1": mean(counts.f1),
        "exact": share(counts.exact),
        "answered": share(counts.answered),
        "right sentence, of the answered": share(counts.right_sentence),
        "F1, if it always guessed": mean(counts.f1_forced),
        "false claims": share(counts.claims),
        "quotes verbatim": share(counts.verbatim),
        "ms": round(1000 * statistics.median(counts.seconds), 1),
    }
    for name, value in result.items():
        shown = value
        if isinstance(value, dict) and "interval" in value:
            score = value.get("share", value.get("mean"))
            shown = f"{score:.3f}  {value['interval']}  of {value['n']}"
        print(f"{name:34} {shown}")
    result["ok"] = result["false claims"]["share"] <= GOAL
    OUT.mkdir(parents=True, exist_ok=True)
    name = "documents-quick.json" if options.quick else "documents.json"
    (OUT / name).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
