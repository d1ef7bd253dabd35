"""What DPO adds to fine-tuning, by a blind rater that knows right from wrong.

    python bench/workshop/dpo.py

A small model is fine-tuned on Countdown puzzles. It answers other puzzles several times, and the
checker makes pairs of what it says: right over wrong, and of two wrong ones the one that keeps the
rules, and comes closer, over the other. DPO learns from these. Then both answer the same held-out
puzzles, greedily, and the rater sees two answers without knowing whose they are, in both orders;
where the two verdicts differ, it is a tie. Ties are half a win. Goal: 55 %.

Length: the mean of both sides' answers in tokens, and the win rate among those battles whose
answers are equally long, where length can explain nothing. Intervals are Wilson's, 95 %, on decided
battles as well. `--quick`: one seed, hardly trained, to see that it works.
"""

import argparse
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(ROOT / "bench" / "engine"), str(ROOT), str(ROOT / "src")]

import harness  # noqa: E402
from cabinos.lab.evaluate.scoring import wilson  # noqa: E402
from cabinos.train.prefer.config import DpoConfig  # noqa: E402
from cabinos.train.prefer.dpo import dpo  # noqa: E402
from cabinos.train.rl.config import RlConfig  # noqa: E402
from cabinos.train.rl.countdown import Countdown, Puzzle, value, write_rows  # noqa: E402
from cabinos.train.rl.rollouts import Rollout  # noqa: E402
from cabinos.train.rl.stream import Policy  # noqa: E402
from cabinos.train.rows import open_speech  # noqa: E402
from cabinos.train.saved import load_run  # noqa: E402
from small_brain import CONTEXT, OPTIONS, distinct, tuned, workplace, write_lines  # noqa: E402

ROW = 40  # tokens, at most: a puzzle with its solution
FIRST = 1_000_000  # the puzzles that pairs are made of are none that were fine-tuned on
PLAYING = RlConfig(context=CONTEXT, answer_tokens=40)


def answers(
    run: Path, task: Countdown, orders: list[tuple[int, int]], heat: float
) -> list[Rollout]:
    """What the model of a run says, through the engine; held-out puzzles if it is greedy."""
    model, companion = load_run(run)
    policy = Policy(model, open_speech(companion).tokenizer, companion, task, assistant=True)
    return policy.play(orders, PLAYING, held=not heat, temperature=heat)


def distance(text: str, puzzle: Puzzle) -> Fraction:
    """How far an answer is from the target; far, if it breaks the rules."""
    made = value(text, puzzle.numbers)
    return Fraction(10_000) if made is None else min(abs(made - puzzle.target), Fraction(9_999))


def verdict(first: str, second: str, puzzle: Puzzle) -> int:
    """1 if the first is better, -1 if the second is, 0 if neither."""
    a, b = distance(first, puzzle), distance(second, puzzle)
    return (a < b) - (b < a)


def pairs(task: Countdown, played: list[Rollout], rng: Random) -> Iterator[dict[str, Any]]:
    """The best and the worst answer to each puzzle, if they differ."""
    by_case: dict[int, list[str]] = {}
    for one in played:
        by_case.setdefault(one.case, []).append(one.text)
    for case, texts in by_case.items():
        puzzle = task.case(case, held=False)
        rng.shuffle(texts)
        ordered = sorted(texts, key=lambda text: distance(text, puzzle))
        if ordered[0] and ordered[-1] and verdict(ordered[0], ordered[-1], puzzle):
            yield {
                "prompt": [{"role": "user", "content": puzzle.question}],
                "chosen": [{"role": "assistant", "content": ordered[0]}],
                "rejected": [{"role": "assistant", "content": ordered[-1]}],
                "source": "checker",
            }


