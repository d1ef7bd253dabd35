"""A ladder: the runs that a law is to be fitted to, planned under a compute budget.

A ladder is a folder: `ladder.json` says what is to be run, `rungs/` holds a run's folder for each
rung, with `result.json` when it is done, and `predictions.jsonl` is the journal of predictions,
whose runs are in `predicted/`.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cabinos.train.config import ModelConfig, RunConfig
from cabinos.train.errors import TrainError
from cabinos.train.scaling.points import Points
from cabinos.train.scaling.shapes import shape_of, widths

__all__ = ["FEWEST_UPDATES", "Ladder", "Result", "Rung", "Wish", "plan"]

FILE = "ladder.json"
FEWEST_UPDATES = 20  # of a rung; shorter runs are little but their warm-up


@dataclass(frozen=True)
class Wish:
    """What a plan is made from."""

    total: float  # floating-point operations of all rungs together
    budgets: int = 4  # rows of rungs that cost the same
    span: float = 10.0  # the largest budget, as a multiple of the smallest
    sizes: int = 4  # rungs in a row
    ratio: float = 20.0  # tokens to a parameter, around which the sizes lie
    held_out: int = 16_384  # tokens of each domain that a run is measured on


@dataclass(frozen=True)
class Rung:
    """One run."""

    name: str
    width: int
    tokens: int
    budget: float  # operations, as they were planned

    def run(self, base: RunConfig, vocabulary: int) -> tuple[RunConfig, ModelConfig]:
        """How it is trained: everything but the size and the length is as in the others."""
        shape = shape_of(self.width, vocabulary=vocabulary, context=base.context)
        return replace(base, depth=shape.depth, tokens=self.tokens), shape


@dataclass(frozen=True)
class Result:
    """A rung that was run."""

    name: str
    parameters: int  # all weights, a tied embedding counted once
    layers: int  # those of them that are neither embedding nor output
    tokens: int
    flops: float
    loss: float  # bits per byte of held-out text, the mean of the domains
    held_out: dict[str, float]  # by domain
    seconds: float


@dataclass(frozen=True)
class Ladder:
    """A planned ladder in its folder."""

    folder: Path
    base: RunConfig
    vocabulary: int
    data: str  # what the texts are known by: a hash of their index
    wish: Wish
    rungs: tuple[Rung, ...]

    def save(self) -> None:
        """Write `ladder.json`. Raises TrainError if another ladder is there."""
        path = self.folder / FILE
        if path.is_file() and Ladder.open(self.folder) != self:
            raise TrainError(
                f"{self.folder}: holds another ladder. Give another folder, or remove this one."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        facts = {"base": asdict(self.base), "vocabulary": self.vocabulary, "data": self.data,
                 "wish": asdict(self.wish), "rungs": [asdict(r) for r in self.rungs]}  # fmt: skip
        write_json(path, facts)

    @classmethod
    def open(cls, folder: Path) -> "Ladder":
        """The ladder in a folder. Raises TrainError if there is none, or a damaged one."""
        path = folder / FILE
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                folder, RunConfig(**facts["base"]), facts["vocabulary"], facts["data"],
                Wish(**facts["wish"]), tuple(Rung(**rung) for rung in facts["rungs"]),
            )  # fmt: skip
        except FileNotFoundError:
            raise TrainError(f"{folder}: no ladder here. Plan one: cabin scale plan.") from None
        except (ValueError, KeyError, TypeError) as error:
            raise TrainError(f"{path}: damaged ({error}).") from None

    def place(self, rung: Rung) -> Path:
        """The folder of a rung's run."""
        return self.folder / ("rungs" if rung in self.rungs else "predicted") / rung.name

    def flops(self, rung: Rung) -> float:
        """What a rung costs, counted exactly."""
        config, shape = rung.run(self.base, self.vocabulary)
        return rung.tokens * shape.flops_per_token(config.context)

    def result(self, rung: Rung) -> Result | None:
        """What came of a rung; None if it is not done. Raises TrainError if it is damaged."""
        path = self.place(rung) / "result.json"
        try:
            return Result(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise TrainError(f"{path}: damaged ({error}). Remove it and run again.") from None

    def results(self) -> Iterator[Result]:
        """Those of the rungs that are done."""
        for rung in self.rungs:
            if (result := self.result(rung)) is not None:
                yield result

    def points(self, *, layers_only: bool = False) -> Points:
        """What a law is fitted to; N is all weights, or those of the layers alone."""
        return Points.of(
            (r.layers if layers_only else r.parameters, r.tokens, r.flops, r.loss)
            for r in self.results()
        )

    def check_data(self, data: Path) -> None:
        """Raise TrainError if `data` is not what the ladder was planned for."""
        if fingerprint(data) != self.data:
            raise TrainError(
                f"{data}: not the texts that {self.folder} was planned for. Give the same --data, "
                "or plan another ladder."
            )


def plan(folder: Path, wish: Wish, base: RunConfig, data: Path, vocabulary: int) -> Ladder:
    """A ladder whose rungs cost `wish.total` together, or a little less.

    Budgets are apart by equal ratios. For each, those sizes are taken that lie around the one with
    `wish.ratio` tokens to a parameter and are trained for at least 20 updates. Raises TrainError if
    no size is.
    """
    if min(wish.total, wish.budgets, wish.sizes, wish.ratio) <= 0 or wish.span < 1:
        raise TrainError("a ladder needs a positive budget, budgets, sizes and ratio, and a span "
                         "of at least 1.")  # fmt: skip
    steps = [wish.span ** (n / max(1, wish.budgets - 1)) for n in range(wish.budgets)]
    lowest = wish.total / wish.sizes / sum(steps)
    rungs = [r for step in steps for r in _row(lowest * step, wish, base, vocabulary)]
    return Ladder(folder, base, vocabulary, fingerprint(data), wish, tuple(rungs))


def _row(budget: float, wish: Wish, base: RunConfig, vocabulary: int) -> list[Rung]:
    found: list[tuple[float, Rung]] = []
    for width in widths(2**15):
        shape = shape_of(width, vocabulary=vocabulary, context=base.context)
        updates = round(budget / shape.flops_per_token(base.context) / base.batch_tokens)
        if updates < FEWEST_UPDATES:
            break
        tokens = updates * base.batch_tokens
        off = tokens / shape.parameters / wish.ratio
        found.append((max(off, 1 / off), Rung(f"{budget:.2g}-w{width}", width, tokens, budget)))
    if not found:
        raise TrainError(
            f"{budget:.2g} operations are too few for {FEWEST_UPDATES} updates of "
            f"{base.batch_tokens} tokens. Give a larger --flops, fewer --budgets or --sizes, or a "
            "smaller --batch-tokens."
        )
    nearest = sorted(found, key=lambda pair: pair[0])[: wish.sizes]
    return sorted((rung for _, rung in nearest), key=lambda rung: rung.width)


def fingerprint(data: Path) -> str:
    """SHA-256 of the index of a prepared data folder. Raises CorpusError if it is not prepared."""
    from cabinos.train.shards import open_shards

    open_shards(data)
    return hashlib.sha256((data / "shards" / "index.json").read_bytes()).hexdigest()


def write_json(path: Path, facts: Any) -> None:
    """Whole or not at all."""
    partial = path.with_name(f".{path.name}")
    partial.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
