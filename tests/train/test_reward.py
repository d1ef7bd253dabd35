"""The reward model: its loss, what it learns, and a run that can be stopped."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from cabinos.train import checkpoint
from cabinos.train.errors import TrainError
from cabinos.train.loop import Run
from cabinos.train.prefer.config import RewardConfig
from cabinos.train.prefer.pair_batches import PairBatch
from cabinos.train.prefer.pairs import encode_pairs
from cabinos.train.prefer.reward import (
    RewardModel,
    differences,
    load_reward,
    open_reward,
    preference_loss,
    reward,
)
from cabinos.train.rows import open_speech
from cabinos.train.saved import load_run
from cabinos.train.session import Options
from tests.train.comparisons import ALONE, CPU, QUICK, SMALL, make_base, write_pairs
from tests.train.runs import losses


@pytest.fixture(scope="module")
def base(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(data, tmp_path_factory.mktemp("base") / "hf")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", 150)


def opened(base: Path, pairs: Path, out: Path, **changes: float) -> Run:
    return open_reward(RewardConfig(**(SMALL | changes)), base, [pairs], out, CPU, ALONE)


def test_the_loss_by_hand() -> None:
    z, wanted, margins = torch.tensor([2.0, 2.0, 2.0]), torch.tensor([1, 0.5, 1]), [0.0, 0.0, 0.5]
    right, wrong = math.log1p(math.exp(-2)), math.log1p(math.exp(2))
    expected = right + (right + wrong) / 2 + math.log1p(math.exp(-1.5))
    loss = preference_loss(z, wanted, torch.tensor(margins))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_a_fresh_one_finds_all_answers_equally_good(
    base: Path, pairs: Path, tmp_path: Path
) -> None:
    run = opened(base, pairs, tmp_path)
    batch = run.stream.batch(0)
    loss = sum(run.model(*map(torch.from_numpy, vars(part).values())) for part in batch.parts())
    assert loss.item() == pytest.approx(batch.count * math.log(2), rel=1e-5)


def test_padding_and_company_change_no_reward(base: Path, pairs: Path, tmp_path: Path) -> None:
    run = opened(base, pairs, tmp_path)
    assert isinstance(run.model, RewardModel)
    torch.nn.init.normal_(run.model.score.weight, generator=torch.Generator().manual_seed(1))
    found = encode_pairs([pairs], open_speech(tmp_path / "hf"), 128, tmp_path / "pairs")
    chosen = np.array([5, 2, 17, 9])
    together = differences(run.model, found, chosen)
    for place, number in enumerate(chosen):
        rows = [
            torch.from_numpy(found.rows.row(2 * int(number) + n)[0].astype(int)) for n in (0, 1)
        ]
        with torch.no_grad():
            r = [
                run.model.score(run.model.hidden(ids[None])[0, np.flatnonzero(learnt)[-1]])
                for ids, learnt in zip(
                    rows, (found.rows.row(2 * int(number) + n)[1] for n in (0, 1)), strict=True
                )
            ]
        assert together[place] == pytest.approx((r[0] - r[1]).item(), abs=1e-4)


@pytest.mark.parametrize("rank", [0, 4])
def test_it_learns_what_is_preferred(base: Path, pairs: Path, tmp_path: Path, rank: int) -> None:
    config = RewardConfig(**SMALL, epochs=3, held=0.3, rank=rank, other_rate=0.01)
    reward(config, base, [pairs], tmp_path / "run", QUICK)
    lines = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    held = next(line["held_out"] for line in reversed(lines) if "held_out" in line)
    assert held["accuracy"] >= 0.95
    assert held["loss"] < 0.4
    assert 0 <= held["ece"] <= 1
    other = write_pairs(tmp_path / "other.jsonl", 40, seed=2)
    model, companion = load_reward(tmp_path / "run")
    found = encode_pairs([other], open_speech(companion), 128, tmp_path)
    assert (differences(model, found, np.arange(len(found))) > 0).mean() >= 0.95
    with pytest.raises(TrainError, match="a reward model. It scores answers"):
        load_run(tmp_path / "run")


def test_ties_pull_together(base: Path, tmp_path: Path) -> None:
    tied = write_pairs(tmp_path / "pairs.jsonl", 40, tie=True)
    run = opened(base, tied, tmp_path / "run", held=0.0)
    assert isinstance(run.model, RewardModel)
    part = PairBatch(encode_pairs([tied], open_speech(tmp_path / "run" / "hf"), 128, tmp_path),
                     [np.arange(4)], smoothing=0.2).parts()[0]  # fmt: skip
    assert part.wanted.tolist() == [0.5] * 4
    assert run.evaluate() == {}  # nothing held out


def test_a_stopped_run_goes_on_bit_for_bit(base: Path, pairs: Path, tmp_path: Path) -> None:
    config = RewardConfig(**SMALL, tokens=1024 * 6)
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    reward(config, base, [pairs], whole, QUICK)
    stopped = Options(**(vars(QUICK) | {"until": 3}))
    reward(config, base, [pairs], cut, stopped)
    assert len(losses(cut)) == 3
    reward(config, base, [pairs], cut, QUICK)
    assert losses(cut) == losses(whole)
    ours, theirs = (checkpoint._read(checkpoint.latest(out))[0] for out in (cut, whole))  # type: ignore[arg-type]
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


def test_other_pairs_are_refused(base: Path, pairs: Path, tmp_path: Path) -> None:
    opened(base, pairs, tmp_path / "run")
    other = write_pairs(tmp_path / "other.jsonl", 150, seed=2)
    with pytest.raises(TrainError, match="another pairs"):
        opened(base, other, tmp_path / "run")
    with pytest.raises(TrainError, match="another held"):
        opened(base, pairs, tmp_path / "run", held=0.2)


def test_a_folder_without_a_reward_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"no run\.json"):
        load_reward(tmp_path)
    (tmp_path / "run.json").write_text('{"model": {}, "run": {}}')
    with pytest.raises(TrainError, match="no reward model; make one"):
        load_reward(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [({"smoothing": 0.5}, "smoothing"), ({"held": 1.0}, "held"), ({"replay": 0.1}, "replay")],
)
def test_numbers_that_do_not_fit_are_refused(wrong: dict[str, float], problem: str) -> None:
    with pytest.raises(TrainError, match=problem):
        RewardConfig(**wrong)
