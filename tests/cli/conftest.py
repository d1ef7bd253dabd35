"""The command in a home of its own, with the puppet as its brain."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.support import Cabin


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the path on which `tests/cli/puppet.py` is an installed distribution."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copy(Path(__file__).with_name("puppet.py"), folder / "cabin_puppet.py")
    facts = folder / "cabin_puppet-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: cabin-puppet\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[cabinos.drivers]\npuppet = cabin_puppet:driver\n")
    return folder


@pytest.fixture
def cabin(tmp_path: Path, plugin: Path) -> Iterator[Cabin]:
    """The command, with the puppet as its brain."""
    home = tmp_path / "home"
    home.mkdir()
    # To read all skills takes a third of a short call's time, and they have tests of their own.
    (home / "config.toml").write_text("[skills]\nbrief = 0\n")
    own = {k: v for k, v in os.environ.items() if not k.startswith("CABIN_")}
    path = [str(plugin), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **own,
        "CABIN_HOME": str(home),
        "CABIN_MODELS": str(tmp_path / "models"),
        "PUPPET_WORLD": str(tmp_path / "world"),
        "PYTHONPATH": os.pathsep.join(str(Path(p).resolve()) for p in path),
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "100",
    }
    command = Cabin(home, environment)
    yield command
    for process in command.running:
        if process.poll() is None:
            process.kill()
        with suppress(ValueError):
            process.communicate()
