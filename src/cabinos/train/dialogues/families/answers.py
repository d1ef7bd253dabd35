"""How a value is told."""

from cabinos.train.dialogues.numbers import value_of
from cabinos.train.dialogues.script import Results

__all__ = ["VALUE", "told"]

EXACT = ("{e} = {v}.", "{e} is {v}.", "That's {v}.", "{v}.", "It's {v}.", "The answer is {v}.")
NEAR = ("{e} is about {v}.", "About {v}.", "That's about {v}.", "It's roughly {v}.")
VALUE = ("{v}.", "That's {v}.", "It is {v}.")


def told(draw: float, expression: str, answers: tuple[str, ...] | None, results: Results) -> str:
    """One of `answers` (by default of those that fit) with {e} and the {v} that came back.

    `draw` in [0, 1) says which.
    """
    value, exact = value_of(results[0])
    choices = answers or (EXACT if exact else NEAR)
    text = choices[int(draw * len(choices))].format(e=expression, v=value)
    return text[0].upper() + text[1:]
