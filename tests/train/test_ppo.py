"""PPO: advantages against their definition, the two losses by hand, and runs that learn."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from cabinos.cli.rl import rl_group
from cabinos.train import checkpoint
from cabinos.train.errors import TrainError
from cabinos.train.export import export_hf
from cabinos.train.rl.config import PpoConfig
from cabinos.train.rl.critic import Critic, CriticModel
from cabinos.train.rl.ppo import PpoObjective, explained, gae, ppo_credit, value_loss
from cabinos.train.rl.rollouts import Rollout
from cabinos.train.rl.rounds import Played, figures, read_round, round_path
from cabinos.train.rl.train import rl
from cabinos.train.saved import load_base, load_run
from cabinos.train.session import Options
from tests.train.comparisons import QUICK, make_base
from tests.train.rewards import TINY, Letters
from tests.train.runs import losses
from tests.train.test_grpo import VOCABULARY, WIDTH, Table, drawn

# Rewards and values of bounded size: floats of any size only test what rounding does.
SOME = st.floats(-10, 10)


def tiny(**changes: float) -> PpoConfig:
    return PpoConfig(**(TINY | {"samples": 2, "passes": 2} | changes))


@pytest.fixture(scope="module")
def base(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(data, tmp_path_factory.mktemp("base") / "hf", tokens=320)


# ---- Advantages ----------------------------------------------------------------------------------


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.lists(st.tuples(SOME, SOME), max_size=12),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_advantages_are_discounted_sums_of_surprises(
    steps: list[tuple[float, float]], gamma: float, lam: float
) -> None:
    rewards, values = (np.array([s[i] for s in steps], np.float64) for i in (0, 1))
    found = gae(rewards, values, gamma, lam)
    count = len(steps)
    for t in range(count):
        expected = 0.0
        for later in range(t, count):
            after = values[later + 1] if later + 1 < count else 0.0
            surprise = rewards[later] + gamma * after - values[later]
            expected += (gamma * lam) ** (later - t) * surprise
        assert found[t] == pytest.approx(expected, abs=1e-6)


@settings(deadline=None)
@given(st.lists(st.tuples(SOME, SOME), min_size=1, max_size=12))
def test_without_trust_in_the_critic_all_that_came_counts(steps: list[tuple[float, float]]) -> None:
    rewards, values = (np.array([s[i] for s in steps], np.float64) for i in (0, 1))
    togo = np.cumsum(rewards[::-1])[::-1]
    assert gae(rewards, values, 1.0, 1.0) + values == pytest.approx(togo, abs=1e-6)


def of(reward: float, old: list[list[float]], values: list[list[float]], case: int = 0) -> Played:
    reference = [[logprob - 0.5 for logprob in sample] for sample in old]
    return Played(Rollout(case, reward, "", []), old, reference, values)


def test_credit_by_hand() -> None:
    """Two texts of one answer are one way through time; the reward comes with the last token."""
    played = [
        of(1.0, [[-1.0, -1.0], [], [-2.0]], [[0.25, 0.5], [], [0.75]]),
        of(0.0, [[-1.0]], [[0.5]]),
    ]
    config = tiny(lam=1.0, kl=0.1)
    (first, none, last), (other,) = ppo_credit(played, config)
    # Each token costs 0.1 · 0.5, and what was to come counts fully.
    returns = [[0.85, 0.90], [0.95], [-0.05]]
    assert first.returns == pytest.approx(returns[0])
    assert last.returns == pytest.approx(returns[1])
    assert other.returns == pytest.approx(returns[2])
    assert len(none.returns) == len(none.advantages) == 0
    raw = np.array([0.85 - 0.25, 0.90 - 0.5, 0.95 - 0.75, -0.05 - 0.5])
    white = (raw - raw.mean()) / raw.std()
    found = np.concatenate([first.advantages, last.advantages, other.advantages])
    assert found == pytest.approx(white, abs=1e-5)


def test_who_said_nothing_has_nothing_to_learn() -> None:
    silent, (spoke,) = ppo_credit([of(0.0, [], []), of(1.0, [[-1.0]], [[0.0]])], tiny())
    assert silent == []
    assert spoke.returns == pytest.approx([1.0])
    assert explained([of(0.0, [], []), of(1.0, [[-1.0]], [[0.0]])], tiny()) == 0.0


def test_rewards_that_are_all_alike_and_foreseen_move_nothing() -> None:
    played = [of(1.0, [[-1.0, -1.0]], [[1.0, 1.0]])] * 3
    for samples in ppo_credit(played, tiny()):
        assert not samples[0].advantages.any()


def test_what_a_critic_foresaw() -> None:
    rewards = (0.0, 1.0, 0.0, 1.0)
    knows = [of(reward, [[-1.0, -1.0]], [[reward, reward]]) for reward in rewards]
    blind = [of(reward, [[-1.0, -1.0]], [[0.3, 0.3]]) for reward in rewards]
    wrong = [of(reward, [[-1.0, -1.0]], [[1 - reward, 1 - reward]]) for reward in rewards]
    assert [explained(p, tiny()) for p in (knows, blind, wrong)] == pytest.approx([1, 0, -3])
    assert explained(knows[:1], tiny()) == 0.0


# ---- Losses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("now", "loss", "slope"), [
    (0.1, 0.405, -0.9),  # within the clip: plain squares
    (0.9, 0.32, 0.0),  # moved toward the return by more than the clip: no pull further
    (-0.9, 1.805, -1.9),  # moved away: pulled back
])  # fmt: skip
def test_a_value_moves_so_far_in_a_round(now: float, loss: float, slope: float) -> None:
    value = torch.tensor([now], requires_grad=True)
    found = value_loss(value, torch.zeros(1), torch.ones(1), 0.2)
    assert found.item() == pytest.approx(loss)
    assert torch.autograd.grad(found.sum(), value)[0].item() == pytest.approx(slope)


class Judged(Table):
    """A table of states with a critic."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.critic = Critic(WIDTH)
        torch.nn.init.normal_(self.critic.value.weight)


