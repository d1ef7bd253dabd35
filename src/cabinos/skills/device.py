"""Device: skills, for processes to find, to read, and to be guided by.

`skill_search` finds skills and principles for a question, `skill_read` opens a skill's files, and
`knowledge_get` a principle with all that belongs to it. A result is as trustworthy as the skills it
speaks of. A script of a skill runs only in the shell's sandbox, where a shell was granted.

What a request is clearly about comes before the model unasked (`brief`), within a budget of tokens:
from trusted skills alone, since whoever reads a stranger's text has read it.
"""

import asyncio
import logging
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import Field

from cabinos.drivers.shell import driver as shell_driver
from cabinos.kernel.capability import Capabilities, FileGrant
from cabinos.kernel.driver import Context, Driver, Labelled, Tool, tool
from cabinos.kernel.errors import Denied, KernelError, ToolError
from cabinos.skills.catalog import Catalog, Entry
from cabinos.skills.errors import SkillError
from cabinos.skills.graph import Graph, compile_graph
from cabinos.skills.meaning import encoder
from cabinos.skills.package import MAIN
from cabinos.skills.retrieval import Chooser, Found, Searcher, pack, told

__all__ = ["driver"]

BRIEF = 600  # tokens that may come before a model unasked
PRINCIPLES = 3  # that come with them at most
SHOWN = 5  # skills, and principles, of one search
COMPANY = 3  # principles that their links lead to
MOST = 30_000  # characters of a file that are shown at a time
RUNNERS = {
    # Compiled files beside a script are no part of the skill, and are not to be run in its place.
    ".py": ("python3", "-X", "pycache_prefix=/tmp/pycache"),
    ".sh": ("sh",),
    ".bash": ("bash",),
    ".js": ("node",),
}
log = logging.getLogger("cabinos.skills")
SECTION = {"pin": list, "brief": int}  # the keys of [skills]


def driver(config: Mapping[str, Any]) -> Driver:
    """The device. `config`: pin (names of skills that always guide), brief (tokens; 0: none)."""
    for key, value in config.items():
        if key not in SECTION or not isinstance(value, SECTION[key]):
            kinds = ", ".join(f"{k} ({v.__name__})" for k, v in SECTION.items())
            raise KernelError(f"[skills] has {kinds}; {key!r} is none of them, or of another type.")
    library = Library([str(name) for name in config.get("pin", [])])
    tokens = int(config.get("brief", BRIEF))
    return Driver(
        "skills",
        [*_reading(library), _running(library)],
        brief=lambda request, count, most: library.brief(request, count, min(most, tokens)),
    )


class Library:
    """The skills of this machine, read when the first of them is needed."""

    def __init__(self, pinned: list[str]) -> None:
        self.pinned = pinned
        self._loaded: tuple[Catalog, Graph, Chooser, Searcher] | None = None

    def load(self) -> tuple[Catalog, Graph, Chooser, Searcher]:
        """What there is. A kernel sees the skills that were there when it first looked."""
        if self._loaded is None:
            catalog = Catalog.read()
            graph = compile_graph(catalog.skills)
            for name in self.pinned:
                self._tell(catalog, name)
            vectors = encoder()
            chooser = Chooser(catalog.skills, vectors)
            self._loaded = catalog, graph, chooser, Searcher(graph, vectors)
        return self._loaded

    def _tell(self, catalog: Catalog, name: str) -> None:
        """Warns of a pinned skill that cannot guide."""
        try:
            trusted = catalog.get(name).trusted
        except SkillError as error:
            log.warning("[skills] pin: %s", error)
            return
        if not trusted:
            log.warning("[skills] pin: %s is not trusted: cabin skill install --trust", name)

    def entry(self, name: str) -> Entry:
        """A skill by its name, for a tool. Raises ToolError."""
        try:
            return self.load()[0].get(name.strip())
        except SkillError as error:
            raise ToolError(str(error)) from error

    def brief(self, request: str, count: Callable[[str], int], tokens: int) -> str:
        """What to put before a model that is to do what was requested; "" for nothing.

        Pinned skills are named however few tokens there are.
        """
        if tokens <= 0:
            return ""
        try:
            catalog, graph, chooser, searcher = self.load()
        except SkillError:  # nobody asked for skills: a damaged one must not keep them from work
            return ""
        chosen = chooser.choose(request, pinned=self.pinned)
        fired = [one.skill for one in chosen if one.fires and catalog.get(one.skill.name).trusted]
        if not fired:
            return ""
        names = {skill.name for skill in fired}
        lines = [
            f"The skill {s.name} is about this. {s.description} skill_read opens it." for s in fired
        ]
        for found in searcher.search(request, limit=SHOWN):
            if found.principle.skill in names and len(lines) < len(fired) + PRINCIPLES:
                lines.append(told(graph, found))
        pinned = [line for s, line in zip(fired, lines, strict=False) if s.name in self.pinned]
        rest = [line for line in lines if line not in pinned]
        left = tokens - sum(map(count, pinned))
        return "\n\n".join([*pinned, *pack(rest, count, left)])


