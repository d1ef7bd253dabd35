"""Tiny chat models, packed once per test process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.chat_model import tiny_chat_gguf

ChatModelMaker = Callable[..., Path]


@pytest.fixture(scope="session")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> ChatModelMaker:
    """`chat_model(follows=CALLS_A_TOOL)`: the path of such a GGUF, made at the first call."""
    made: dict[str, Path] = {}

    def make(**options: Any) -> Path:
        key = repr(sorted(options.items(), key=str))
        if key not in made:
            path = tmp_path_factory.mktemp("chat") / "chat.gguf"
            made[key] = tiny_chat_gguf(path, **options)
        return made[key]

    return make
