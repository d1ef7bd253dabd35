"""What people ask for, one file for each thing, and how much of the data each is."""

from functools import cache
from importlib import import_module
from operator import itemgetter

from cabinos.train.dialogues.script import Template

__all__ = ["HELD_OUT", "SHARES", "family"]

HELD_OUT = 10  # one template in so many of every family, at least one

# family: percent of the rows. Each is a module here with a list `TEMPLATES`.
SHARES: dict[str, float] = {
    "calculate": 9,
    "units": 7,
    "dates": 8,
    "chance": 2.5,
    "python": 3,
    "plot": 1.5,
    "notes": 10,
    "todos": 9,
    "reminders": 8,
    "files": 5,
    "documents": 4,
    "chains": 6,
    "unseen": 8,
    "talk": 4,
    "clarify": 3,
    "decline": 12,
}


@cache
def family(name: str, held_out: bool = False) -> list[Template]:
    """The templates of a family that are trained on, or with `held_out` those that never are."""
    module = import_module(f"{__name__}.{name}")
    order = sorted(
        {template.name: template.digest for template in module.TEMPLATES}.items(), key=itemgetter(1)
    )
    apart = {name for name, _ in order[: -(-len(order) // HELD_OUT)]}
    return [template for template in module.TEMPLATES if (template.name in apart) == held_out]
