"""Device: words, letter by letter, which a model of tokens does not see."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from cabinos.kernel.driver import Driver, tool
from cabinos.kernel.errors import ToolError

__all__ = ["driver", "words_spell"]


def driver(_config: Mapping[str, Any]) -> Driver:
    """The device. It needs no configuration."""
    return Driver("words", tools=[words_spell])


@tool(
    effect="pure",
    label="trusted",
    hints="spell spelling how do you spell letters letter by letter spelled written word out",
)
async def words_spell(
    word: Annotated[str, Field(min_length=1, max_length=100, description="a word")],
) -> str:
    """Spells a word: letter by letter."""
    letters = "".join(word.split()).strip("\"'.,;:!?")
    if not letters:
        raise ToolError("there is no word to spell.")
    return "-".join(letters)
