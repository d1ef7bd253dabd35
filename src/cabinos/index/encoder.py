"""What turns texts into vectors, and which of them is used."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Encoder"]


class Encoder(Protocol):
    """A sentence encoder."""

    name: str  # of the weights and what is done with them: equal names give equal vectors
    width: int
    batch: int  # texts that take about a second
    near: float  # cosine from which on two texts have something to do with each other

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """A vector for each text, of length 1, or 0 where it says nothing: (texts, width)."""
