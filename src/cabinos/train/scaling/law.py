"""The law: L(N, D) = E + A / N^alpha + B / D^beta (Hoffmann et al. 2022, arXiv:2203.15556, eq. 2).

N is all weights, an embedding that is also the output matrix counted once; D is the tokens trained
on; L is whatever loss the points have: nats a token, or bits a byte.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cabinos.train.errors import TrainError
from cabinos.train.scaling.shapes import shape_of, widths

__all__ = ["CHINCHILLA", "Law", "Plan", "best_shape"]

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Law:
    """The five numbers."""

    E: float  # what no model of this kind can avoid
    A: float
    B: float
    alpha: float
    beta: float

    def loss(self, parameters: Any, tokens: Any) -> Any:
        """The loss of a model with so many weights after so many tokens; arrays give arrays."""
        return self.E + self.A / parameters**self.alpha + self.B / tokens**self.beta

    @property
    def exponent(self) -> float:
        """The a of N_opt ∝ C^a, which is beta / (alpha + beta) (eq. 4)."""
        return self.beta / (self.alpha + self.beta)

    def optimum(self, flops: Any) -> tuple[Any, Any]:
        """The (N, D) of the least loss where training costs C = 6 N D (eq. 4).

        N_opt = G (C/6)^a and D_opt = (C/6)^(1-a) / G, with G = (alpha A / beta B)^(1/(alpha+beta)).
        """
        ratio = self.alpha * self.A / (self.beta * self.B)
        g = ratio ** (1 / (self.alpha + self.beta))
        parameters = g * (flops / 6) ** self.exponent
        return parameters, flops / 6 / parameters


CHINCHILLA = Law(1.8172, 482.01, 2085.43, 0.3478, 0.3658)
"""As Besiroglu et al. 2024 (arXiv:2404.10102) found it in Chinchilla's own runs; nats a token."""


@dataclass(frozen=True)
class Plan:
    """A run that a budget pays for."""

    width: int
    parameters: int
    tokens: float
    flops: float
    loss: float


def best_shape(law: Law, flops: float, *, vocabulary: int, context: int) -> Plan:
    """Of Cabin's own models, the one with the least loss for so many operations, counted exactly.

    Raises TrainError if the budget is too small for any.
    """
    best: Plan | None = None
    for width in widths(2**15):
        shape = shape_of(width, vocabulary=vocabulary, context=context)
        tokens = flops / shape.flops_per_token(context)
        if tokens < context:
            break
        loss = float(law.loss(shape.parameters, tokens))
        if best is None or loss < best.loss:
            best = Plan(width, shape.parameters, tokens, flops, loss)
    if best is None:
        raise TrainError(f"{flops:.3g} operations do not train the smallest model on one row.")
    return best
