"""A prepared data folder, made once per test process."""

from pathlib import Path

import pytest

# Nothing in this folder works without it.
pytest.importorskip("torch")

from tests.train.fixtures import prepared


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("data"))
