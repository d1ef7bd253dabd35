"""Every template of the word families is performed with the real devices."""

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import import_module
from itertools import product
from random import Random
from typing import Any

import pytest

from cabinos.train.dialogues.fillers import Fillers
from cabinos.train.dialogues.script import Template
from cabinos.train.dialogues.stage import Stage

FAMILIES = (
    "notes", "todos", "reminders", "files", "documents", "chains", "unseen", "talk", "clarify",
    "decline",
)  # fmt: skip
SEEDS = 3
NOW = datetime(2026, 3, 14, 15, 9, tzinfo=UTC)
# Arguments that are a choice of the schema, or code, and so are not said.
CHOSEN = {("notes_list", "kind"), ("exec", "code")}
IMPLIED = {("clock_between", "start", "today")}  # an example of the schema, so it may be written
# A sum of numbers from several messages.
COMPOSED = {"chains/times", "chains/share", "chains/percent"}


def family(name: str) -> list[Template]:
    templates: list[Template] = import_module(f"cabinos.train.dialogues.families.{name}").TEMPLATES
    return templates


def is_said(value: str, texts: list[str]) -> bool:
    """Whether whole words of one message are the value."""
    before, after = ("(?<![^\\W\\d_])" if value[at].isalpha() else "" for at in (0, -1))
    pattern = before + re.escape(value) + after.replace("<!", "!")
    return any(re.search(pattern, text) for text in texts)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_template_performs_and_copies_what_was_said(name: str) -> None:
    asyncio.run(perform(family(name), SEEDS if name != "decline" else 1))


async def perform(templates: list[Template], seeds: int) -> None:
    fillers = Fillers()
    async with Stage() as stage:
        for template, seed in product(templates, range(seeds)):
            script = template.write(Random(f"{template.name}/{seed}"), fillers)
            assert script.template == template.name
            texts: list[str] = []
            for message in await stage.perform(script, now=NOW, seed=seed):
                for call in message.get("tool_calls", ()):
                    if template.name.rpartition("-")[0] not in COMPOSED:
                        assert not unsaid(call, texts), (template.name, texts)
                if message["role"] != "assistant":
                    texts.append(message["content"])


def unsaid(call: Mapping[str, Any], texts: list[str]) -> list[str]:
    """The arguments that were to be copied and were not."""
    return [
        value
        for argument, value in call["arguments"].items()
        if isinstance(value, str)
        and (call["name"], argument) not in CHOSEN
        and (call["name"], argument, value) not in IMPLIED
        and not is_said(value, texts)
    ]


def test_names_are_unique() -> None:
    names = [template.name for name in FAMILIES for template in family(name)]
    assert len(names) == len(set(names))
