"""How the brain in the box is made, from nothing to the two GGUF files: the whole of it.

Every step leaves a file or a folder and is left out where that is there, so that a recipe may be
killed at any time and started again. What was made by other numbers than these is not gone on with:
each run refuses.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cabinos.train.config import RunConfig, TuneConfig
from cabinos.train.dialogues.generate import generate
from cabinos.train.export import export_gguf
from cabinos.train.finetune import Material, finetune
from cabinos.train.prepare import get_sources, prepare
from cabinos.train.pretrain import pretrain
from cabinos.train.saved import load_run
from cabinos.train.session import Options

__all__ = ["NANO", "Made", "Recipe", "make"]

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """All that a brain is made by."""

    name: str
    texts: RunConfig  # stage 1
    conversations: int  # of stage 2
    talk: TuneConfig  # and how they are learnt
    held: int = 500  # conversations of withheld wordings, to measure by
    kind: str = "q8_0"  # how the weights are stored


NANO = Recipe(
    "nano",
    texts=RunConfig(tokens=3_200_000, batch_tokens=4096, other_rate=0.008),
    conversations=64_000,
    talk=TuneConfig(
        tokens=9_600_000,
        batch_tokens=4096,
        micro_tokens=4096,
        matrix_rate=0.01,
        other_rate=0.005,
    ),
)
"""6.5 M parameters, on two CPU cores."""


@dataclass(frozen=True)
class Made:
    """The files of a finished recipe."""

    base: Path
    assistant: Path
    seconds: dict[str, float] = field(default_factory=dict)  # of training, by stage


def make(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    origin: Path | None = None,
    options: Options | None = None,
    tell: Tell = lambda _text: None,
) -> Made:
    """Texts, tokenizer, base, conversations, assistant, and both as GGUF in `out`.

    `origin`: a folder with the sources; otherwise they are fetched. Raises TrainError with what to
    do, from whichever step.
    """
    tell("1/6 texts")
    get_sources(data, origin=origin)
    prepare(data, tell)
    tell("2/6 base model")
    base = out / "base"
    seconds = {"base": pretrain(recipe.texts, data, base, options).progress.seconds}
    tell("3/6 conversations")
    held = _conversations(data, out / "held.jsonl", 1, recipe.held, held_out=True)
    rows = _conversations(data, out / "rows.jsonl", 1, recipe.conversations)
    tell("4/6 assistant")
    assistant = out / "assistant"
    tuned = finetune(recipe.talk, Material(base, [rows], held, data), assistant, options)
    seconds["assistant"] = tuned.progress.seconds
    tell("5/6 files")
    return Made(
        _export(recipe, base, out / f"{recipe.name}-base.gguf", assistant=False),
        _export(recipe, assistant, out / f"{recipe.name}.gguf", assistant=True),
        seconds,
    )


def _conversations(
    data: Path, path: Path, seed: int, count: int, *, held_out: bool = False
) -> Path:
    """Conversations in a file, which is there whole or not at all."""
    if not path.is_file():
        workers = max(1, os.cpu_count() or 1)
        generate(seed, count, path, held_out=held_out, data=data, workers=workers)
    return path


def _export(recipe: Recipe, run: Path, path: Path, *, assistant: bool) -> Path:
    model, companion = load_run(run)
    name = path.stem
    export_gguf(model, companion, path, recipe.kind, name=name, assistant=assistant)
    return path
