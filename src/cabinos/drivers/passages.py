"""Device: the passages of granted documents that answer a question.

Every text file in the granted folders is read at each call, a line at a time or, where lines are
wrapped, a paragraph, so nothing is out of date. The search stops after some seconds or megabytes,
and says so. Where `cabin index` knows the folders, and nothing in them has changed since, the index
answers instead (`indexed`).
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from cabinos.drivers.beneath import Place
from cabinos.drivers.ranking import stems
from cabinos.drivers.reader import Reader
from cabinos.kernel.driver import Context, Driver, tool
from cabinos.kernel.errors import ToolError

__all__ = ["driver"]

SHOWN = 3  # passages
LENGTH = 300  # characters of a passage that is shown
PASSAGE = re.compile(r"(.+?):(\d+): (.*)")  # path:line: text


def driver(_config: Mapping[str, Any]) -> Driver:
    """The device. It needs no configuration: folders are granted to each process."""
    return Driver("passages", tools=[files_passages])


def _quoted(_arguments: Mapping[str, Any], result: str) -> str:
    """The best passage, quoted, with where it stands; the places of the others."""
    found = [match.groups() for line in result.splitlines() if (match := PASSAGE.match(line))]
    if not found:
        return result
    (path, line, words), *others = found
    more = f" See also {', '.join(f'{p}, line {n}' for p, n, _ in others)}." if others else ""
    return f'{path}, line {line}: "{words}"{more}'


@tool(
    effect="pure",
    needs="files",
    says=_quoted,
    hints="<asks> <named> according to my documents files folder notes what who when where how "
    "does it say question answer find out look up check read passage manual report contract lease "
    "recipe letter invoice budget log minutes handbook mention should people long",
)
async def files_passages(
    query: Annotated[str, Field(min_length=1, max_length=1_000, description="the question")],
    *,
    context: Context,
) -> str:
    """Finds the passages of granted documents that answer a question, the best first."""
    from cabinos.drivers import indexed  # NumPy comes with it: not at every start

    if not context.capabilities.files:
        raise ToolError("no folder was granted, so there are no documents to look into.")
    if not stems(query):
        raise ToolError("the question has no words to look for.")
    known = await asyncio.to_thread(indexed.find, context.capabilities.files, query, SHOWN)
    if known is not None:
        return "\n".join(f"{found.where}: {_clipped(found.text, query)}" for found in known) or (
            "No document says anything about that (all indexed files were searched)."
        )
    places = [Place(grant, ()) for grant in context.capabilities.files]
    reader = Reader()
    await reader.read(places)
    found = await asyncio.to_thread(reader.best, query, SHOWN)
    lines = [f"{one.path}:{one.line}: {_clipped(one.text, query)}" for one in found]
    if not lines:
        lines = [f"No document says anything about that ({reader.files} files were read)."]
    if reader.left_out:
        lines.append(f"[{reader.left_out}]")
    return "\n".join(lines)


def _clipped(passage: str, query: str) -> str:
    """At most LENGTH characters, around the first word that the query asks for."""
    if len(passage) <= LENGTH:
        return passage
    wanted = set(stems(query))
    at = 0
    for word in passage.split(" "):
        if wanted & set(stems(word)):
            break
        at += len(word) + 1
    start = min(max(0, at - LENGTH // 3), len(passage) - LENGTH)
    end = start + LENGTH
    left, right = "…" if start else "", "…" if end < len(passage) else ""
    return f"{left}{passage[start:end].strip()}{right}"
