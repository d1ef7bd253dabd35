"""The models on this machine: which GGUF files there are, and what each of them needs to run."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from cabinos.engine.errors import EngineError, ModelFileError
from cabinos.engine.gguf import GGUFFile, read_gguf
from cabinos.engine.pack.architecture import SUPPORTED
from cabinos.engine.pack.quantize import FILE_TYPES

__all__ = ["ModelEntry", "describe", "list_models", "model_folders"]

ARCHITECTURES = {name for name, *_ in SUPPORTED.values()}
WEIGHT_TYPES = {name.upper() for name in FILE_TYPES}
KV_BYTES = 2  # bf16
DEPTH = 3  # folders below a model folder that are searched


@dataclass(frozen=True)
class ModelEntry:
    """One GGUF file: what it is and what it needs, or why it cannot be used (`error`)."""

    path: Path
    size: int  # bytes of the file
    error: str | None = None
    supported: bool = False  # Cabin has the architecture and every weight type
    name: str = ""
    architecture: str = ""
    quantisation: str = ""  # the type that most weights have
    parameters: int = 0
    context_length: int = 0  # tokens
    kv_bytes_per_token: int = 0  # bf16 keys and values over all layers

    def memory(self, tokens: int | None = None) -> int:
        """Bytes needed to run it: the weights and the KV cache of `tokens`, default all."""
        length = self.context_length if tokens is None else tokens
        return self.size + length * self.kv_bytes_per_token


def model_folders() -> list[Path]:
    """Where models are looked for.

    $CABIN_MODELS (several folders, separated as in $PATH) or else the platform's data folder for
    cabin; and the current folder.
    """
    if override := os.environ.get("CABIN_MODELS"):
        folders = [Path(part).expanduser() for part in override.split(os.pathsep) if part]
    elif sys.platform == "darwin":
        folders = [Path.home() / "Library" / "Application Support" / "cabin" / "models"]
    else:
        data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
        folders = [Path(data) / "cabin" / "models"]
    return [*folders, Path()]


def list_models(paths: Sequence[str | PathLike[str]] = ()) -> list[ModelEntry]:
    """Describe the GGUF files under `paths` (files or folders), by default `model_folders()`.

    A broken file is listed with its error. Raises ModelFileError if a given path does not exist.
    """
    for path in paths:
        if not Path(path).exists():
            raise ModelFileError(f"{path}: no such file or folder.")
    found: dict[Path, Path] = {}
    for start in [Path(p) for p in paths] or model_folders():
        for path in [start] if start.is_file() else _gguf_files(start):
            found.setdefault(path.resolve(), path)
    return [describe(path) for path in sorted(found.values(), key=lambda p: (p.name, str(p)))]


def _gguf_files(folder: Path) -> Iterator[Path]:
    """GGUF files in `folder` and a few levels below, leaving out hidden and unreadable folders."""
    base = len(folder.resolve().parts)
    for where, folders, files in os.walk(folder):
        here = Path(where)
        if len(here.resolve().parts) - base >= DEPTH:
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if name.endswith(".gguf") and not name.startswith("."):
                yield here / name


def describe(path: Path) -> ModelEntry:
    """What is known of the GGUF file at `path` from its header alone; never raises EngineError."""
    try:
        size = path.stat().st_size
    except OSError as error:
        return ModelEntry(path, 0, error=f"{path}: cannot be read ({error.strerror}).")
    try:
        return _entry(read_gguf(path))
    except EngineError as error:
        return ModelEntry(path, size, error=str(error))


def _entry(file: GGUFFile) -> ModelEntry:
    architecture = file.metadata.get("general.architecture")
    if not isinstance(architecture, str):
        raise ModelFileError(f"{file.path}: metadata 'general.architecture' is missing.")
    weights: Counter[str] = Counter()
    for tensor in file.tensors.values():
        weights[tensor.type] += tensor.elements
    return ModelEntry(
        path=file.path,
        size=file.size,
        supported=architecture in ARCHITECTURES and set(weights) <= WEIGHT_TYPES,
        name=str(file.metadata.get("general.name", file.path.stem)),
        architecture=architecture,
        quantisation=weights.most_common(1)[0][0] if weights else "",
        parameters=sum(t.elements for t in file.tensors.values() if t.name != "rope_freqs.weight"),
        context_length=_integer(file, f"{architecture}.context_length"),
        kv_bytes_per_token=_kv_bytes_per_token(file, architecture),
    )


def _kv_bytes_per_token(file: GGUFFile, architecture: str) -> int:
    """Layers * KV heads * (key length + value length) * 2 bytes."""
    layers = _integer(file, f"{architecture}.block_count")
    heads = _integer(file, f"{architecture}.attention.head_count")
    kv_heads = _integer(file, f"{architecture}.attention.head_count_kv", heads)
    default = _integer(file, f"{architecture}.embedding_length") // max(heads, 1)
    key = _integer(file, f"{architecture}.attention.key_length", default)
    value = _integer(file, f"{architecture}.attention.value_length", default)
    return layers * kv_heads * (key + value) * KV_BYTES


def _integer(file: GGUFFile, key: str, default: int | None = None) -> int:
    """A whole, non-negative metadata number.

    Some architectures give one number for each layer; the largest is taken, so that the estimate of
    memory is on the safe side. Raises ModelFileError if it is missing or something else.
    """
    value = file.metadata.get(key, default)
    if isinstance(value, list):
        value = max((v for v in value if isinstance(v, int)), default=None)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ModelFileError(f"{file.path}: metadata {key!r} is {value!r}; a count is needed.")
    return value
