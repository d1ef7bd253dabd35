"""From a budget to a plan: the best size and tokens, what they reach, and what they cost."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cabinos.train.scaling.cost import Cost, Device, cost_of
from cabinos.train.scaling.law import Law, Plan

__all__ = ["Stop", "budgets_up_to", "roadmap"]

Interval = Callable[[float, float], tuple[float, float]]  # of the loss for (N, D)
DECADES = 5  # that a roadmap goes through


@dataclass(frozen=True)
class Stop:
    """One budget on one device."""

    device: Device
    count: int
    plan: Plan
    low: float  # of the 95 % interval of the loss
    high: float
    cost: Cost

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {"device": self.device.name, "count": self.count, **asdict(self.plan),
                "low": self.low, "high": self.high, **asdict(self.cost)}  # fmt: skip


def optimum(law: Law, flops: float) -> Plan:
    """By the closed form, where training costs 6 N D: for models of any make."""
    parameters, tokens = law.optimum(flops)
    loss = float(law.loss(parameters, tokens))
    return Plan(0, round(parameters), float(tokens), flops, loss)


def roadmap(
    best: Callable[[float], Plan],
    interval: Interval,
    budgets: Sequence[float],
    on: Sequence[Device],
    count: int,
    **prices: Any,
) -> list[Stop]:
    """Every budget on every device: `best` gives the size for one, `prices` go to `cost_of`."""
    stops = []
    for flops in budgets:
        plan = best(flops)
        low, high = interval(plan.parameters, plan.tokens)
        stops += [
            Stop(device, count, plan, low, high, cost_of(flops, device, count, **prices))
            for device in on
        ]
    return stops


def budgets_up_to(flops: float) -> list[float]:
    """The way there, a tenth each: for 1e20 it is 1e16, …, 1e20."""
    return [flops / 10**n for n in reversed(range(DECADES))]
