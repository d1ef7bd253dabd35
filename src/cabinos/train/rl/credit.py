"""What each decision of a sample is worth, whatever method says so."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Credit"]


@dataclass(frozen=True)
class Credit:
    """Of the n decisions of one sample."""

    advantages: NDArray[np.float32]  # [n]
    returns: NDArray[np.float32]  # [n], what a critic should have expected; 0 if there is none
