"""What training costs: seconds, energy, money; measured on this machine, assumed for named ones.

seconds = operations / (peak · utilisation · devices); energy = seconds · watts · devices. The watts
are the device's most (of an Apple machine, all of it at the wall): hosts, networks and cooling come
on top, often half as much again. The table is `machines.json`, with its sources; its utilisation is
an assumption, near what well-kept training reaches (0.46 in Chowdhery et al. 2022,
arXiv:2204.02311). For this machine seconds are measured, and only the watts are assumed.
"""

import json
import time
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from cabinos.train.config import ModelConfig, RunConfig
from cabinos.train.errors import TrainError

if TYPE_CHECKING:
    from cabinos.train.hardware import Machine

__all__ = ["WATTS", "Cost", "Device", "Speed", "cost_of", "device", "devices", "here", "measure"]

WATTS = 10.0  # of a busy CPU core: a laptop's take 5 to 15, a server's about 5
USD_PER_KWH = 0.30
LONGEST = 10.0  # seconds for one update, above which it is not measured but computed


@dataclass(frozen=True)
class Device:
    """One row of the table."""

    name: str
    title: str
    peak: float  # floating-point operations a second, dense
    utilisation: float  # share of it that training reaches: an assumption
    watts: float
    source: str


@cache
def devices() -> dict[str, Device]:
    """The known ones by name."""
    text = files("cabinos.train.scaling").joinpath("machines.json").read_text(encoding="utf-8")
    return {row["name"]: Device(**row) for row in json.loads(text)}


def device(name: str) -> Device:
    """The one of that name; `here` is this machine. Raises TrainError with those there are."""
    if name == "here":
        return here()
    if name not in devices():
        raise TrainError(f"{name}: no such hardware; there are {', '.join(devices())}, here.")
    return devices()[name]


def here() -> Device:
    """This machine's CPU: its peak, and what training a model like nano reaches of it, measured.

    Raises TrainError if there is something faster than a CPU here, whose watts nobody knows.
    """
    import torch

    from cabinos.train.hardware import choose_machine, matrix_peak

    machine = choose_machine()
    if machine.device.type != "cpu":
        raise TrainError(f"--on here is for a CPU, and this machine has {machine.device.type}: "
                         f"name its card; there are {', '.join(devices())}.")  # fmt: skip
    peak, threads = matrix_peak(machine), torch.get_num_threads()
    config = RunConfig(batch_tokens=4096)
    shape = ModelConfig.from_depth(config.depth, context=config.context)
    seconds = measure(shape, config, machine, peak).update
    reached = config.batch_tokens * shape.flops_per_token(config.context) / seconds
    source = f"measured now, {threads} threads; {WATTS:.0f} W for each is assumed"
    return Device("here", "this machine", peak, reached / peak, WATTS * threads, source)


@dataclass(frozen=True)
class Cost:
    """Of a run, or of several."""

    seconds: float
    kwh: float
    usd: float


def cost_of(
    flops: float,
    on: Device,
    count: int = 1,
    *,
    usd_per_hour: float | None = None,
    usd_per_kwh: float = USD_PER_KWH,
) -> Cost:
    """Of so many operations on `count` devices: rented for so much an hour each, or else power."""
    seconds = flops / (on.peak * on.utilisation * count)
    kwh = seconds * on.watts * count / 3.6e6
    rent = usd_per_hour is not None
    usd = seconds / 3600 * count * (usd_per_hour or 0.0) if rent else kwh * usd_per_kwh
    return Cost(seconds, kwh, usd)


@dataclass(frozen=True)
class Speed:
    """How long things take for one shape of model."""

    update: float  # seconds for one update
    held_out: float  # seconds for a token that is only predicted
    measured: bool


def measure(shape: ModelConfig, config: RunConfig, machine: "Machine", peak: float) -> Speed:
    """The speed of a shape on this machine: the best of three updates, optimizer and all.

    `peak`: operations a second. What would take longer than ten seconds is computed from it, at
    half of the peak.
    """
    import torch

    from cabinos.train.model import Llama
    from cabinos.train.optimizer import make_optimizers

    flops = shape.flops_per_token(config.context)
    if (guess := flops * config.batch_tokens / (peak / 2)) > LONGEST:
        return Speed(guess, flops / 3 / (peak / 2), measured=False)
    state = torch.get_rng_state()
    model = Llama(shape, machine.dtype)
    model.initialize(torch.Generator().manual_seed(0))
    model.to(machine.device)
    optimizers = make_optimizers(model, config)
    tokens = torch.zeros(
        max(1, config.micro_tokens // config.context), config.context,
        dtype=torch.int64, device=machine.device,
    )  # fmt: skip
    parts = max(1, config.batch_tokens // tokens.numel())
    passes, steps, rest = [], [], []
    for _ in range(3):
        begin = time.perf_counter()
        model(tokens, tokens.flatten()).backward()
        passes.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad()
        steps.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        with torch.no_grad():
            model(tokens, tokens.flatten()).item()
        rest.append(time.perf_counter() - begin)
    torch.set_rng_state(state)
    return Speed(min(passes) * parts + min(steps), min(rest) / tokens.numel(), measured=True)
