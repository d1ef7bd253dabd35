"""Tiny models, packed once per test process."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cabinos.engine.model import Model
from cabinos.engine.tokenizer import Tokenizer
from tests.engine.fixtures import tiny_gguf

ModelMaker = Callable[..., Path]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> ModelMaker:
    """`tiny_model("q4_0", "qwen3", layers=1)`: the path of such a GGUF, made at the first call."""
    made: dict[str, Path] = {}

    def make(kind: str = "q8_0", architecture: str = "llama", **options: Any) -> Path:
        key = repr((kind, architecture, sorted(options.items(), key=str)))
        if key not in made:
            path = tmp_path_factory.mktemp("models") / f"{architecture}-{kind}.gguf"
            made[key] = tiny_gguf(path, kind, architecture, **options)  # type: ignore[arg-type]
        return made[key]

    return make


@pytest.fixture(scope="module")
def path(tiny_model: ModelMaker) -> Path:
    return tiny_model()


@pytest.fixture(scope="module")
def tokenizer(path: Path) -> Tokenizer:
    return Tokenizer.from_gguf(path)


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[Model]:
    with Model(path, kv_tokens=2048, threads=1) as model:
        yield model
