"""What the tests of stage 3 begin with: a small model that knows nothing, and pairs."""

import json
from pathlib import Path
from random import Random
from typing import Any

import torch

from cabinos.train.config import ModelConfig
from cabinos.train.export import export_hf
from cabinos.train.hardware import Machine, Processes
from cabinos.train.model import Llama
from cabinos.train.session import Options
from cabinos.train.tokenizer import open_tokenizer, train

CPU = Machine(torch.device("cpu"), torch.float32)
ALONE = Processes(0, 1)
QUICK = Options(
    device="cpu", dtype="float32", compiled=False, threads=1, save_every=1e9, test_every=1000
)
SMALL: dict[str, Any] = {"batch_tokens": 1024, "micro_tokens": 512, "context": 128}
FOOD = ("apples", "bread", "cheese", "eggs", "rice", "tea")


def make_base(data: Path, folder: Path, *, tokens: int | None = None) -> Path:
    """A Hugging Face folder with a model of one layer and random weights.

    `tokens`: with a small vocabulary of its own, in which much is tried by chance.
    """
    tokenizer = data / "tokenizer.json"
    if tokens is not None:
        tokenizer = folder.with_suffix(".json")
        train(["where is the tea? In the kitchen. 1 2 3"], tokens).save(str(tokenizer))
    vocabulary = open_tokenizer(tokenizer).get_vocab_size()
    model = Llama(ModelConfig.from_depth(1, vocabulary=vocabulary, context=128))
    make = torch.Generator().manual_seed(1)
    model.initialize(make)
    with torch.no_grad():  # fresh layers add nothing, and no answer would differ from another
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.normal_(0.0, 0.02, generator=make)
    return export_hf(model, tokenizer, folder)


def pair(random: Random) -> dict[str, Any]:
    """Whoever asks for a food is to be told where it is, and not that there is none."""
    food = random.choice(FOOD)
    asked = f"{random.randrange(1000)}: where are the {food}?"
    return {
        "prompt": [{"role": "user", "content": asked}],
        "chosen": [{"role": "assistant", "content": f"The {food} are in the kitchen."}],
        "rejected": [{"role": "assistant", "content": f"I do not know any {food}."}],
    }


def write_pairs(path: Path, count: int, seed: int = 1, **more: Any) -> Path:
    random = Random(seed)
    path.write_text("".join(json.dumps(pair(random) | more) + "\n" for _ in range(count)))
    return path
