"""Skills for clients: as tools, since many show their models nothing else, and as resources."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from cabinos.kernel.driver import Labelled, Tool, tool
from cabinos.skills.catalog import Catalog
from cabinos.skills.device import driver
from cabinos.skills.package import Skill

__all__ = ["knowledge_tools", "served_skills"]

SERVED = ("installed", "box")  # what merely lies in the folders of other assistants is theirs


def served_skills() -> list[Skill]:
    """The skills that come with Cabin, and those that its user has installed."""
    catalog = Catalog.read(knowledge=False)
    return [entry.skill for entry in catalog.entries if entry.origin in SERVED]


def knowledge_tools() -> Sequence[Tool]:
    """knowledge_search and knowledge_get, which the device of skills answers."""
    device = {one.name: one for one in driver({}).tools}

    @tool(effect="pure")
    async def knowledge_search(
        query: Annotated[str, Field(min_length=1, max_length=2_000, description="the question")],
    ) -> dict[str, Any]:
        """Finds principles with their reasons and checked quotes, and skills, for a question."""
        return _told(await device["skill_search"].run(None, query=query))

    @tool(effect="pure")
    async def knowledge_get(
        principle: Annotated[
            str, Field(min_length=3, max_length=200, description="its id: skill#name")
        ],
    ) -> dict[str, Any]:
        """Gets a principle: claim, explanation, why, quotes with sources, techniques, links."""
        return _told(await device["knowledge_get"].run(None, principle=principle))

    return [knowledge_search, knowledge_get]


def _told(result: Labelled) -> dict[str, Any]:
    return {"text": result.value, "label": result.label}
