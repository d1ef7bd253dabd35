"""Every template of the word families is performed with the real devices."""

from datetime import UTC, datetime
from importlib import import_module
from random import Random

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
# Reminders are on a list of that name, however one calls them; days are counted from today.
IMPLIED = {("notes_list", "list", "reminders"), ("clock_between", "start", "today")}


def family(name: str) -> list[Template]:
    templates: list[Template] = import_module(f"cabinos.train.dialogues.families.{name}").TEMPLATES
    return templates


@pytest.mark.parametrize("name", FAMILIES)
async def test_every_template_performs_and_copies_what_was_said(name: str) -> None:
    fillers = Fillers()
    async with Stage() as stage:
        for template in family(name):
            for seed in range(SEEDS if name != "decline" else 1):
                script = template.write(Random(f"{template.name}/{seed}"), fillers)
                messages = await stage.perform(script, now=NOW, seed=seed)
                assert script.template == template.name
                said, read = "", ""
                for message in messages:
                    said += message["content"] if message["role"] == "user" else ""
                    read += message["content"] if message["role"] == "tool" else ""
                    for call in message.get("tool_calls", ()):
                        for argument, value in call["arguments"].items():
                            if (call["name"], argument) in CHOSEN or not isinstance(value, str):
                                continue
                            if (call["name"], argument, value) not in IMPLIED:
                                assert value in said or value in read, (template.name, said, call)


def test_names_are_unique() -> None:
    names = [template.name for name in FAMILIES for template in family(name)]
    assert len(names) == len(set(names))
