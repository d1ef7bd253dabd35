"""A recipe from texts to both files, killed between its steps, and what it leaves alone."""

from pathlib import Path

import pytest

from cabinos.engine.gguf import read_gguf
from cabinos.train import recipe
from cabinos.train.config import TuneConfig
from cabinos.train.recipe import NANO, Recipe, make
from cabinos.train.session import Options
from tests.train import runs

QUICK = Options(device="cpu", dtype="float32", compiled=False, threads=1, test_every=1000)
LEARN = TuneConfig(tokens=1024, batch_tokens=512, micro_tokens=512, context=512)
SMALL = Recipe(
    "small",
    texts=runs.tiny(tokens=256 * 2, batch_tokens=512, long_context=512),
    conversations=12,
    talk=LEARN,
    held=4,
)


def test_from_texts_to_both_files(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "get_sources", lambda *_, **__: [])  # they are in the fixture
    monkeypatch.setattr(recipe, "prepare", lambda *_: [])
    told: list[str] = []
    made = make(SMALL, data, tmp_path, options=QUICK, tell=told.append)
    assert [line.partition("/")[0] for line in told] == ["1", "2", "3", "4", "5"]
    assert read_gguf(made.assistant).metadata["cabin.assistant"] is True
    assert "cabin.assistant" not in read_gguf(made.base).metadata
    assert set(made.seconds) == {"base", "assistant"}
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 12

    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("rows*")}
    weights = made.assistant.read_bytes()
    made.assistant.unlink()
    again = make(SMALL, data, tmp_path, options=QUICK)  # goes on from where it was
    assert again.assistant.read_bytes() == weights
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("rows*")}


def test_nano_fits_its_own_numbers() -> None:
    assert NANO.conversations >= 60_000
    assert NANO.texts.tokens + NANO.talk.tokens < 13_000_000