def battles(task: Countdown, ours: list[Rollout], theirs: list[Rollout]) -> dict[str, Any]:
    """What the rater says of each puzzle's two answers, in both orders."""
    wins = losses = swapped = level_wins = level = 0.0
    for mine, other in zip(ours, theirs, strict=True):
        puzzle = task.case(mine.case, held=True)
        there = verdict(mine.text, other.text, puzzle)
        back = -verdict(other.text, mine.text, puzzle)
        swapped += there != back
        result = there if there == back else 0
        wins, losses = wins + (result > 0), losses + (result < 0)
        if mine.tokens == other.tokens:
            level, level_wins = level + 1, level_wins + (1 + result) / 2
    count = len(ours)
    score = wins + (count - wins - losses) / 2
    low, high = wilson(score, count)
    decided = wilson(wins, int(wins + losses))
    return {
        "battles": count, "win rate": score / count, "low": low, "high": high,
        "wins": wins, "losses": losses, "decided low": decided[0], "decided high": decided[1],
        "differ when swapped": swapped, "equally long": level,
        "of these": level_wins / level if level else None,
        "tokens": sum(one.tokens for one in ours) / count,
        "tokens before": sum(one.tokens for one in theirs) / count,
        "right": sum(one.reward for one in ours) / count,
        "right before": sum(one.reward for one in theirs) / count,
    }  # fmt: skip


def one_seed(arguments: argparse.Namespace, folder: Path, seed: int) -> dict[str, Any]:
    """Fine-tune, make pairs, learn from them, and let both answer."""
    task = Countdown(arguments.numbers, arguments.largest)
    rows = folder / "rows.jsonl"
    if not rows.is_file():
        write_rows(task, arguments.tokens // ROW, rows)
    before = tuned(folder / f"sft-{seed}", rows, arguments.tokens, seed)
    orders = [(FIRST + case, seed * 100 + n) for case in range(arguments.puzzles) for n in range(6)]
    made = list(pairs(task, answers(before, task, orders, 1.0), Random(seed)))
    if not made:
        raise SystemExit("The model keeps to no rule yet, so no two answers differ: more --tokens.")
    file = write_lines(folder / f"pairs-{seed}.jsonl", made)
    config = DpoConfig(
        epochs=arguments.epochs, batch_tokens=4096, micro_tokens=4096, context=CONTEXT, seed=seed,
        beta=arguments.beta, normalised=arguments.normalised, likelihood=arguments.likelihood,
        matrix_rate=arguments.matrix_rate, other_rate=arguments.matrix_rate / 3,
    )  # fmt: skip
    after = folder / f"dpo-{seed}"
    dpo(config, before, [file], after, OPTIONS)
    held = [(case, 0) for case in distinct(task, arguments.held)]
    ours, theirs = (answers(run, task, held, 0.0) for run in (after, before))
    return {"seed": seed, "pairs": len(made), **battles(task, ours, theirs), "ok": None}


def main() -> int:
    """Prints the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="keep runs there; they go on")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--puzzles", type=int, default=1000)
    parser.add_argument("--held", type=int, default=400)
    parser.add_argument("--tokens", type=int, default=600_000, help="of fine-tuning")
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--beta", type=float, default=0.1)
    parser.add_argument("--normalised", action="store_true")
    parser.add_argument("--likelihood", type=float, default=0.0)
    parser.add_argument("--matrix-rate", type=float, default=0.003)
    parser.add_argument("--numbers", type=int, default=3)
    parser.add_argument("--largest", type=int, default=9)
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results/workshop")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds, arguments.puzzles, arguments.held, arguments.tokens = 1, 30, 40, 40_000
        arguments.numbers = 2
    torch.set_num_threads(1)
    with workplace(arguments.work) as folder:
        rows = [one_seed(arguments, folder, n + 1) for n in range(arguments.seeds)]
    wins, losses, count = (sum(row[k] for row in rows) for k in ("wins", "losses", "battles"))
    score = wins + (count - wins - losses) / 2
    low, high = wilson(score, int(count))
    rows.append({
        "seed": "all", "battles": count, "win rate": score / count, "low": low, "high": high,
        "wins": wins, "losses": losses, "ok": score / count >= 0.55,
    })  # fmt: skip
    names = (
        "numbers",
        "largest",
        "puzzles",
        "tokens",
        "epochs",
        "beta",
        "normalised",
        "likelihood",
        "matrix_rate",
    )
    detail = {name: getattr(arguments, name) for name in names}
    return harness.report("dpo", arguments, rows, detail=detail)


if __name__ == "__main__":
    sys.exit(main())
