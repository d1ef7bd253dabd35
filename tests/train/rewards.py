"""A task for the tests of GRPO, and what starts a tiny run on it, here or in a process."""

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from cabinos.kernel.driver import Message, Model, ThinkRequest
from cabinos.train.rl.config import RlConfig

TINY: dict[str, Any] = {
    "rounds": 4, "cases": 2, "samples": 4, "answer_tokens": 6, "micro_tokens": 512,
    "context": 128, "other_rate": 0.01, "warmup": 0.0,
}  # fmt: skip


class Letters:
    """The more of an answer are letters, the better: whoever knows nothing can learn it."""

    name = fingerprint = "letters"

    def case(self, number: int, *, held: bool) -> str:
        return f"{'held' if held else 'case'} {number % 3}"

    def stage(self) -> AbstractContextManager[object]:
        return nullcontext()

    async def play(self, model: Model, case: str) -> float:
        thought = await model.think(ThinkRequest((Message("user", case),)))
        letters = sum(sign.isascii() and sign.isalpha() for sign in thought.text)
        return letters / max(1, len(thought.text))


def tiny(**changes: Any) -> RlConfig:
    return RlConfig(**(TINY | changes))


def main(base: str, out: str) -> None:
    """A tiny run: `python -m tests.train.rewards BASE OUT`."""
    from cabinos.train.rl.train import rl
    from tests.train.comparisons import QUICK

    rl(tiny(rounds=2), Path(base), Letters(), Path(out), QUICK)


if __name__ == "__main__":
    main(*sys.argv[1:])
