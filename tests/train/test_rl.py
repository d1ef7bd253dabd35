"""A policy plays through the engine, learns from what came of it, and may be stopped anywhere."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cabinos.train import checkpoint
from cabinos.train.errors import TrainError
from cabinos.train.hardware import Processes
from cabinos.train.rl.decisions import decisions
from cabinos.train.rl.rollouts import Rollout, Said, Sample
from cabinos.train.rl.rounds import Played, figures, read_round, round_path, write_round
from cabinos.train.rl.stream import Policy, RoundStream, sample_logprobs
from cabinos.train.rl.train import measure, open_rl, rl
from cabinos.train.saved import load_base, load_run
from cabinos.train.session import Options
from tests.train.comparisons import ALONE, CPU, QUICK, make_base
from tests.train.rewards import Letters, tiny
from tests.train.runs import losses

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def base(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(data, tmp_path_factory.mktemp("base") / "hf", tokens=320)


@pytest.fixture(scope="module")
def policy(base: Path) -> Policy:
    from cabinos.train.rows import open_speech

    model, companion = load_base(base, 128)
    return Policy(model, open_speech(base).tokenizer, companion, Letters(), assistant=False)


ORDERS = [(case, 10 * case + n) for case in range(3) for n in range(3)]


def test_engine_and_torch_agree_on_every_token(policy: Policy) -> None:
    played = policy.play(ORDERS, tiny())
    assert [rollout.case for rollout in played] == [case for case, _ in ORDERS]
    for rollout in played:
        (sample,) = rollout.samples
        (said,) = sample.said
        assert rollout.tokens == len(said.logprobs) == len(sample.ids) - said.start <= 6
        chosen = policy.decisions(sample)
        assert chosen.places.tolist() == list(range(said.start, len(sample.ids)))
        confined, alone = sample_logprobs(policy.model, sample, chosen)
        assert np.abs(alone - chosen.engine).max() < 1e-2  # keys and values are kept in bfloat16
        assert np.array_equal(confined, alone)  # no grammar


def test_a_rollout_depends_on_its_seed_alone(policy: Policy) -> None:
    played = policy.play(ORDERS, tiny())
    assert policy.play(ORDERS[4:6], tiny()) == played[4:6]
    assert len({tuple(rollout.samples[0].ids) for rollout in played}) == len(played)
    greedy = policy.play([(1, 1), (1, 2)], tiny(), held=True, temperature=0)
    assert greedy[0].samples[0].ids == greedy[1].samples[0].ids


def test_what_a_grammar_forces_is_no_decision(policy: Policy) -> None:
    tokenizer, vocabulary = policy.tokenizer, policy.model.config.vocabulary
    prompt, answer = tokenizer.encode("hello"), tokenizer.encode("I say 42", add_special=False)
    said = Said(len(prompt), [-1.0] * len(answer), ("regex", "I say [0-9]{2}"))
    sample = Sample([*prompt, *answer], [said])
    chosen = decisions(sample, tokenizer, vocabulary)
    free = [sample.ids[place] for place in chosen.places]
    assert tokenizer.decode(free).endswith("42")
    allowed = np.unpackbits(chosen.allowed, axis=1, bitorder="little")[:, :vocabulary]
    digits = {tokenizer.encode(str(d), add_special=False)[-1] for d in range(10)}
    assert set(np.flatnonzero(allowed[-1])) == digits
    assert allowed[np.arange(len(free)), free].all()
    confined, alone = sample_logprobs(policy.model, sample, chosen)
    assert (confined > alone).all()
    assert confined[-1] == pytest.approx(np.log(1 / 10), abs=0.7)  # it knows nothing yet
    wrong = Sample([*prompt, *tokenizer.encode("I say no", add_special=False)], sample.said)
    with pytest.raises(TrainError, match="where its grammar forbids it"):
        decisions(wrong, tokenizer, vocabulary)


def test_probabilities_are_those_at_the_temperature(policy: Policy) -> None:
    sample = Sample(policy.tokenizer.encode("the lion said"), [Said(1, [-1.0, -1.0], None)])
    chosen = policy.decisions(sample)
    cool, alone = sample_logprobs(policy.model, sample, chosen, temperature=0.5)
    with torch.no_grad():
        logits = policy.model.logits(torch.tensor([sample.ids]))[0]
    for place, found, plain in zip(chosen.places, cool, alone, strict=True):
        token, scores = sample.ids[place], logits[place - 1]
        assert found == pytest.approx(torch.log_softmax(2 * scores, 0)[token].item(), abs=1e-4)
        assert plain == pytest.approx(torch.log_softmax(scores, 0)[token].item(), abs=1e-4)


def test_a_round_is_kept_as_it_was(tmp_path: Path) -> None:
    said = [Said(1, [-0.5, -1.25], None), Said(5, [-0.125], ("lark", "start: /x/"))]
    rollout = Rollout(7, 0.25, "so", [Sample([1, 2, 3, 4, 5, 6], said), Sample([9], [])])
    played = [Played(rollout, [[-1.0], []], [[0.0], []])]
    path = round_path(tmp_path, 3)
    write_round(path, {"round": 3}, played)
    assert read_round(path) == ({"round": 3}, played)
    assert list(figures(tmp_path)) == [{"round": 3}]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(TrainError, match="damaged .* played again"):
        read_round(path)


def test_a_policy_learns_what_is_rewarded(base: Path, tmp_path: Path) -> None:
    config = tiny(rounds=12, cases=4, samples=8, other_rate=0.02)
    run = rl(config, base, Letters(), tmp_path, QUICK, held=3)
    rewards = [told["reward"] for told in figures(tmp_path)]
    assert len(rewards) == 12
    assert np.mean(rewards[-3:]) > 1.5 * np.mean(rewards[:3])
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    held = lines[-1]["held_out"]
    assert held["reward"] == pytest.approx(rewards[-1], abs=1e-4)
    assert 0 <= held["held_reward"] <= 1
    assert max(told["drift_max"] for told in figures(tmp_path)) < 0.05
    assert run.progress.taken["rollouts"] > 0
    load_run(tmp_path)  # can be exported


@pytest.mark.parametrize("changes", [{}, {"updates": 2, "kl": 0.1}, {"rank": 2}])
def test_a_stopped_run_goes_on_bit_for_bit(
    base: Path, tmp_path: Path, changes: dict[str, float]
) -> None:
    config = tiny(rounds=3, **changes)
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    rl(config, base, Letters(), whole, QUICK)
    rl(config, base, Letters(), cut, Options(**(vars(QUICK) | {"until": 1})))
    rl(config, base, Letters(), cut, QUICK)  # with two updates, in the middle of a round
    assert losses(cut) == losses(whole)
    ours, theirs = (checkpoint._read(checkpoint.latest(out))[0] for out in (cut, whole))  # type: ignore[arg-type]
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
    ours_played, theirs_played = (read_round(round_path(out, 2))[1] for out in (cut, whole))
    assert ours_played == theirs_played


def test_two_processes_play_the_rounds_of_one(base: Path, tmp_path: Path) -> None:
    rl(tiny(rounds=2), base, Letters(), tmp_path / "one", QUICK)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    command += ["-m", "tests.train.rewards", str(base), str(tmp_path / "two")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-3)
    first = [read_round(round_path(tmp_path / out, 0))[1] for out in ("one", "two")]
    assert [p.rollout for p in first[0]] == [p.rollout for p in first[1]]


def test_another_task_is_refused(base: Path, tmp_path: Path) -> None:
    open_rl(tiny(), base, Letters(), tmp_path, CPU, ALONE)
    other = Letters()
    other.fingerprint = "other"
    with pytest.raises(TrainError, match="another task"):
        open_rl(tiny(), base, other, tmp_path, CPU, ALONE)


def test_a_disk_that_refuses_is_told(policy: Policy, tmp_path: Path) -> None:
    (tmp_path / "rounds").write_text("no folder")
    stream = RoundStream(policy, None, tiny(), tmp_path, Processes(0, 1))
    with pytest.raises(TrainError, match="cannot be written"):
        stream.batch(0)


def test_what_teaches_nothing_does_not_go_through_the_model(policy: Policy, tmp_path: Path) -> None:
    stream = RoundStream(policy, None, tiny(), tmp_path, Processes(0, 1))
    assert len(stream.batch(0).lessons) > 1
    told, played = read_round(round_path(tmp_path, 0))
    level = [Played(Rollout(p.rollout.case, 1.0, "", p.rollout.samples), p.old, p.reference)
             for p in played]  # fmt: skip
    write_round(round_path(tmp_path, 0), told, level)
    batch = RoundStream(policy, None, tiny(), tmp_path, Processes(0, 1)).batch(0)
    assert batch.count == 8
    assert [lesson.credit.advantages.any() for lesson in batch.lessons] == [False]
    idle = batch.parts(1, 2)  # a process that has nothing to do keeps step
    assert len(idle) == 1
    assert not idle[0].weights.any()


def test_held_out_cases_are_measured(policy: Policy) -> None:
    found = measure(policy, tiny(), 3)
    assert set(found) == {"held_reward", "held_tokens"}
    assert 0 <= found["held_reward"] <= 1