def test_policy_and_critic_learn_apart() -> None:
    table = Judged()
    now = drawn(table)
    bits = torch.full((2, 2), 255, dtype=torch.uint8)
    bits[:, 0] = 254  # token 0 was not allowed
    advantages, returns = torch.tensor([0.7, -0.4]), torch.tensor([1.0, -1.0])
    states = table.states[[1, 2]].detach()
    values = table.critic(states).detach()
    loss = PpoObjective(table, tiny())(
        torch.tensor([[1, 2]]), torch.tensor([3, 4]), torch.tensor([0, 1]), bits,
        advantages, torch.ones(2), now.detach(), torch.zeros(2), values, returns,
    )  # fmt: skip
    loss.backward()
    policy = torch.autograd.grad(-(advantages * drawn(table)).sum(), table.states)[0]
    assert torch.allclose(table.states.grad, policy, atol=1e-5)  # nothing of the critic's
    error = ((table.critic(states) - returns) ** 2).sum() / 2
    critic = torch.autograd.grad(error, table.critic.value.weight)[0]
    assert critic.abs().sum() > 0
    assert torch.allclose(table.critic.value.weight.grad, critic, atol=1e-5)
    assert VOCABULARY < 16  # the two bytes of `bits` are enough


# ---- Runs ----------------------------------------------------------------------------------------


def test_a_policy_and_its_critic_learn(base: Path, tmp_path: Path) -> None:
    config = tiny(rounds=12, cases=8, samples=4, other_rate=0.02, critic_rate=0.01)
    run = rl(config, base, Letters(), tmp_path / "run", QUICK)
    told = list(figures(tmp_path / "run"))
    assert len(told) == 12
    assert run.progress.step == 24
    rewards = [one["reward"] for one in told]
    assert np.mean(rewards[-3:]) > 1.5 * np.mean(rewards[:3])
    # At first it expects nothing, so all that it gets is a surprise.
    assert told[0]["explained"] == pytest.approx(0.0, abs=1e-6)
    (_, first), (_, last) = (read_round(round_path(tmp_path / "run", n)) for n in (0, 11))
    assert not any(v for one in first for sample in one.values for v in sample)
    expected = np.mean([v for one in last for sample in one.values for v in sample])
    assert expected == pytest.approx(rewards[-1], abs=0.35)
    model, companion = load_run(tmp_path / "run")  # a plain policy, as good as the other stages'
    assert not hasattr(model, "critic")
    export_hf(run.model, companion, tmp_path / "hf")
    with safe_open(tmp_path / "hf" / "model.safetensors", framework="pt") as file:
        assert not [name for name in file.keys() if "critic" in name]  # noqa: SIM118


@pytest.mark.parametrize("changes", [{}, {"updates": 2, "kl": 0.1}, {"rank": 2}])
def test_a_stopped_run_goes_on_bit_for_bit(
    base: Path, tmp_path: Path, changes: dict[str, float]
) -> None:
    config = tiny(rounds=2, **changes)
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    rl(config, base, Letters(), whole, QUICK)
    rl(config, base, Letters(), cut, Options(**(vars(QUICK) | {"until": 1})))  # inside a round
    rl(config, base, Letters(), cut, QUICK)
    assert losses(cut) == losses(whole)
    ours, theirs = (checkpoint._read(checkpoint.latest(out))[0] for out in (cut, whole))  # type: ignore[arg-type]
    assert any(name.startswith("model.critic.") for name in ours)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
    assert read_round(round_path(cut, 1))[1] == read_round(round_path(whole, 1))[1]


def test_a_critic_belongs_to_its_seed(base: Path) -> None:
    model, _ = load_base(base, 128)
    one, same, other = (CriticModel.of(model, seed) for seed in (1, 1, 2))
    assert torch.equal(one.critic.inner.weight, same.critic.inner.weight)
    assert not torch.equal(one.critic.inner.weight, other.critic.inner.weight)
    assert torch.equal(one.embed_tokens.weight, model.embed_tokens.weight)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"samples": 0}, "^samples must be at least 1"),
        ({"passes": 0}, "passes must be positive"),
        ({"lam": 1.5}, "lam must be from 0 to 1"),
        ({"gamma": -0.1}, "gamma must be from 0 to 1"),
        ({"value_clip": 0.0}, "value_clip must be positive"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(wrong: dict[str, float], problem: str) -> None:
    with pytest.raises(TrainError, match=problem):
        tiny(**wrong)


def test_an_option_of_ppo_needs_ppo(base: Path, tmp_path: Path) -> None:
    command = ["train", str(tmp_path / "out"), "--base", str(base), "--task", "countdown"]
    result = CliRunner().invoke(rl_group, [*command, "--value-clip", "0.3"])
    assert result.exit_code == 2
    assert "--value-clip is PPO's: give --method ppo too" in result.output


def test_a_run_of_one_method_is_not_gone_on_with_by_the_other(base: Path, tmp_path: Path) -> None:
    from cabinos.train.rl.config import RlConfig

    rl(tiny(rounds=1), base, Letters(), tmp_path, Options(**(vars(QUICK) | {"until": 1})))
    known = asdict(tiny(rounds=1))
    plain = {k: v for k, v in known.items() if k in RlConfig.__dataclass_fields__}
    with pytest.raises(TrainError, match="another stage"):
        rl(RlConfig(**plain), base, Letters(), tmp_path, QUICK)
