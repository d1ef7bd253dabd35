"""What the tests that train start: a tiny run, in this process or in one of its own."""

import json
import sys
from pathlib import Path
from typing import Any

from cabinos.train.config import RunConfig

TINY: dict[str, Any] = {
    "depth": 2,
    "tokens": 256 * 24,
    "batch_tokens": 256,
    "micro_tokens": 128,
    "context": 32,
    "long_context": 64,
    "mix": {"books": 0.7, "maths": 0.3},
}


def tiny(**changes: Any) -> RunConfig:
    return RunConfig(**(TINY | changes))


def losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def main(data: str, out: str, save_every: str) -> None:
    """A tiny run in this process: `python -m tests.train.runs DATA OUT SECONDS`."""
    from cabinos.train.pretrain import Options, pretrain

    options = Options(
        device="cpu",
        dtype="float32",
        compiled=False,
        threads=1,
        save_every=float(save_every),
        test_every=1000,
    )
    pretrain(tiny(), Path(data), Path(out), options)


if __name__ == "__main__":
    main(*sys.argv[1:])
