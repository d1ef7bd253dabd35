"""The stream of a run on rewards: each round is played by the policy as it then is.

A round depends on the weights, the seed and its number alone: the engine is deterministic, and
every draw has a seed of its own. So a run that was killed goes on with the very same rounds.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist

from cabinos.train.errors import TrainError
from cabinos.train.hardware import Processes
from cabinos.train.logprobs import token_logprobs
from cabinos.train.model import Llama
from cabinos.train.rl.config import PpoConfig
from cabinos.train.rl.credit import Credit
from cabinos.train.rl.critic import CriticModel
from cabinos.train.rl.decisions import Decisions, decisions
from cabinos.train.rl.grpo import grpo_credit, token_weights
from cabinos.train.rl.ppo import explained, ppo_credit
from cabinos.train.rl.rollout_batches import Lesson, RolloutBatch
from cabinos.train.rl.rollouts import Rollout, Sample, play, pushed, seed_of
from cabinos.train.rl.rounds import Played, read_round, round_path, write_round

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cabinos.engine.tokenizer import Tokenizer
    from cabinos.train.rl.config import RlConfig
    from cabinos.train.rl.task import Task

__all__ = ["Policy", "RoundStream", "sample_logprobs", "sample_values"]


class Policy:
    """The model that learns, and all that it needs to be played with."""

    def __init__(
        self,
        model: Llama,
        tokenizer: "Tokenizer",
        companion: Path,
        task: "Task",
        *,
        assistant: bool,
    ) -> None:
        """`companion` and `assistant` are as in `export_gguf`."""
        self.model, self.tokenizer, self.task = model, tokenizer, task
        self._companion, self._assistant = companion, assistant

    def play(
        self,
        orders: Sequence[tuple[int, int]],
        config: "RlConfig",
        *,
        held: bool = False,
        temperature: float | None = None,
    ) -> list[Rollout]:
        """See `rollouts.play`: with the weights as they are now."""
        engine = pushed(
            self.model,
            self._companion,
            assistant=self._assistant,
            kind=config.played_as,
            threads=torch.get_num_threads(),
        )
        with engine as local:
            return play(local, self.task, orders, config, held=held, temperature=temperature)

    def decisions(self, sample: Sample) -> Decisions:
        """See `decisions.decisions`."""
        return decisions(sample, self.tokenizer, self.model.config.vocabulary)


class RoundStream:
    """All batches of a run."""

    def __init__(
        self,
        policy: Policy,
        reference: Llama | None,
        config: "RlConfig",
        out: Path,
        group: Processes,
        taken: dict[str, int] | None = None,
    ) -> None:
        """`reference`: the model that the run began with, if leaving it has a price."""
        self.taken = dict(taken or {"rollouts": 0})
        self._policy, self._reference = policy, reference
        self._config, self._out, self._group = config, out, group
        self._round: tuple[int, list[list[Lesson]]] = (-1, [])

    def batch(self, step: int) -> RolloutBatch:
        """The batch of update `step`; the first of a round plays it, if it was not played before.

        Raises TrainError if the round cannot be kept, or what is kept is damaged.
        """
        number, update = divmod(step, self._config.per_round)
        if self._round[0] != number:
            self._round = (number, self._lessons(number))
        config = self._config
        share = update % config.updates
        own = self._round[1][share :: config.updates]  # by case: answers are compared within one
        lessons = [lesson for case in own for lesson in case]
        if not lessons:
            raise TrainError(f"round {number}: no answer has a token that the model chose.")
        whole = config.kl or isinstance(config, PpoConfig)  # the critic learns from all
        telling = [lesson for lesson in lessons if whole or lesson.credit.advantages.any()]
        batch = RolloutBatch(telling or lessons[:1], len(own) * config.samples, config.micro_tokens)
        self.taken["rollouts"] += batch.seen
        return batch

    def _lessons(self, number: int) -> list[list[Lesson]]:
        """What round `number` teaches, by case."""
        path = round_path(self._out, number)
        if not path.is_file():
            self._play(number, path)
        _, played = read_round(path)
        by_case: dict[int, list[Lesson]] = {}
        for one, worth in zip(played, self._credit(played), strict=True):
            weight = token_weights(sum(map(len, one.old)), self._config)
            made = by_case.setdefault(one.rollout.case, [])
            for index, (sample, credit) in enumerate(zip(one.rollout.samples, worth, strict=True)):
                if not one.old[index]:
                    continue
                old, reference, values = (
                    np.array(kept[index], np.float32) if kept else np.zeros_like(credit.returns)
                    for kept in (one.old, one.reference, one.values)
                )
                name = f"round {number} case {one.rollout.case}"
                ids, chosen = np.array(sample.ids, np.int64), self._policy.decisions(sample)
                made.append(Lesson(ids, chosen, credit, weight, old, reference, values, name))
        return list(by_case.values())

    def _credit(self, played: Sequence[Played]) -> list[list[Credit]]:
        if isinstance(self._config, PpoConfig):
            return ppo_credit(played, self._config)
        return grpo_credit(played, self._config)

    def _play(self, number: int, path: Path) -> None:
        """Play a round, every process its share of the cases, and keep it."""
        config, begin = self._config, time.perf_counter()
        first = number * config.cases
        cases = range(first, first + config.cases)[self._group.rank :: self._group.count]
        orders = [
            (case, seed_of(config.seed, case, n)) for case in cases for n in range(config.samples)
        ]
        played: list[Played] = []
        drift: list[float] = []
        for rollout in self._policy.play(orders, config):
            old, reference, values = [], [], []
            model = self._policy.model
            for sample in rollout.samples:
                chosen = self._policy.decisions(sample)
                confined, alone = sample_logprobs(model, sample, chosen, config.temperature)
                drift += np.abs(alone - chosen.engine).tolist()
                old.append(confined.tolist())
                reference.append(self._of_reference(sample, chosen))
                if isinstance(model, CriticModel):
                    values.append(sample_values(model, sample, chosen).tolist())
            played.append(Played(rollout, old, reference, values))
        shares: list[Any] = [(played, drift)]
        if self._group.count > 1:
            shares = [None] * self._group.count
            dist.all_gather_object(shares, (played, drift))
        if self._group.rank == 0:
            everybody = sorted((p for s, _ in shares for p in s), key=lambda p: p.rollout.case)
            told = _figures(number, everybody, [d for _, s in shares for d in s])
            if isinstance(config, PpoConfig):
                told["explained"] = explained(everybody, config)
            seconds = round(time.perf_counter() - begin, 3)
            write_round(path, {**told, "seconds": seconds}, everybody)
        if self._group.count > 1:
            dist.barrier()

    def _of_reference(self, sample: Sample, chosen: Decisions) -> list[float]:
        if self._reference is None:
            return [0.0] * len(chosen.places)
        found: list[float] = sample_logprobs(
            self._reference, sample, chosen, self._config.temperature
        )[0].tolist()
        return found


@torch.no_grad()  # type: ignore[untyped-decorator]
def sample_logprobs(
    model: Llama, sample: Sample, chosen: Decisions, temperature: float = 1.0
) -> tuple["NDArray[np.float32]", "NDArray[np.float32]"]:
    """Log P of each decision as it was drawn, and under the model alone: [n] both.

    That is at the temperature and among what was allowed, and at 1 among all tokens.
    """
    zeros = np.zeros(len(chosen.places), np.float32)
    if not len(zeros):
        return zeros, zeros
    h, targets, allowed = _states(model, sample, chosen)
    confined = token_logprobs(h / temperature, model.output, targets, allowed)
    alone = token_logprobs(h, model.output, targets)
    return confined.cpu().numpy(), alone.cpu().numpy()


@torch.no_grad()  # type: ignore[untyped-decorator]
def sample_values(model: CriticModel, sample: Sample, chosen: Decisions) -> "NDArray[np.float32]":
    """What the critic expected at each decision: [n]."""
    if not len(chosen.places):
        return np.zeros(0, np.float32)
    found: NDArray[np.float32] = model.critic(_states(model, sample, chosen)[0]).cpu().numpy()
    return found


def _states(
    model: Llama, sample: Sample, chosen: Decisions
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """States before each decision, what was drawn, and what was allowed."""
    zeros = np.zeros(len(chosen.places), np.float32)
    ids, credit = np.array(sample.ids, np.int64), Credit(zeros, zeros)
    lesson = Lesson(ids, chosen, credit, 0.0, zeros, zeros, zeros, "")
    (part,) = RolloutBatch([lesson], 1, len(ids)).parts()
    device = model.embed_tokens.weight.device
    arrays = (part.inputs, part.places, part.targets, part.allowed)
    inputs, places, targets, allowed = (torch.from_numpy(a).to(device) for a in arrays)
    return model.hidden(inputs).flatten(0, 1)[places], targets, allowed


def _figures(number: int, played: Sequence[Played], drift: Sequence[float]) -> dict[str, Any]:
    """What a round gave. `drift`: |log P by torch - log P by the engine| of the decisions, nats."""
    rewards: dict[int, list[float]] = {}
    for one in played:
        rewards.setdefault(one.rollout.case, []).append(one.rollout.reward)
    drawn = [logprob for one in played for sample in one.old for logprob in sample]
    return {
        "round": number,
        "reward": _mean([one.rollout.reward for one in played]),
        "solvable": _mean([float(max(group) >= 1) for group in rewards.values()]),
        "telling": _mean([float(len(set(group)) > 1) for group in rewards.values()]),
        "tokens": _mean([float(one.rollout.tokens) for one in played]),
        "decisions": len(drawn),
        "surprise": -_mean(drawn),  # nats a decision
        "drift_mean": _mean(drift),
        "drift_max": max(drift, default=0.0),
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))
