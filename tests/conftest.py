"""Fixtures that several rooms share."""

import signal
from pathlib import Path

import pytest

from tools.make_tiny_model import main as make_tiny_model

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would all the processes that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def oz_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's model: bigrams of a book as a Llama file, so that what it says can be read."""
    path = tmp_path_factory.mktemp("oz") / "oz.gguf"
    make_tiny_model([str(path)])
    return path
