"""Which model is the brain: the one that is wanted, configured, or lies in the models' folder."""

import os
from pathlib import Path
from typing import Any

import cabinos
from cabinos.kernel.errors import KernelError

__all__ = ["BUILT_IN", "choose_brain", "local_brains"]

BUILT_IN = Path(cabinos.__file__).parent / "brain" / "nano.gguf"  # there if Cabin comes with one


def choose_brain(config: dict[str, Any], wanted: str | None) -> tuple[dict[str, Any], str | None]:
    """The configuration with the brain in it, and the brain's name (None: the kernel's first).

    In this order: `wanted`, $CABIN_MODEL, [cabin] model, the first [model.…], the first chat model
    in the models' own folders: what lies in the current one by chance has to be named. Where there
    is none of these, the built-in one is added, for the kernel to take if no plug-in brings one.
    [cabin] escalate is added likewise if it names a file.

    A name may also be the path of a GGUF file, or without its ending one of those that
    `cabin models` lists. Raises KernelError for a path that does not exist.
    """
    cabin = config.get("cabin", {})
    if larger := cabin.get("escalate"):
        config, larger = _with(config, larger)
        config = {**config, "cabin": {**cabin, "escalate": larger}}
    name = wanted or os.environ.get("CABIN_MODEL") or cabin.get("model")
    if name is not None:
        return _with(config, name)
    if own := [name for name in config.get("model", {}) if name != larger]:
        return config, own[0]
    if found := local_brains():
        return _add(config, found[0]), found[0].stem
    if BUILT_IN.is_file():
        return _add(config, BUILT_IN), BUILT_IN.stem if larger else None
    return config, larger


def _with(config: dict[str, Any], name: str) -> tuple[dict[str, Any], str]:
    """The configuration with a model that is named in it, and what it is called there."""
    models: dict[str, Any] = dict(config.get("model", {}))
    if name in models:
        return config, name
    if _is_path(name):
        path = Path(name).expanduser()
        if not path.is_file():
            raise KernelError(f"{name}: no such model file. `cabin models` lists those there are.")
        return _add(config, path), path.stem
    from cabinos.engine.catalog import list_models

    named = [entry.path for entry in list_models() if entry.path.stem == name]
    if not named and name == BUILT_IN.stem and BUILT_IN.is_file():
        named = [BUILT_IN]
    if not named:
        return config, name  # a plug-in may bring it; if not, the kernel says what there is
    return _add(config, named[0]), name


def _add(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """The configuration with one more model, a GGUF file."""
    local = {"provider": "local", "path": str(path.resolve())}
    return {**config, "model": {**config.get("model", {}), path.stem: local}}


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
