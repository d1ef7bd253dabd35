"""How the constants of choosing skills were chosen, so that it can be done again.

    python bench/skills/constants.py --data FOLDER [--quick]

Seven times a hundred skills made of pages of the tldr project (train data: tldr.jsonl[.xz] in
FOLDER), no page twice: a command's name, what it is for, and every other of its examples. Requests
are the examples that were left out; near misses are those of sixty other commands. For each share
of the words against the meaning (WORDS), and each weight of what the texts have in common (PRIOR),
recall is measured, and the threshold (FIRES) and the lead (LEAD) are taken that let the most right
skills fire with at most 5 % false ones. And for each share that flows along links (FLOW), what the
shipped skills' own questions find: the most that loses nothing is taken.
"""

import itertools
import json
import random
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from skill_bench import options, report

from cabinos.lab.evaluate.sets import read_set
from cabinos.skills import rank, retrieval
from cabinos.skills.catalog import library_folder, skill_folders
from cabinos.skills.graph import compile_graph
from cabinos.skills.meaning import encoder
from cabinos.skills.package import Skill, read_head, read_skill
from cabinos.skills.retrieval import Chooser, Searcher

DRAWS, SKILLS, OTHERS = 7, 100, 60
MISFIRES = 0.05
WORDS = (1.0, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
PRIORS = (0, 33, 100, 300, 1_000_000)
FIRES = [n / 100 for n in range(16, 60, 2)]
LEADS = (1.0, 1.2, 1.4, 1.7)
FLOWS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)
Page = tuple[str, str, list[str]]  # name, description, examples
Draw = tuple[list[Skill], list[tuple[str, str]]]


def pages(data: Path) -> list[Page]:
    """The commands with enough to say, in an order drawn by chance."""
    found = []
    for row in read_set(data, "tldr"):
        if not row["path"].startswith("pages/common/"):
            continue
        lines = row["text"].split("\n")
        name = lines[0][2:].strip().lower()
        about = [line[2:] for line in lines if line.startswith("> ")]
        about = [line for line in about if not line.startswith(("More information", "See also"))]
        examples = [
            re.sub(r"\[(\w)\]", r"\1", line[2:].rstrip(":")) for line in lines if line[:2] == "- "
        ]
        if re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) and len(examples) >= 6 and about:
            found.append((name, " ".join(about), examples))
    random.Random(1).shuffle(found)
    return found


def make(folder: Path, page: Page) -> Skill:
    name, about, examples = page
    path = folder / name
    path.mkdir()
    description = re.sub("[<>]", "", f"{about} Use to: {'; '.join(examples[::2])}")[:1024]
    head = f"---\nname: {name}\ndescription: {json.dumps(description)}\n---\n"
    (path / "SKILL.md").write_text(head, encoding="utf-8")
    return read_head(path)


def requests(page: Page) -> list[str]:
    return [example for example in page[2][1::2] if len(example.split()) > 4]


def best(rows: list[tuple[str, list[tuple[str, float]]]]) -> dict[str, float]:
    """Threshold and lead with the most right ones; `rows`: (right name or "", best two)."""
    found: dict[str, float] = {"fires": -1.0}
    asked = sum(1 for name, _ in rows if name)
    for least, lead in itertools.product(FIRES, LEADS):
        right = wrong = missed = 0
        for name, two in rows:
            second = two[1][1] if len(two) > 1 else 0.0
            if two and two[0][1] >= least and two[0][1] >= lead * second:
                right += two[0][0] == name
                wrong += bool(name) and two[0][0] != name
                missed += not name
        near = max(1, len(rows) - asked)
        if max(wrong / asked, missed / near) <= MISFIRES and right / asked > found["fires"]:
            found = {"fires": round(right / asked, 4), "FIRES": least, "LEAD": lead}
    return found


def draw(folder: Path, drawn: list[Page], number: int) -> Draw:
    """One of the hundreds, and what is asked of it: (right name or "", request)."""
    drawn = drawn[number * (SKILLS + OTHERS) :]
    ours, others = drawn[:SKILLS], drawn[SKILLS : SKILLS + OTHERS]
    asked = [(page[0], text) for page in ours for text in requests(page)]
    asked += [("", text) for page in others for text in requests(page)]
    return [make(folder, page) for page in ours], asked


def measured(draws: list[Draw]) -> dict[str, float]:
    """Recall, threshold and lead with the constants as they are now."""
    rows, shown, total = [], 0, 0
    for skills, asked in draws:
        chooser = Chooser(skills, encoder() if rank.WORDS < 1 else None)
        for name, text in asked:
            chosen = chooser.choose(text)
            total += bool(name)
            shown += bool(name) and name in [one.skill.name for one in chosen]
            two = [(one.skill.name, one.score) for one in chosen[:2]]
            rows.append((name, two if two and chosen[0].fires else []))
    return {"recall@5": round(shown / total, 4), **best(rows)}


def main() -> int:
    """A table, then one JSON line."""
    parser = options(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="has tldr.jsonl or .xz")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        draws = [
            draw(Path(folder), pages(given.data), n) for n in range(2 if given.quick else DRAWS)
        ]
    table: dict[str, Any] = {}
    shipped = rank.WORDS, rank.PRIOR
    retrieval.FIRES = retrieval.LEAD = 0.0  # whatever may fire does, and `best` finds from where on
    settings = [("WORDS", share, shipped[1]) for share in WORDS]
    settings += [("PRIOR", shipped[0], prior) for prior in PRIORS]
    for name, rank.WORDS, rank.PRIOR in settings:
        key = f"{name} {getattr(rank, name):g}"
        table[key] = measured(draws)
        print(f"{key:14} {table[key]}", flush=True)
    rank.WORDS, rank.PRIOR = shipped
    library = [read_skill(path) for path in skill_folders(library_folder())]
    searcher = Searcher(compile_graph(library), encoder())
    for flow in FLOWS:
        table[f"FLOW {flow:g}"] = own = round(_own(searcher, library, flow), 4)
        print(f"FLOW {flow:<5g} own questions found {own}")
    return report(
        "constants", given, {"requests": sum(len(asked) for _, asked in draws), "table": table}
    )


def _own(searcher: Searcher, library: list[Skill], flow: float) -> float:
    shares = []
    for skill in library:
        for row in json.loads(skill.folder.text("evals/questions.json")):
            wanted = {f"{skill.name}#{one}" for one in row["principles"]}
            found = {f.principle.key for f in searcher.search(row["question"], flow=flow)}
            shares.append(len(wanted & found) / len(wanted))
    return sum(shares) / len(shares)


if __name__ == "__main__":
    sys.exit(main())
