"""Does the right skill fire among a hundred, does no other, and what does it cost?

    python bench/skills/firing.py --data FOLDER [--quick] [--words]

A hundred skills, each for an intent of CLINC150, with a name and a description that were written
from the intents' names alone (skills100.tsv); 20 requests that people wrote for each, of its
validation part (clinc_val.jsonl[.xz] in FOLDER). Near misses are its other 51 groups: 50 intents
that have no skill here, many of them neighbours of one that has, and the set's own out-of-scope
requests. None of these requests was used to choose a constant; those were chosen on commands of the
tldr pages.

  recall@5    the right skill is among the five that the model is shown
  fires       the right skill comes into the prompt unasked
  false fire  of near misses: any skill does; of requests with a skill: another one does
  prompt      tokens of what is shown (name, description), beside those of listing all of them
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from skill_bench import HERE, options, report

from cabinos.drivers.model.brain import BUILT_IN
from cabinos.engine.tokenizer import Tokenizer
from cabinos.lab.evaluate.sets import read_set
from cabinos.skills.meaning import encoder
from cabinos.skills.package import Skill, read_head
from cabinos.skills.retrieval import SHOWN, Chooser

GOALS = {"recall@5": 0.95, "false_fire": 0.05, "prompt": 0.10}


def skills(folder: Path) -> dict[str, Skill]:
    """The hundred, by intent, as real packages on disk."""
    made = {}
    for line in (HERE / "skills100.tsv").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        intent, name, description = line.split("\t")
        path = folder / name
        path.mkdir()
        head = f"---\nname: {name}\ndescription: {description!r}\nlicense: Apache-2.0\n---\n"
        (path / "SKILL.md").write_text(f"{head}\n# {name}\n", encoding="utf-8")
        made[intent] = read_head(path)
    return made


def listed(skill: Skill) -> str:
    """A skill as it is listed to a model."""
    return f"- {skill.name}: {skill.description}\n"


def main() -> int:
    """A table, then one JSON line."""
    parser = options(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="has clinc_val.jsonl or .xz")
    parser.add_argument("--words", action="store_true", help="without vectors")
    given = parser.parse_args()
    rows = read_set(given.data, "clinc_val")[:: 10 if given.quick else 1]
    with tempfile.TemporaryDirectory() as folder:
        by_intent = skills(Path(folder))
        chooser = Chooser(list(by_intent.values()), None if given.words else encoder())
    count = Tokenizer.from_gguf(BUILT_IN).encode
    everything = sum(len(count(listed(skill))) for skill in by_intent.values())
    shown = first = fires = wrong = misfires = 0
    near = 0
    tokens: list[int] = []
    seconds: list[float] = []
    for row in rows:
        start = time.perf_counter()
        chosen = chooser.choose(row["text"])
        seconds.append(time.perf_counter() - start)
        tokens.append(sum(len(count(listed(one.skill))) for one in chosen))
        fired = [one.skill.name for one in chosen if one.fires]
        right = by_intent.get(row["intent"])
        if right is None:
            near += 1
            misfires += bool(fired)
            continue
        names = [one.skill.name for one in chosen]
        shown += right.name in names
        first += names[:1] == [right.name]
        fires += fired == [right.name]
        wrong += bool(fired) and fired != [right.name]
    asked = len(rows) - near
    figures: dict[str, Any] = {
        "skills": len(by_intent),
        "requests": asked,
        "near_misses": near,
        f"recall@{SHOWN}": round(shown / asked, 4),
        "recall@1": round(first / asked, 4),
        "fires": round(fires / asked, 4),
        "false_fire_near_miss": round(misfires / near, 4),
        "false_fire_other": round(wrong / asked, 4),
        "false_fire": round((misfires + wrong) / len(rows), 4),
        "prompt_tokens": round(statistics.fmean(tokens), 1),
        "listing_tokens": everything,
        "prompt": round(statistics.fmean(tokens) / everything, 4),
        "ms": round(1e3 * statistics.median(seconds), 2),
        "goals": GOALS,
    }
    met = {
        "recall@5": figures["recall@5"] >= GOALS["recall@5"],
        "false_fire": figures["false_fire"] <= GOALS["false_fire"],
        "prompt": figures["prompt"] <= GOALS["prompt"],
    }
    for name, value in figures.items():
        print(f"{name:22} {value}")
    figures |= {"met": met, "ok": all(met.values())}
    if given.words:
        figures["encoder"] = "none: words alone"
    return report("firing-words" if given.words else "firing", given, figures)


if __name__ == "__main__":
    sys.exit(main())
