"""A throw-away model for the benches of stage 3, made on the spot: some hundred thousand weights.

It has four layers, a vocabulary of 512 tokens of its own and Cabin's chat template, is fine-tuned
by stage 2's code, and runs in the engine like any other. So a bench needs nobody's weights, and
shapes none that anybody ships.
"""

import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from cabinos.train.config import ModelConfig, TuneConfig
from cabinos.train.export import export_hf
from cabinos.train.finetune import Material, finetune
from cabinos.train.model import Llama
from cabinos.train.rl.countdown import Countdown
from cabinos.train.session import Options
from cabinos.train.tokenizer import train

VOCABULARY, CONTEXT, DEPTH = 512, 128, 4
OPTIONS = Options(
    device="cpu", dtype="float32", compiled=False, threads=1, save_every=1e9, test_every=10_000
)


def fresh(folder: Path, texts: Iterable[str], seed: int) -> Path:
    """A Hugging Face folder with random weights, and a tokenizer of the texts."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train(texts, VOCABULARY)
    tokenizer.save(str(folder / "tokenizer.json"))
    shape = ModelConfig.from_depth(DEPTH, vocabulary=tokenizer.get_vocab_size(), context=CONTEXT)
    model = Llama(shape)
    make = torch.Generator().manual_seed(seed)
    model.initialize(make)
    with torch.no_grad():  # fresh layers add nothing, and a reward model could not begin
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.normal_(0.0, 0.02, generator=make)
    return export_hf(model, folder / "tokenizer.json", folder / "hf")


@contextmanager
def workplace(given: Path | None) -> Iterator[Path]:
    """Where runs are made: a folder of one's own, in which they go on, or one that is removed."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="cabin-bench-") as folder:
        yield Path(folder)


def tuned(folder: Path, rows: Path, tokens: int, seed: int) -> Path:
    """A run's folder: a fresh model, fine-tuned on the rows for so many tokens."""
    base = folder / "fresh" / "hf"
    if not base.is_dir():
        fresh(folder / "fresh", texts_of(rows), seed)
    config = TuneConfig(
        tokens=tokens, batch_tokens=1024, micro_tokens=1024, context=CONTEXT,
        matrix_rate=0.02, other_rate=0.01, decay=0.6, seed=seed,
    )  # fmt: skip
    finetune(config, Material(base, [rows]), folder / "tuned", OPTIONS)
    return folder / "tuned"


def texts_of(rows: Path) -> Iterable[str]:
    """All that is said in a file of rows."""
    with rows.open(encoding="utf-8") as file:
        for line in file:
            for message in json.loads(line)["messages"]:
                yield message["content"]


def write_lines(path: Path, values: Iterable[dict[str, Any]]) -> Path:
    """A file of JSON lines."""
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


def distinct(task: Countdown, count: int) -> list[int]:
    """Held-out cases, no question twice: fewer than `count` if there are no more."""
    found: dict[str, int] = {}
    for number in range(20 * count):
        found.setdefault(task.case(number, held=True).question, number)
    return list(found.values())[:count]
