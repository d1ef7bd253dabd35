"""The course of a run on rewards."""

from dataclasses import dataclass
from typing import ClassVar

from cabinos.train.config import TuneConfig
from cabinos.train.errors import TrainError

__all__ = ["PLAYABLE", "PpoConfig", "RlConfig"]

PLAYABLE = ("f32", "f16", "bf16", "q8_0")


@dataclass(frozen=True)
class RlConfig(TuneConfig):
    """GRPO (Shao et al. 2024, arXiv:2402.03300). A round: cases, several answers to each, updates.

    `fair` is "Dr. GRPO" (Liu et al. 2025, arXiv:2503.20783): advantages are not divided by their
    deviation, which favours cases that are nearly always or nearly never solved; and an answer's
    loss is not divided by its length, which favours short right answers and long wrong ones.
    """

    rounds: int = 100
    cases: int = 8  # of a round
    samples: int = 8  # answers to each case
    updates: int = 1  # of a round, each on a share of its answers
    temperature: float = 1.0  # of the answers
    answer_tokens: int = 256  # of one thought, at most
    clip: float = 0.2  # how far a probability may move in a round, as a share
    kl: float = 0.0  # price of leaving the model that the run began with
    fair: bool = True
    played_as: str = "f32"  # type of the weights in the engine, one of PLAYABLE
    matrix_rate: float = 0.0006
    other_rate: float = 0.0002
    warmup: float = 0.05
    decay: float = 0.1

    fewest: ClassVar[int] = 2  # answers to a case

    def __post_init__(self) -> None:
        """Raises TrainError for numbers that do not fit together."""
        super().__post_init__()
        for name in ("rounds", "cases", "updates", "answer_tokens", "temperature", "clip"):
            if getattr(self, name) <= 0:
                raise TrainError(f"{name} must be positive, not {getattr(self, name)}.")
        if self.samples < self.fewest:
            compared = "answers are compared with each other: " * (self.fewest > 1)
            raise TrainError(f"{compared}samples must be at least {self.fewest}.")
        if self.played_as not in PLAYABLE:
            raise TrainError(f"played_as must be one of {', '.join(PLAYABLE)}.")
        if self.kl < 0:
            raise TrainError(f"kl must not be negative, not {self.kl}.")
        if self.updates > self.cases:
            raise TrainError(f"updates ({self.updates}) must not be more than cases.")

    @property
    def per_round(self) -> int:
        """Updates of a round."""
        return self.updates

    @property
    def steps(self) -> int:
        """Updates in all."""
        return self.rounds * self.per_round


@dataclass(frozen=True)
class PpoConfig(RlConfig):
    """PPO (Schulman et al. 2017, arXiv:1707.06347): a critic instead of comparisons in a case.

    `kl` is taken off the rewards, token by token (Ziegler et al. 2019, arXiv:1909.08593). gamma and
    lam are InstructGPT's (Ouyang et al. 2022, arXiv:2203.02155, appendix C.4), passes and
    value_clip TRL's.
    """

    cases: int = 32  # of a round
    samples: int = 1  # answers to each case
    passes: int = 4  # over the answers of a round
    gamma: float = 1.0  # what a reward is worth a decision earlier
    lam: float = 0.95  # 1: what came counts; 0: what the critic says of the next state
    value_clip: float = 0.2  # how far a value may move in a round
    critic_rate: float = 0.002  # learning rate of AdamW for the critic

    fewest: ClassVar[int] = 1  # nothing is compared

    def __post_init__(self) -> None:
        """Raises TrainError for numbers that do not fit together."""
        super().__post_init__()
        for name in ("passes", "value_clip", "critic_rate"):
            if getattr(self, name) <= 0:
                raise TrainError(f"{name} must be positive, not {getattr(self, name)}.")
        for name in ("gamma", "lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise TrainError(f"{name} must be from 0 to 1, not {getattr(self, name)}.")

    @property
    def per_round(self) -> int:
        """Updates of a round."""
        return self.updates * self.passes
