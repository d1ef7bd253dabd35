"""A Hugging Face model folder: `config.json` and the safetensors files beside it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cabinos.engine.errors import ModelFileError
from cabinos.engine.pack.safetensors import StoredTensor, read_header

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


class Adapter(Protocol):
    """What changes weights while they are read (see `cabinos.engine.lora`)."""

    @property
    def folder(self) -> Path:
        """Where it comes from, for messages."""
        ...

    def names(self) -> set[str]:
        """The tensors it changes."""
        ...

    def apply(self, name: str, weight: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """`weight` of tensor `name`, changed if it is one of them."""
        ...


@dataclass(frozen=True)
class Source:
    """A model folder, its configuration, and where each of its tensors is stored."""

    folder: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, StoredTensor]
    adapters: tuple[Adapter, ...] = ()

    def read(self, name: str) -> "NDArray[np.float32]":
        """Tensor `name` as float32, in Hugging Face layout, with the adapters applied."""
        weight = self.tensors[name].read()
        for adapter in self.adapters:
            weight = adapter.apply(name, weight)
        return weight


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from `path`. Raises ModelFileError when missing or malformed."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFileError(f"{path}: no such file.") from None
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: not valid JSON ({error}).") from None
    if not isinstance(value, dict):
        raise ModelFileError(f"{path}: expected a JSON object, found {type(value).__name__}.")
    return value


def open_source(folder: Path) -> Source:
    """Open a Hugging Face model folder; weights are only located here, not read.

    Raises ModelFileError for a missing folder, config or weight file, pickled weights, and an
    index that does not agree with its shards.
    """
    if not folder.is_dir():
        raise ModelFileError(f"{folder}: not a folder. Give the folder that holds config.json.")
    if not (folder / "config.json").is_file():
        raise ModelFileError(f"{folder}: no config.json; this is not a Hugging Face model folder.")
    return Source(folder, read_json(folder / "config.json"), _locate(folder))


def _locate(folder: Path) -> dict[str, StoredTensor]:
    if (folder / INDEX).is_file():
        return _sharded(folder)
    if (folder / SINGLE).is_file():
        return read_header(folder / SINGLE)
    pickles = sorted(p.name for p in folder.glob("*.bin")) + sorted(
        p.name for p in folder.glob("*.pt*")
    )
    if pickles:
        raise ModelFileError(
            f"{folder}: only pickled weights ({pickles[0]}), which can run code when opened. "
            "Get the safetensors version, or convert it where you trust the file."
        )
    raise ModelFileError(f"{folder}: no weights; expected {SINGLE} or {INDEX}.")


def _sharded(folder: Path) -> dict[str, StoredTensor]:
    """Merge the shards the index names; every tensor must be where the index says."""
    index = folder / INDEX
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelFileError(f"{index}: no 'weight_map'.")
    shards: dict[str, dict[str, StoredTensor]] = {}
    for shard in sorted({str(s) for s in weight_map.values()}):
        if Path(shard).name != shard:
            raise ModelFileError(f"{index}: shard {shard!r} points outside the folder.")
        shards[shard] = read_header(folder / shard)
    tensors = {}
    for name, shard in weight_map.items():
        if name not in shards[shard]:
            raise ModelFileError(
                f"{folder / shard}: tensor {name!r}, named in {INDEX}, is missing."
            )
        tensors[name] = shards[shard][name]
    return tensors
