"""What the run computes on: device, number format, and how fast the machine multiplies matrices."""

import os
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from cabinos.train.errors import TrainError

__all__ = ["Machine", "Processes", "choose_machine", "matrix_peak", "processes"]


@dataclass(frozen=True)
class Machine:
    """Where activations live and in which type."""

    device: torch.device
    dtype: torch.dtype


@dataclass(frozen=True)
class Processes:
    """This process among those that train together (1 if it trains alone)."""

    rank: int
    count: int


def choose_machine(device: str | None = None, dtype: str | None = None) -> Machine:
    """The device asked for, by default the fastest there is; bfloat16 where that is faster.

    Raises TrainError if the device is not there.
    """
    if device is None:
        cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
        device = "cuda" if cuda else "mps" if mps else "cpu"
    try:
        chosen = torch.device(device, processes().rank if device == "cuda" else None)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        problem = str(error).splitlines()[0]
        raise TrainError(f"device {device!r} cannot be used: {problem}") from None
    if dtype is not None:
        return Machine(chosen, {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype])
    if chosen.type == "cuda":
        return Machine(chosen, torch.bfloat16)
    if chosen.type == "mps":
        return Machine(chosen, torch.float32)
    # A CPU without bfloat16 instructions computes in it several times as slowly.
    fast = matrix_peak(Machine(chosen, torch.bfloat16), 0.1)
    plain = matrix_peak(Machine(chosen, torch.float32), 0.1)
    return Machine(chosen, torch.bfloat16 if fast > plain else torch.float32)


def matrix_peak(machine: Machine, seconds: float = 0.5) -> float:
    """Floating-point operations a second in the best of many products of square matrices."""
    size = 1024 if machine.device.type == "cpu" else 4096
    # Constant, so that the run's random numbers are not touched.
    a = torch.full((size, size), 0.5, device=machine.device, dtype=machine.dtype)
    b = torch.full((size, size), 0.25, device=machine.device, dtype=machine.dtype)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end or best == float("inf"):
        best = min(best, _time(a, b, 20 if machine.device.type == "cuda" else 1))
    return 2 * size**3 / best


def _time(a: Tensor, b: Tensor, repeats: int) -> float:
    """Seconds for one product, the device's queue having been drained before and after."""
    synchronize(a.device)
    start = time.perf_counter()
    for _ in range(repeats):
        a @ b
    synchronize(a.device)
    return (time.perf_counter() - start) / repeats


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def processes() -> Processes:
    """As torchrun tells in the environment."""
    return Processes(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
