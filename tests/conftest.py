"""Fixtures that several rooms share."""

from pathlib import Path

import pytest

from tools.make_tiny_model import main as make_tiny_model


@pytest.fixture(scope="session")
def oz_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's model: bigrams of a book as a Llama file, so that what it says can be read."""
    path = tmp_path_factory.mktemp("oz") / "oz.gguf"
    make_tiny_model([str(path)])
    return path
