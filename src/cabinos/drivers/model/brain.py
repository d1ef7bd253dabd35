"""Which model is the brain: the one that is wanted, configured, or lies in the models' folder."""

import os
from pathlib import Path
from typing import Any

from cabinos.kernel.errors import KernelError

__all__ = ["choose_brain", "local_brains"]


def choose_brain(config: dict[str, Any], wanted: str | None) -> tuple[dict[str, Any], str | None]:
    """The configuration with the brain in it, and the brain's name (None: the kernel's first).

    In this order: `wanted`, $CABIN_MODEL, [cabin] model, the first [model.…], the first chat model
    in the models' own folders: what lies in the current one by chance has to be named. A name may
    also be the path of a GGUF file, or without its ending one of those that `cabin models` lists.
    Raises KernelError for a path that does not exist.
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
            raise KernelError(f"{name}: no such model file. `cabin models` lists those there are.")
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
