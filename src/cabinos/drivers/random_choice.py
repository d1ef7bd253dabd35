"""Device: chance. Dice, coins, and one of several things.

From the system's own source of randomness, unless the configuration sets a seed.
"""

import random
import re
import secrets
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from cabinos.kernel.driver import Driver, tool
from cabinos.kernel.errors import KernelError, ToolError

__all__ = ["driver", "options_of"]

MAX_COUNT = 100
MAX_SIDES = 10**9
SEPARATORS = re.compile(r"\s*[,;/\n|]\s*(?:(?:or|and)\b\s*)?|\s+or\s+|\s+vs\.?\s+", re.IGNORECASE)
LAST_AND = re.compile(r"\s+and\s+", re.IGNORECASE)
LEAD = re.compile(r"^(?:between|from|one of|either|among)\s+", re.IGNORECASE)

Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]


def driver(config: Mapping[str, Any], chance: random.Random | None = None) -> Driver:
    """The device. `config`: seed (an integer, for tests). Raises KernelError for another.

    `chance` is where numbers come from instead.
    """
    seed = config.get("seed")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
        raise KernelError("[random] seed must be an integer.")
    own = secrets.SystemRandom() if seed is None else random.Random(seed)  # noqa: S311
    source = own if chance is None else chance

    @tool(
        effect="pure",
        label="trusted",
        says=lambda _, result: f"The dice say {result}" if result[-1:].isdigit() else result,
        hints="roll rolls rolling a die dice d sided sides random number throw between initiative "
        "raffle",
    )
    async def random_roll(
        sides: Annotated[int, Field(ge=1, le=MAX_SIDES)] = 6, count: Count = 1
    ) -> str:
        """Rolls dice: one number from 1 to the sides for each."""
        return ", ".join(str(source.randint(1, sides)) for _ in range(count))

    @tool(
        effect="pure",
        label="trusted",
        says=lambda _, result: f"It's {result}" if result[-5:] in ("heads", "tails") else result,
        hints="flip a coin toss heads tails coins random",
    )
    async def random_flip(count: Count = 1) -> str:
        """Flips a coin: heads or tails."""
        return ", ".join(source.choice(("heads", "tails")) for _ in range(count))

    @tool(
        effect="pure",
        label="trusted",
        hints="<or> pick choose one of these for me random randomly decide between this or that "
        "either which should i help me choose surprise me draw choice fate select arguing",
    )
    async def random_pick(
        options: Annotated[
            str, Field(min_length=1, max_length=2_000, description="like pizza, pasta or sushi")
        ],
    ) -> str:
        """Picks one of several things at random."""
        found = options_of(options)
        if len(found) < 2:
            raise ToolError(f"{options!r} is one thing; name several, like pizza, pasta or sushi.")
        return source.choice(found)

    return Driver("random", tools=[random_roll, random_flip, random_pick])


def options_of(text: str) -> list[str]:
    """The things that a text lists: `pizza, pasta or sushi`, `red and blue`."""
    text = LEAD.sub("", text.strip().rstrip("?.! "))
    found = [part.strip() for part in SEPARATORS.split(text) if part.strip()]
    if len(found) == 1:
        found = [part.strip() for part in LAST_AND.split(found[0]) if part.strip()]
    return found
