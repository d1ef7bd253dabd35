"""DPO: its loss, its reference, what it learns, and a run that can be stopped."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from cabinos.engine.lora import load_adapter
from cabinos.train import checkpoint
from cabinos.train.errors import TrainError
from cabinos.train.logprobs import CHUNK, token_logprobs
from cabinos.train.loop import Run
from cabinos.train.prefer.config import DpoConfig
from cabinos.train.prefer.dpo import dpo, open_dpo
from cabinos.train.saved import load_run
from cabinos.train.session import Options
from tests.train.comparisons import ALONE, CPU, QUICK, SMALL, make_base, write_pairs
from tests.train.runs import losses


@pytest.fixture(scope="module")
def base(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(data, tmp_path_factory.mktemp("base") / "hf")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", 120)


def opened(base: Path, pairs: Path, out: Path, **changes: Any) -> Run:
    return open_dpo(DpoConfig(**(SMALL | changes)), base, [pairs], out, CPU, ALONE)


def test_logprobs_are_those_of_all_logits_and_so_are_gradients() -> None:
    make = torch.Generator().manual_seed(1)
    h = torch.randn(CHUNK + 40, 16, generator=make, requires_grad=True)
    weight = torch.randn(30, 16, generator=make, requires_grad=True)
    targets = torch.randint(30, (CHUNK + 40,), generator=make)
    allowed = torch.rand(CHUNK + 40, 30, generator=make) < 0.5
    allowed[torch.arange(len(targets)), targets] = True
    bits = torch.from_numpy(np.packbits(allowed.numpy(), axis=1, bitorder="little"))
    for mask, logits in (
        (None, h @ weight.T),
        (bits, (h @ weight.T).masked_fill(~allowed, -torch.inf)),
    ):
        expected = F.log_softmax(logits, 1)[torch.arange(len(targets)), targets]
        found = token_logprobs(h, weight, targets, mask)
        assert torch.allclose(found, expected, atol=1e-5)
        ours = torch.autograd.grad(found.sum(), (h, weight))
        theirs = torch.autograd.grad(expected.sum(), (h, weight))
        assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(ours, theirs, strict=True))


def test_before_the_first_update_nothing_has_moved(base: Path, pairs: Path, tmp_path: Path) -> None:
    run = opened(base, pairs, tmp_path)
    assert run.objective is not None
    batch = run.stream.batch(0)
    arrays = [tuple(map(torch.from_numpy, vars(part).values())) for part in batch.parts()]
    loss = sum(run.objective(*one) for one in arrays)
    assert loss.item() == pytest.approx(batch.count * math.log(2), rel=1e-5)


@pytest.mark.parametrize(
    "changes",
    [{}, {"normalised": True, "beta": 2.0}, {"smoothing": 0.1}, {"likelihood": 0.5}],
    ids=["plain", "normalised", "smoothed", "likelihood"],
)
def test_the_loss_is_that_of_the_paper(
    base: Path, pairs: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    run = opened(base, pairs, tmp_path, **changes)
    assert run.objective is not None
    make = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in run.model.parameters():
            weight.add_(torch.randn(weight.shape, generator=make), alpha=0.02)
    part = run.stream.batch(0).parts()[0]
    loss = run.objective(*map(torch.from_numpy, vars(part).values()))
    config, total = DpoConfig(**(SMALL | changes)), 0.0
    inputs = torch.from_numpy(part.inputs)
    logprobs = F.log_softmax(run.model.logits(inputs), -1)
    where = [np.flatnonzero(part.places // inputs.shape[1] == row) for row in range(len(inputs))]
    for number in range(len(part.wanted)):
        moved, own = [], []
        for row in (2 * number, 2 * number + 1):
            at = part.places[where[row]] % inputs.shape[1]
            said = logprobs[row, at, part.targets[where[row]]].sum().item()
            size = len(at) if config.normalised else 1
            moved.append((said - part.reference[row]) / size)
            own.append(said / len(at))
        z = config.beta * (moved[0] - moved[1])
        p = 1 - config.smoothing
        total += p * math.log1p(math.exp(-z)) + (1 - p) * math.log1p(math.exp(z))
        total -= config.likelihood * own[0]
    assert loss.item() == pytest.approx(total, rel=1e-3)


@pytest.mark.parametrize("rank", [0, 4])
def test_a_policy_moves_to_what_is_preferred(
    base: Path, pairs: Path, tmp_path: Path, rank: int
) -> None:
    config = DpoConfig(**SMALL, epochs=2, held=0.3, rank=rank, matrix_rate=0.002, other_rate=0.005)
    dpo(config, base, [pairs], tmp_path, QUICK)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    held = next(line["held_out"] for line in reversed(lines) if "held_out" in line)
    assert held["accuracy"] >= 0.95
    assert held["chosen"] > held["rejected"]
    facts = json.loads((tmp_path / "run.json").read_text())["data"]
    assert facts["chosen_tokens"] > 0
    assert 0 <= facts["longer_chosen"] <= 1
    model, companion = load_run(tmp_path)  # what a run leaves can be exported
    assert model.config.depth == 1
    assert (companion / "chat_template.jinja").is_file()
    if rank:
        assert load_adapter(tmp_path / "adapter") is not None


def test_a_stopped_run_goes_on_bit_for_bit(base: Path, pairs: Path, tmp_path: Path) -> None:
    config = DpoConfig(**SMALL, tokens=1024 * 6)
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    dpo(config, base, [pairs], whole, QUICK)
    dpo(config, base, [pairs], cut, Options(**(vars(QUICK) | {"until": 3})))
    dpo(config, base, [pairs], cut, QUICK)
    assert losses(cut) == losses(whole)
    ours, theirs = (checkpoint._read(checkpoint.latest(out))[0] for out in (cut, whole))  # type: ignore[arg-type]
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


def test_the_reference_is_computed_once(base: Path, pairs: Path, tmp_path: Path) -> None:
    opened(base, pairs, tmp_path)
    (kept,) = (tmp_path / "pairs").glob("*.npy")
    reference = np.load(kept)
    np.save(kept, reference + 1)  # a second start reads it, and so is off by one for every answer
    run = opened(base, pairs, tmp_path)
    part = run.stream.batch(0).parts()[0]
    assert any(np.isclose(part.reference[0], value + 1) for value in reference)
    np.save(kept, reference[:-2])
    with pytest.raises(TrainError, match="damaged .*another number of answers"):
        opened(base, pairs, tmp_path)


@pytest.mark.parametrize("wrong", [{"beta": 0}, {"likelihood": -1}])
def test_numbers_that_do_not_fit_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(TrainError, match=next(iter(wrong))):
        DpoConfig(**wrong)
