"""What GRPO, or PPO, adds to fine-tuning, on cases that no training saw.

    python bench/workshop/grpo.py                                    # Countdown, three seeds
    python bench/workshop/grpo.py --method ppo
    python bench/workshop/grpo.py --base RUN --task tools --seeds 1  # a brain with tools

Countdown: a small model of its own is fine-tuned on puzzles with their solutions, then learns from
rewards alone; the same held-out puzzles are answered before and after, once greedily and once at
temperature 1, which is what learning from rewards narrows. Goal: twice the share solved.

tools: conversations through the kernel, judged by the state that they leave; goal: 3 points more on
templates that are withheld from training. It takes hours on a CPU.

Shares stand with 95 % Wilson intervals. `drift` is how far the engine's log-probabilities are from
torch's, on what was played. Both methods get as many answers; PPO learns in four passes over the
answers of a round and GRPO in one, each as `cabin rl train` does by default. `--quick`: one seed
and a few rounds, to see that it works.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(ROOT / "bench" / "engine"), str(ROOT), str(ROOT / "src")]

import harness  # noqa: E402
from cabinos.lab.evaluate.scoring import wilson  # noqa: E402
from cabinos.lab.practice import ToolUse  # noqa: E402
from cabinos.train.rl.config import PpoConfig, RlConfig  # noqa: E402
from cabinos.train.rl.countdown import Countdown, write_rows  # noqa: E402
from cabinos.train.rl.rounds import figures  # noqa: E402
from cabinos.train.rl.stream import Policy  # noqa: E402
from cabinos.train.rl.train import rl  # noqa: E402
from cabinos.train.rows import open_speech  # noqa: E402
from cabinos.train.saved import load_run  # noqa: E402
from small_brain import OPTIONS, distinct, tuned, workplace  # noqa: E402

if TYPE_CHECKING:
    from cabinos.train.rl.task import Task

ROW = 40  # tokens, at most: a puzzle with its solution


def solved(run: Path, task: "Task", config: RlConfig, cases: list[int], heat: float) -> float:
    """How many held-out cases the model of a run gets right."""
    model, companion = load_run(run)
    policy = Policy(model, open_speech(companion).tokenizer, companion, task, assistant=True)
    orders = [(number, number) for number in cases]
    played = policy.play(orders, config, held=True, temperature=heat)
    return sum(one.reward for one in played)


def one_seed(
    arguments: argparse.Namespace, folder: Path, seed: int
) -> tuple[list[dict[str, Any]], list[float]]:
    """Before and after, from one seed; and the rewards of all rounds."""
    task: Task
    kind = PpoConfig if arguments.method == "ppo" else RlConfig
    config = kind(
        rounds=arguments.rounds, cases=arguments.cases, samples=8, context=arguments.context,
        answer_tokens=arguments.answer_tokens, micro_tokens=4096, seed=seed,
        matrix_rate=arguments.matrix_rate, other_rate=arguments.matrix_rate / 3,
    )  # fmt: skip
    begin = time.perf_counter()
    if arguments.task == "countdown":
        task = Countdown(arguments.numbers, arguments.largest)
        file = folder / "rows.jsonl"
        if not file.is_file():
            write_rows(task, arguments.tokens // ROW, file)
        base = arguments.base or tuned(folder / f"sft-{seed}", file, arguments.tokens, seed)
    else:
        task, base = ToolUse(arguments.data), arguments.base
    made = time.perf_counter() - begin
    out = folder / f"{arguments.method}-{seed}"
    run = rl(config, base, task, out, OPTIONS)
    rounds = list(figures(out))
    common = {
        "seed": seed, "sft s": made, "rl s": time.perf_counter() - begin - made,
        "updates s": run.progress.seconds,
        "drift": sum(told["drift_mean"] for told in rounds) / len(rounds),
        "worst drift": max(told["drift_max"] for told in rounds),
    }  # fmt: skip
    cases = list(range(arguments.held))
    if isinstance(task, Countdown):
        cases = distinct(task, arguments.held)
    rows: list[dict[str, Any]] = []
    for name, heat in (("greedy", 0.0), ("sampled", 1.0)):
        right = [solved(where, task, config, cases, heat) for where in (base, out)]
        rows.append({"decoding": name, **change(right, len(cases)), **common, "ok": None})
    return rows, [round(told["reward"], 4) for told in rounds]


def change(right: "list[float]", count: int) -> dict[str, float]:
    """Shares before and after, with their intervals."""
    found: dict[str, float] = {"n": count}
    for when, number in zip(("before", "after"), right, strict=True):
        low, high = wilson(number, count)
        found |= {when: number / count, f"{when} low": low, f"{when} high": high}
    return found


def pooled(rows: list[dict[str, Any]], decoding: str, task: str) -> dict[str, Any]:
    """All seeds together; the intervals take each answer for one of its own."""
    own = [row for row in rows if row["decoding"] == decoding]
    right = [sum(row[when] * row["n"] for row in own) for when in ("before", "after")]
    found = change(right, int(sum(row["n"] for row in own)))
    if task == "countdown":
        good = found["after"] >= 2 * found["before"] > 0
    else:
        good = found["after"] >= found["before"] + 0.03
    return {"decoding": decoding, **found, "seed": "all", "ok": good}


def main() -> int:
    """Prints the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--method", choices=["grpo", "ppo"], default="grpo")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="keep runs there; they go on")
    parser.add_argument("--task", choices=["countdown", "tools"], default="countdown")
    parser.add_argument("--base", type=Path, help="the folder of a run; default: one is made")
    parser.add_argument("--data", type=Path, help="a data folder, for more words")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--cases", type=int, default=16)
    parser.add_argument("--held", type=int, default=400)
    parser.add_argument("--tokens", type=int, default=600_000, help="of fine-tuning")
    parser.add_argument("--numbers", type=int, default=3)
    parser.add_argument("--largest", type=int, default=9)
    parser.add_argument("--matrix-rate", type=float, default=0.003)
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results/workshop")
    arguments = parser.parse_args()
    if arguments.task == "tools" and arguments.base is None:
        parser.error("--task tools needs --base, the folder of a run on conversations")
    if arguments.quick:
        arguments.seeds, arguments.rounds, arguments.held, arguments.tokens = 1, 4, 40, 40_000
        arguments.cases, arguments.numbers = 4, 2
    tools = arguments.task == "tools"
    arguments.context, arguments.answer_tokens = (1024, 256) if tools else (128, 40)
    torch.set_num_threads(1)
    rows, rewards = [], []
    with workplace(arguments.work) as folder:
        for seed in range(1, arguments.seeds + 1):
            more, course = one_seed(arguments, folder, seed)
            rows += more
            rewards.append(course)
    rows += [pooled(rows, decoding, arguments.task) for decoding in ("greedy", "sampled")]
    names = ("rounds", "cases", "tokens", "numbers", "largest", "matrix_rate")
    detail = {name: getattr(arguments, name) for name in names} | {"rewards": rewards}
    return harness.report(f"{arguments.method}-{arguments.task}", arguments, rows, detail=detail)


if __name__ == "__main__":
    sys.exit(main())
