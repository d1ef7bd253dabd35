"""The sets that models are measured on, as rows: from the data folder, or a folder of files.

They are verified against the pinned hash: scores can be compared only between people who measured
with the same rows.
"""

import hashlib
import json
import lzma
from pathlib import Path
from typing import Any

from cabinos.lab.evaluate.errors import EvalError
from cabinos.train.sources import manifest, measured

__all__ = ["read_set"]

PLACES = ("", "eval", "sources", "train")  # of the folder, where a file may lie


def read_set(folder: Path, name: str) -> list[dict[str, Any]]:
    """The rows of the set `name`, from `<name>.jsonl` or `.jsonl.xz` in or below `folder`.

    Raises EvalError if it is not there, damaged, or not the one that is pinned.
    """
    pinned = (measured() | manifest())[name]
    option = "--eval " if pinned.place == "eval" else ""
    found = [
        path
        for place in PLACES
        for ending in (".jsonl", ".jsonl.xz")
        if (path := folder / place / f"{name}{ending}").is_file()
    ]
    if not found:
        raise EvalError(
            f"{folder}: holds no {name}.jsonl. Get it with `cabin data get {option}{name}`, or "
            "give the folder it is in: --data FOLDER."
        )
    try:
        data = found[0].read_bytes()
        if found[0].suffix == ".xz":
            data = lzma.decompress(data)
    except (lzma.LZMAError, EOFError) as error:
        raise EvalError(f"{found[0]}: truncated or damaged ({error}). Get it again.") from None
    if hashlib.sha256(data).hexdigest() != pinned.sha256:
        raise EvalError(
            f"{found[0]}: not the rows that are pinned ({len(data):,} bytes, {pinned.bytes:,} are "
            f"expected). Get them again: cabin data get {option}{name}."
        )
    return [json.loads(line) for line in data.decode().split("\n") if line]
