"""What people ask for, one file for each thing, and how much of the data each is."""

from functools import cache
from importlib import import_module

from cabinos.train.dialogues.script import Template

__all__ = ["HELD_OUT", "SHARES", "family"]

HELD_OUT = 10  # one template in so many of every family, at least one

# family: percent of the rows. Each is a module here with a list `TEMPLATES`.
SHARES: dict[str, float] = {
    "calculate": 14,
}


@cache
def family(name: str, held_out: bool = False) -> list[Template]:
    """The templates of a family that are trained on, or with `held_out` those that never are."""
    module = import_module(f"{__name__}.{name}")
    order = sorted(module.TEMPLATES, key=lambda template: template.digest)
    count = -(-len(order) // HELD_OUT)
    return order[:count] if held_out else order[count:]
