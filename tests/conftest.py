"""Fixtures that several rooms share."""

import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tools.make_tiny_model import main as make_tiny_model

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would all the processes that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# A test case takes as long as the machine lets it: on a busy one, 200 ms say nothing.
settings.register_profile("cabin", deadline=None)
settings.load_profile("cabin")

SLOW = ("train", "cli", "lab")  # the rooms whose files take longest


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Under xdist a file's tests run in one process: what a module makes once is made once."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow rooms first, so that no process is left alone with them at the end."""
    items.sort(key=lambda item: item.path.parent.name not in SLOW)


@pytest.fixture(scope="session")
def oz_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's model: bigrams of a book as a Llama file, so that what it says can be read."""
    path = tmp_path_factory.mktemp("oz") / "oz.gguf"
    make_tiny_model([str(path)])
    return path