def _reading(library: Library) -> list[Tool]:
    @tool(
        effect="pure",
        hints="skill skills knowledge principle principles expertise",
    )
    async def skill_search(
        query: Annotated[str, Field(min_length=1, max_length=2_000, description="the question")],
    ) -> Labelled:
        """Finds skills and principles, with their reasons and sources, for a question."""
        catalog, graph, chooser, searcher = await asyncio.to_thread(_loaded, library)
        chosen = chooser.choose(query, limit=SHOWN, pinned=library.pinned)
        found = searcher.search(query, limit=SHOWN)
        found += searcher.companions(found, limit=COMPANY)
        entries = [catalog.get(one.skill.name) for one in chosen]
        entries += [catalog.get(one.principle.skill) for one in found]
        lines = [f"Skill {one.skill.name}: {one.skill.description}" for one in chosen]
        lines += [told(graph, one) for one in found]
        return _labelled("\n\n".join(lines) or "No skill speaks of that.", entries)

    @tool(effect="pure", hints="skill skills")
    async def skill_read(
        skill: Annotated[str, Field(min_length=1, max_length=64)],
        file: Annotated[str, Field(max_length=300, description="a path in the skill")] = MAIN,
    ) -> Labelled:
        """Reads a skill's instructions, or another of its files."""
        entry = await asyncio.to_thread(library.entry, skill)
        try:
            text = await asyncio.to_thread(entry.skill.folder.text, file.strip())
        except SkillError:
            files = ", ".join(entry.skill.folder.files()[:50])
            raise ToolError(f"{entry.skill.name} has no text {file!r}. It has: {files}.") from None
        if len(text) > MOST:
            text = f"{text[:MOST]}\n[… {len(text) - MOST:,} characters left out …]"
        return _labelled(text, [entry])

    @tool(effect="pure", hints="principle principles claim")
    async def knowledge_get(
        principle: Annotated[str, Field(min_length=3, max_length=200, description="skill#id")],
    ) -> Labelled:
        """Gets a principle by its id: claim, explanation, why, quotes, techniques, links."""
        catalog, graph, _, _ = await asyncio.to_thread(_loaded, library)
        key = principle.strip().strip("[]")
        known = graph.principles.get(key)
        if known is None:
            import difflib

            near = difflib.get_close_matches(key, graph.principles, 3, 0.4)
            raise ToolError(f"there is no principle {key!r}. Near: {', '.join(near) or 'none'}.")
        lines = [told(graph, Found(known, 1.0)), f"Explanation: {known.explanation}"]
        entries = [catalog.get(known.skill)]
        for step in graph.around(key):
            if step.end in graph.principles:
                other = graph.principles[step.end]
                entries.append(catalog.get(other.skill))
                kind = f"{step.edge.kind} (of it)" if step.backwards else step.edge.kind
                lines.append(f"Link: {kind} [{other.key}] {other.title}")
        return _labelled("\n".join(lines), entries)

    return [skill_search, skill_read, knowledge_get]


def _loaded(library: Library) -> tuple[Catalog, Graph, Chooser, Searcher]:
    try:
        return library.load()
    except SkillError as error:
        raise ToolError(str(error)) from error


def _labelled(text: str, entries: list[Entry]) -> Labelled:
    """As trustworthy as the least of the skills that it speaks of."""
    trusted = all(entry.trusted for entry in entries)
    return Labelled(text, "trusted" if trusted else "untrusted")


def _running(library: Library) -> Tool:
    (shell,) = (t for t in shell_driver({}).tools if t.name == "shell_run")

    @tool(
        effect="raw",
        authority=["skill", "script", "arguments"],
        needs="shell",
        hints="skill skills script",
    )
    async def skill_run(
        skill: Annotated[str, Field(min_length=1, max_length=64)],
        script: Annotated[str, Field(min_length=1, max_length=300, description="scripts/…")],
        arguments: list[str] | None = None,
        timeout: Annotated[int, Field(ge=1, le=3_600, description="seconds")] = 60,
        *,
        context: Context,
    ) -> str:
        """Runs a script of a skill in a sandbox: granted folders at /files, no network."""
        if not context.capabilities.shell:
            raise Denied("this process may not run commands, and a script is one.")
        entry = await asyncio.to_thread(library.entry, skill)
        path = PurePosixPath(script)
        runner = RUNNERS.get(path.suffix)
        if path.parts[:1] != ("scripts",) or runner is None:
            kinds = ", ".join(RUNNERS)
            raise ToolError(f"{script!r} is no script: scripts/NAME with one of {kinds}.")
        try:
            entry.skill.folder.locate(script)
        except SkillError as error:
            raise ToolError(str(error)) from error
        name = f"skill-{entry.skill.name}"
        grant = FileGrant(entry.skill.folder.path.resolve(), "r", name)
        words = [*runner, f"/files/{name}/{path}", *(arguments or [])]
        inside = replace(context, capabilities=_with(context.capabilities, grant))
        said = await shell.run(inside, command=shlex.join(words), timeout=timeout)
        return str(said)

    return skill_run


def _with(capabilities: Capabilities, grant: FileGrant) -> Capabilities:
    if any(own.name == grant.name for own in capabilities.files):
        raise ToolError(f"a granted folder is called {grant.name!r}; give it another name.")
    return capabilities.with_files(grant)
