"""Who takes part: local files and configured models, each with a hash of what it is.

`arena.toml` in the arena's folder says what cannot be seen from a model:

    [nano]                     # its name in the arena
    model = "nano"             # a configured model, or a GGUF file. Default: the name
    open = true                # anybody can have its weights
    released = 2026-11-24
"""

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from cabinos.kernel.driver import Model
from cabinos.lab.arena.errors import ArenaError

__all__ = ["Contestant", "Facts", "name_of", "open_contestant", "read_facts"]

SLOTS = 8  # answers at once


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a model beside what it says; None where nobody said."""

    model: str
    open: bool | None = None
    released: date | None = None


@dataclass(frozen=True, slots=True)
class Contestant:
    """A model under its name in the arena. `hash`: of its weights, or of where it is served."""

    name: str
    model: Model
    hash: str


def read_facts(folder: Path) -> dict[str, Facts]:
    """What `arena.toml` says; nothing if there is none. Raises ArenaError, naming what is wrong."""
    path = folder / "arena.toml"
    try:
        tables = tomllib.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise ArenaError(f"{path}: not UTF-8 text (byte {error.start}).") from None
    except tomllib.TOMLDecodeError as error:
        raise ArenaError(f"{path}: not TOML: {error}.") from None
    return {name: _facts(path, name, table) for name, table in tables.items()}


KEYS: Mapping[str, tuple[type, str]] = {
    "model": (str, "a text"),
    "open": (bool, "true or false"),
    "released": (date, "a date, like 2026-11-24"),
}


def _facts(path: Path, name: str, table: Any) -> Facts:
    if not isinstance(table, dict):
        raise ArenaError(f"{path}: {name} must be a table, [{name}].")
    for key, value in table.items():
        kind, said = KEYS.get(key, (object, ""))
        if not said:
            raise ArenaError(f"{path}: [{name}] has no {key}; there are {', '.join(KEYS)}.")
        if not isinstance(value, kind):
            raise ArenaError(f"{path}: [{name}] {key} must be {said}.")
    return Facts(**{"model": name, **table})


def name_of(wanted: str) -> str:
    """What a model is called in the arena: a file by its name, without the ending."""
    return Path(wanted).stem if wanted.endswith(".gguf") or os.sep in wanted else wanted


def open_contestant(name: str, wanted: str, threads: int | None = None) -> Contestant:
    """The model `wanted`, which is configured or a GGUF file, under its name in the arena.

    Raises ArenaError if there is none, KernelError for a wrong configuration, and ModelError.
    """
    from cabinos.drivers.model import open_models
    from cabinos.drivers.model.brain import choose_brain
    from cabinos.kernel.plugins import read_config
    from cabinos.store.home import config_path

    config, chosen = choose_brain(read_config(config_path()), wanted)
    table: dict[str, Any] = dict(config.get("model", {}).get(chosen, {}))
    if not table:
        raise ArenaError(f"{wanted}: no such model. `cabin models` lists the local ones.")
    digest = _digest(table)
    if table.get("provider") == "local":
        table["slots"] = max(SLOTS, table.get("slots", 0))
        table["threads"] = threads or table.get("threads")
    (model,) = open_models({str(chosen): table})
    return Contestant(name, model, digest)


def _digest(table: Mapping[str, Any]) -> str:
    """Of the file, or of who serves it under which name."""
    if table.get("provider") == "local":
        with Path(table["path"]).expanduser().open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    served = {key: table.get(key) for key in ("provider", "base_url", "model")}
    return hashlib.sha256(json.dumps(served, sort_keys=True).encode()).hexdigest()
