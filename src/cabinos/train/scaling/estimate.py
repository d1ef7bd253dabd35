"""What a ladder will cost on this machine, from a moment of training of each of its sizes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cabinos.train.errors import TrainError
from cabinos.train.scaling.cost import WATTS, Speed, measure
from cabinos.train.scaling.ladder import Ladder, Rung
from cabinos.train.scaling.work import Running

__all__ = ["Costs", "Line", "estimate"]

START = 3.0  # seconds until a run has read its texts and tried its machine
EPOCHS = 4.0  # of one text, up to which repeating is as good as new (arXiv:2305.16264)


@dataclass(frozen=True)
class Line:
    """One rung."""

    rung: Rung
    parameters: int
    updates: int
    flops: float
    seconds: float
    measured: bool  # or computed from the machine's peak


@dataclass(frozen=True)
class Costs:
    """All of them."""

    lines: tuple[Line, ...]
    watts: float
    threads: int
    device: str
    repeated: tuple[str, ...]  # domains that a rung reads more than four times

    @property
    def flops(self) -> float:
        """Operations in all."""
        return sum(line.flops for line in self.lines)

    @property
    def seconds(self) -> float:
        """One run after the other."""
        return sum(line.seconds for line in self.lines)

    @property
    def kwh(self) -> float:
        """Energy in all."""
        return self.seconds * self.watts / 3.6e6

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        lines = [asdict(line) for line in self.lines]
        return {"flops": self.flops, "seconds": self.seconds, "watts": self.watts, "kwh": self.kwh,
                "device": self.device, "repeated": self.repeated, "rungs": lines}  # fmt: skip


def estimate(ladder: Ladder, data: Path, running: Running, watts: float | None = None) -> Costs:
    """Measure each size of the ladder on this machine.

    `watts`: what the machine takes; on a CPU 10 for each thread is assumed, elsewhere it is to be
    given. Raises TrainError if it is not, CorpusError if a domain of the mixture is missing.
    """
    import torch

    from cabinos.train.batches import Batches
    from cabinos.train.hardware import choose_machine, matrix_peak
    from cabinos.train.shards import open_shards

    Batches(data, ladder.base.mix)  # every domain of the mixture is there
    if running.threads is not None:
        torch.set_num_threads(running.threads)
    machine = choose_machine(running.device, running.dtype)
    threads = torch.get_num_threads()
    if watts is None and machine.device.type != "cpu":
        raise TrainError("what does this machine take? Give --watts, for the energy.")
    peak = matrix_peak(machine)
    speeds: dict[int, Speed] = {}
    lines = []
    shards = open_shards(data)
    held = sum(min(ladder.wish.held_out, shard.tokens) for shard in shards if shard.split == "held")
    for rung in ladder.rungs:
        config, shape = rung.run(ladder.base, ladder.vocabulary)
        if rung.width not in speeds:
            speeds[rung.width] = measure(shape, config, machine, peak)
        speed = speeds[rung.width]
        seconds = START + config.steps * speed.update + held * speed.held_out
        flops = ladder.flops(rung)
        lines.append(
            Line(rung, shape.parameters, config.steps, flops, seconds, speed.measured)
        )  # fmt: skip
    return Costs(
        tuple(lines), WATTS * threads if watts is None else watts, threads, machine.device.type,
        _repeated(ladder, {s.domain: s.tokens for s in shards if s.split == "train"}),
    )  # fmt: skip


def _repeated(ladder: Ladder, tokens: dict[str, int]) -> tuple[str, ...]:
    most = max(rung.tokens for rung in ladder.rungs)
    mix = ladder.base.mix
    total = sum(mix.values())
    domains: Sequence[str] = [
        domain for domain, share in mix.items()
        if most * share / total > EPOCHS * max(1, tokens.get(domain, 0))
    ]  # fmt: skip
    return tuple(domains)
