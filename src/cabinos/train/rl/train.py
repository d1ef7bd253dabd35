"""A policy learns from rewards: rounds of play through the real engine, and GRPO or PPO on them.

The run's folder is that of the other stages, with what was played in `rounds/`, drawn in
`rewards.png`. It can be exported, and begin another run.
"""

import copy
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cabinos.train import lora
from cabinos.train.config import CRITIC
from cabinos.train.hardware import Machine, Processes, matrix_peak
from cabinos.train.loop import Run
from cabinos.train.policy import Account, begin, open_policy
from cabinos.train.rl.config import PpoConfig
from cabinos.train.rl.critic import CriticModel
from cabinos.train.rl.grpo import Rewarded
from cabinos.train.rl.plot import plot_rounds
from cabinos.train.rl.ppo import PpoObjective
from cabinos.train.rl.rounds import figures
from cabinos.train.rl.stream import Policy, RoundStream
from cabinos.train.session import Options, conduct

if TYPE_CHECKING:
    from cabinos.train.rl.config import RlConfig
    from cabinos.train.rl.task import Task

__all__ = ["measure", "open_rl", "rl"]


def rl(
    config: "RlConfig",
    base: Path,
    task: "Task",
    out: Path,
    options: Options | None = None,
    *,
    held: int = 0,
) -> Run:
    """Train a policy on `task` into the folder `out`, going on from its last checkpoint.

    `held`: so many held-out cases are played, greedily, at each evaluation. A run with adapters
    leaves them in `out`/adapter. Raises TrainError or NotANumber, each with what to do.
    """
    run = conduct(
        lambda machine, group: open_rl(config, base, task, out, machine, group, held=held),
        options or Options(),
        measure="reward of the last round, and of held-out cases without chance",
        dynamic=True,
    )
    if config.rank and run.processes.rank == 0:
        lora.save_adapter(run.model, config, str(base), out / "adapter")
    return run


def open_rl(
    config: "RlConfig",
    base: Path,
    task: "Task",
    out: Path,
    machine: Machine,
    group: Processes,
    *,
    held: int = 0,
) -> Run:
    """A run that is ready to go on. Raises TrainError if `out` holds another one."""
    model, speech = open_policy(base, config.context, out, machine, group)
    model.to(machine.device)
    reference = None
    if config.kl:
        reference = copy.deepcopy(model).requires_grad_(False)
    stage = "ppo" if isinstance(config, PpoConfig) else "rl"
    account = Account(stage, base, {"task": task.name}, {"task": task.fingerprint})
    objective: Rewarded | PpoObjective
    if isinstance(config, PpoConfig):
        model = valued = CriticModel.of(model, config.seed).to(machine.device)
        objective, apart = PpoObjective(valued, config), {CRITIC: config.critic_rate}
        optimizers, progress = begin(
            account, model, config, out, group, list(valued.critic.parameters()), apart
        )
    else:
        objective = Rewarded(model, config)
        optimizers, progress = begin(account, model, config, out, group)
    # Played as it will be exported: see `cabin train export`.
    policy = Policy(model, speech.tokenizer, out / "hf", task, assistant=True)
    stream = RoundStream(policy, reference, config, out, group, progress.taken or None)
    return Run(
        config, out, machine, group, model, optimizers, stream,
        lambda: _told(policy, config, out, held),
        None, matrix_peak(machine) * group.count, progress, objective=objective,
    )  # fmt: skip


def _told(policy: Policy, config: "RlConfig", out: Path, held: int) -> dict[str, float]:
    """How the last round went, and the held-out cases; all rounds are drawn."""
    rounds = list(figures(out))
    if find_spec("matplotlib") is not None:
        plot_rounds(rounds, out / "rewards.png")
    last = rounds[-1]
    found = {key: float(last[key]) for key in ("reward", "telling", "tokens", "drift_max")}
    return found | (measure(policy, config, held) if held else {})


def measure(
    policy: Policy, config: "RlConfig", cases: int, *, temperature: float = 0.0
) -> dict[str, float]:
    """Reward and tokens of held-out cases, on average; without chance, unless `temperature`."""
    orders = [(number, number) for number in range(cases)]
    played = policy.play(orders, config, held=True, temperature=temperature)
    return {
        "held_reward": float(np.mean([one.reward for one in played])),
        "held_tokens": float(np.mean([one.tokens for one in played])),
    }
