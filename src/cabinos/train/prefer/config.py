"""The course of a run on comparisons, with the formulas that its numbers stand in."""

from dataclasses import dataclass

from cabinos.train.config import TuneConfig
from cabinos.train.errors import TrainError

__all__ = ["DpoConfig", "PairConfig", "RewardConfig"]


@dataclass(frozen=True)
class PairConfig(TuneConfig):
    """What both ways of learning from pairs share. Rates are a tenth of those of stage 2."""

    epochs: float = 1.0  # over all pairs
    matrix_rate: float = 0.0006
    other_rate: float = 0.0002
    warmup: float = 0.1
    smoothing: float = 0.0  # share of the pairs that are taken to be the wrong way round
    held: float = 0.1  # share of the prompts whose pairs are only measured

    def __post_init__(self) -> None:
        """Raises TrainError for numbers that do not fit together."""
        super().__post_init__()
        if not 0 <= self.smoothing < 0.5:
            raise TrainError(f"smoothing must be from 0 to below 0.5, not {self.smoothing}.")
        if not 0 <= self.held < 1:
            raise TrainError(f"held must be from 0 to below 1, not {self.held}.")
        if self.replay:
            raise TrainError("replay is for conversations, not for pairs.")


@dataclass(frozen=True)
class RewardConfig(PairConfig):
    """A reward model: r(prompt, answer), a number, higher for what was preferred."""

    matrix_rate: float = 0.002
    other_rate: float = 0.002


@dataclass(frozen=True)
class DpoConfig(PairConfig):
    """Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290)."""

    beta: float = 0.1  # how dear it is to move away from the reference
    normalised: bool = False  # by length: LN-DPO
    likelihood: float = 0.0  # weight of the chosen answer's own loss

    def __post_init__(self) -> None:
        """Raises TrainError for numbers that do not fit together."""
        super().__post_init__()
        if self.beta <= 0:
            raise TrainError(f"beta must be positive, not {self.beta}.")
        if self.likelihood < 0:
            raise TrainError(f"likelihood must not be negative, not {self.likelihood}.")
