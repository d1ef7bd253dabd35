"""How well reward models tell pairs apart: by rules that are known, and as people did.

    python bench/workshop/reward.py
    python bench/workshop/reward.py --base RUN --hh hh_harmless_test.jsonl --pairs 1000

Synthetic: a small model of random weights learns two rules from pairs that follow them. "manner":
an answer that helps over one that is rude. "matter": one about what was asked for over one about
another thing, which takes reading the question. Held-out pairs ask other questions. Goal: 95 %.

HH: Anthropic's harmlessness pairs (arXiv:2204.05862), split by prompt: conversations that begin
alike are on one side. A throw-away reward model learns from nine tenths and is measured on the
rest, beside the rule "the longer answer". Nothing that it learns is kept or shipped: these pairs
are for measuring only. Goal: 60 %. Its text is offensive; none of it is printed.

Calibration: the expected error of the model's own certainty (ECE), and what it is once a
temperature has been fitted on the other half of the pairs. `--quick`: "manner" alone.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(ROOT / "bench" / "engine"), str(ROOT), str(ROOT / "src")]

import harness  # noqa: E402
from cabinos.lab.comparisons.formats import read_pairs  # noqa: E402
from cabinos.lab.evaluate.scoring import wilson  # noqa: E402
from cabinos.train.loop import Run  # noqa: E402
from cabinos.train.prefer.config import RewardConfig  # noqa: E402
from cabinos.train.prefer.reward import reward  # noqa: E402
from small_brain import OPTIONS, fresh, write_lines  # noqa: E402

THINGS = (
    "apples bread cheese eggs rice tea milk salt plates knives spoons cups pans towels lamps "
    "chairs books letters keys coats shoes ladders nails paint"
).split()
PLACES = "kitchen cellar hall garden attic study stable shed".split()


def synthetic(rule: str, count: int) -> Iterator[dict[str, Any]]:
    """Pairs that follow a rule."""
    rng = Random(rule)
    for _ in range(count):
        thing, other = rng.sample(THINGS, 2)
        place = rng.choice(PLACES)
        chosen = f"The {thing} are in the {place}."
        rude = rng.choice(("Find them yourself.", "Why should I know?", "Do not bother me."))
        rejected = rude if rule == "manner" else f"The {other} are in the {place}."
        yield pair(f"{rng.randrange(10_000)}: where are the {thing}?", chosen, rejected)


def pair(asked: str, chosen: str, rejected: str) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": asked}],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
    }


def human(path: Path, count: int) -> Iterator[dict[str, Any]]:
    """Pairs of HH-RLHF that differ in the last answer alone."""
    pairs = [pair for pair in read_pairs(path) if not pair.tie and len(pair.rejected) == 1]
    Random(1).shuffle(pairs)
    for found in [pair for pair in pairs if len(pair.chosen) == 1][:count]:
        yield found.to_json()


def row(name: str, run: Run, goal: float) -> dict[str, Any]:
    """What a run gave on the pairs that it did not see."""
    facts = json.loads((run.out / "run.json").read_text(encoding="utf-8"))["data"]
    found = run.evaluate()
    low, high = wilson(found["accuracy"] * facts["held"], facts["held"])
    return {
        "pairs": name, "learnt": facts["learnt"], "held": facts["held"], **found,
        "low": low, "high": high, "longer": facts["longer_chosen"], "too long": facts["too_long"],
        "updates": run.progress.step, "seconds": run.progress.seconds,
        "ok": found["accuracy"] >= goal,
    }  # fmt: skip


def main() -> int:
    """Prints the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--base", type=Path, help="the folder of a run, for --hh")
    parser.add_argument("--hh", type=Path, help="hh_harmless_test.jsonl, or .xz")
    parser.add_argument("--pairs", type=int, default=2312, help="of HH, at most")
    parser.add_argument("--held", type=float, default=0.2, help="share of HH's prompts")
    parser.add_argument("--context", type=int, default=512, help="of HH")
    parser.add_argument("--matrix-rate", type=float, default=0.002)
    parser.add_argument("--only-hh", action="store_true", help="without the synthetic ones")
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results/workshop")
    arguments = parser.parse_args()
    if arguments.hh and not arguments.base:
        parser.error("--hh needs --base, the folder of a run on conversations")
    torch.set_num_threads(1)
    rules = ("manner",) if arguments.quick else () if arguments.only_hh else ("manner", "matter")
    rows = []
    with tempfile.TemporaryDirectory(prefix="cabin-bench-") as name:
        folder = Path(name)
        for rule in rules:
            count, epochs = (300, 3.0) if rule == "manner" else (3000, 4.0)
            file = write_lines(folder / f"{rule}.jsonl", synthetic(rule, count))
            texts = (json.loads(line)["chosen"][0]["content"] for line in file.open())
            base = fresh(folder / f"{rule}-base", texts, 1)
            config = RewardConfig(
                epochs=epochs, batch_tokens=2048, micro_tokens=2048, context=128, held=0.2,
                matrix_rate=0.01, other_rate=0.005,
            )  # fmt: skip
            rows.append(row(rule, reward(config, base, [file], folder / rule, OPTIONS), 0.95))
        if arguments.hh:
            file = write_lines(folder / "hh.jsonl", human(arguments.hh, arguments.pairs))
            config = RewardConfig(
                batch_tokens=4096, micro_tokens=4096, context=arguments.context,
                held=arguments.held, matrix_rate=arguments.matrix_rate, other_rate=0.002,
            )  # fmt: skip
            run = reward(config, arguments.base, [file], folder / "hh", OPTIONS)
            rows.append(row("HH", run, 0.6))
    return harness.report("reward", arguments, rows, detail={"numpy": np.__version__})


if __name__ == "__main__":
    sys.exit(main())
