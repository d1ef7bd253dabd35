"""The configuration file, and which model is the brain.

[cabin]
model = "smart"          # the brain; otherwise the first model below

[model.smart]            # every other table belongs to the device of that name
provider = "openai"
model = "gpt-5"
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from cabinos.cli.errors import Failure

__all__ = ["NO_BRAIN", "choose_brain", "local_brains", "read_config"]

OWN = {"model": str}  # the keys of [cabin], and what they hold
NO_BRAIN = (
    "there is no model to think with. Put a chat model (a GGUF file) into {folder}, or point "
    "CABIN_MODEL at one; or name a server's model in {config}: see `cabin doctor`."
)


def read_config(path: Path) -> dict[str, Any]:
    """The file as a mapping from table to contents; empty if there is none.

    Raises Failure, naming the file and the line or the key, if it is wrong. What a device's table
    may hold is checked by the device.
    """
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise Failure(f"{path}: not UTF-8 text (byte {error.start}).") from None
    try:
        config = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Failure(f"{path}: not TOML: {error}.") from None
    known = {"cabin", *(entry.name for entry in entry_points(group="cabinos.drivers"))}
    for name, table in config.items():
        if name not in known:
            raise Failure(f"{path}: there is no device {name!r}.{_perhaps(name, known, '[{}]')}")
        if not isinstance(table, Mapping):
            raise Failure(f"{path}: {name!r} must be a table: [{name}].")
    for key, value in config.get("cabin", {}).items():
        if key not in OWN:
            raise Failure(f"{path}: [cabin] has no key {key!r}.{_perhaps(key, OWN, '{}')}")
        if not isinstance(value, OWN[key]):
            raise Failure(f"{path}: [cabin] {key} must be a {OWN[key].__name__}.")
    return config


def _perhaps(word: str, known: Any, shape: str) -> str:
    near = difflib.get_close_matches(word, known, 1)
    names = near or sorted(known)
    lead = " Did you mean " if near else " There are "
    return f"{lead}{', '.join(shape.format(name) for name in names)}{'?' if near else '.'}"


def choose_brain(config: dict[str, Any], wanted: str | None) -> tuple[dict[str, Any], str | None]:
    """The configuration with the brain in it, and the brain's name (None: the kernel's first).

    In this order: `wanted`, $CABIN_MODEL, [cabin] model, the first [model.…], the first chat model
    in the models' own folders: what lies in the current one by chance has to be named. A name may
    also be the path of a GGUF file, or without its ending one of those that `cabin models` lists.
    Raises Failure for a path that does not exist.
    """
    models: dict[str, Any] = dict(config.get("model", {}))
    name = wanted or os.environ.get("CABIN_MODEL") or config.get("cabin", {}).get("model")
    if name is None:
        if models:
            return config, next(iter(models))
        found = local_brains()
        if not found:
            return config, None
        path = found[0]
    elif name in models:
        return config, name
    elif _is_path(name):
        path = Path(name).expanduser()
        if not path.is_file():
            raise Failure(f"{name}: no such model file. `cabin models` lists those there are.")
    else:
        from cabinos.engine.catalog import list_models

        named = [entry.path for entry in list_models() if entry.path.stem == name]
        if not named:
            return config, name  # a plug-in may bring it; if not, the kernel says what there is
        path = named[0]
    local = {"provider": "local", "path": str(path.resolve())}
    return {**config, "model": {**models, path.stem: local}}, path.stem


def _is_path(name: str) -> bool:
    return name.endswith(".gguf") or os.sep in name


def local_brains() -> list[Path]:
    """GGUF files that this engine can run, and that know how a conversation is written."""
    from cabinos.engine.catalog import list_models, model_folders
    from cabinos.engine.gguf import read_gguf

    folders = [folder for folder in model_folders() if folder != Path() and folder.is_dir()]
    found = list_models(folders) if folders else []
    usable = [entry.path for entry in found if entry.error is None and entry.supported]
    return [path for path in usable if "tokenizer.chat_template" in read_gguf(path).metadata]
