"""Every template of the number families is performed with the real devices."""

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import product
from random import Random
from typing import Any

import pytest

from cabinos.drivers.numerals import numeral
from cabinos.train.dialogues.families import family
from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.numbers import in_words, value_of
from cabinos.train.dialogues.script import Template
from cabinos.train.dialogues.stage import Stage

FAMILIES = ("calculate", "units", "dates", "chance", "python", "plot")
SEEDS = 3
NOW = datetime(2026, 3, 14, 15, 9, tzinfo=UTC)
SPELLED = {f" {in_words(n)} ": str(n) for n in range(1000)}
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def templates(name: str) -> list[Template]:
    found = [*family(name, held_out=True), *family(name)]
    return list({template.name: template for template in found}.values())


@pytest.mark.parametrize("name", FAMILIES)
def test_every_template_performs_with_numbers_that_were_said(name: str) -> None:
    asyncio.run(perform(templates(name)))


async def perform(found: list[Template]) -> None:
    fillers = Fillers()
    async with Stage() as stage:
        for template, seed in product(found, range(SEEDS)):
            script = template.write(Random(f"{template.name}/{seed}"), fillers)
            said: list[str] = []
            for message in await stage.perform(script, now=NOW, seed=seed):
                for call in message.get("tool_calls", ()):
                    if call["name"] != "exec":  # a program has numbers of its own
                        assert not unsaid(call, said), (template.name, said, call)
                if message["role"] == "assistant" and message["content"]:
                    assert not re.search(r"\{|\}|None", message["content"]), template.name
                else:
                    said.append(message["content"])


def unsaid(call: Mapping[str, Any], texts: list[str]) -> list[str]:
    """The numbers in the arguments that nobody has said, in digits or in words."""
    said = " ".join(texts).replace(",", "").lower()
    known = {*NUMBER.findall(said), "1"}  # "a mile" says 1
    spaced = f" {re.sub(r'[^a-z-]+', ' ', said)} "
    known |= {number for words, number in SPELLED.items() if words in spaced}
    wanted = " ".join(map(str, call["arguments"].values())).replace(",", "")
    return [number for number in NUMBER.findall(wanted) if number not in known]


@pytest.mark.parametrize("name", FAMILIES)
def test_there_are_many_wordings(name: str) -> None:
    assert len(templates(name)) >= 40


def test_numbers_in_words_are_read_back() -> None:
    for number in [*range(1100), 5_000, 12_345, 999_999]:
        assert numeral(in_words(number)) == number


@pytest.mark.parametrize(
    ("result", "value"),
    [("2*3 = 6", ("6", True)), ("1/3 ≈ 0.333333", ("0.333333", False)), ("heads", ("heads", True))],
)
def test_the_value_of_a_result(result: str, value: tuple[str, bool]) -> None:
    assert value_of(result) == value
