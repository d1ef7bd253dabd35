"""Rows for the tests of stage 2, and what starts a tiny run on them, here or in a process."""

import json
import sys
from pathlib import Path
from random import Random
from typing import Any

from cabinos.train.config import TuneConfig

CONVERT: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "units_convert",
        "description": "Converts a quantity exactly. Length, mass, volume.",
        "parameters": {
            "type": "object",
            "properties": {
                "value": {"type": "string"},
                "from_unit": {"type": "string"},
                "to_unit": {"type": "string"},
                "style": {"type": "string", "enum": ["short", "long"]},
            },
            "required": ["value", "from_unit", "to_unit"],
        },
    },
}
UNITS = ("pounds", "ounces", "miles", "feet", "cups")


def conversation(random: Random) -> dict[str, Any]:
    """A request, a call, its result, an answer; and now and then thanks."""
    value = str(random.randrange(1, 1000))
    first, second = random.sample(UNITS, 2)
    arguments = {"value": value, "from_unit": first, "to_unit": second}
    call = {"type": "function", "function": {"name": "units_convert", "arguments": arguments}}
    messages = [
        {"role": "user", "content": f"how many {second} are {value} {first}"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": f"{value} {first} = 7 {second}", "name": "units_convert"},
        {"role": "assistant", "content": f"{value} {first} are 7 {second}."},
    ]
    if random.random() < 0.4:
        messages += [
            {"role": "user", "content": "thanks a lot"},
            {"role": "assistant", "content": "You are welcome."},
        ]
    return {"messages": messages, "tools": [CONVERT]}


def write_rows(path: Path, count: int, seed: int = 1) -> Path:
    random = Random(seed)
    path.write_text("".join(json.dumps(conversation(random)) + "\n" for _ in range(count)))
    return path


TINY: dict[str, Any] = {
    "tokens": 512 * 16,
    "batch_tokens": 512,
    "micro_tokens": 256,
    "context": 256,
}


def tiny(**changes: Any) -> TuneConfig:
    return TuneConfig(**(TINY | changes))


def main(base: str, rows: str, out: str, rank: str) -> None:
    """A tiny run, with a checkpoint after every update."""
    from cabinos.train.finetune import Material, finetune
    from cabinos.train.session import Options

    options = Options(
        device="cpu", dtype="float32", compiled=False, threads=1, save_every=0, test_every=1000
    )
    finetune(tiny(rank=int(rank)), Material(Path(base), [Path(rows)]), Path(out), options)


if __name__ == "__main__":
    main(*sys.argv[1:])
