"""The gate in front of every call: what the policy is told of a process, and what its verdict does.

    subject, request → check → journal → allow, and spend the grant
                                       → ask a person, quoting where each argument comes from
                                       → deny

And before the first call that would read what nobody vouches for: is a plan asked for?

Whatever acts, and whatever is not allowed, leaves a row `check` in the journal with all that the
policy looked at, so that every decision can be made again (`lab/decisions.py`).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cabinos.kernel.driver import Model, Tool
from cabinos.kernel.errors import Denied
from cabinos.kernel.grants import Grant, links, mint, occurs, spend, texts
from cabinos.kernel.labels import TRUSTED, Integrity, Label
from cabinos.kernel.policy import Origin, Request, Subject, Value, Verdict, check

if TYPE_CHECKING:
    from cabinos.kernel.machine import Machine
    from cabinos.kernel.outcome import Record
    from cabinos.kernel.process import Process

__all__ = [
    "Guard",
    "decide",
    "drop_plan",
    "grant",
    "origins",
    "plan_first",
    "source",
    "spent",
    "typed_words",
]

QUOTE = 40  # characters on each side of a quoted argument
LOOKED_AT = 200  # pages in which an argument is looked for, the latest first
AGAIN = 5  # times that an address which was typed may be fetched


@dataclass(slots=True)
class Guard:
    """What a process carries for the monitor, beside the integrity of what it has read."""

    readers: frozenset[str] | None = None
    sources: frozenset[str] = frozenset()
    grants: tuple[Grant, ...] = ()
    frozen: bool = False  # a person has refused a call, and not spoken since
    program: str = field(default="")  # the source of a program that the person wrote

    def label(self, integrity: Integrity) -> Label:
        """The label of all that was read."""
        return Label(integrity, self.readers, self.sources)

    def read(self, label: Label) -> None:
        """Something of this label was read: sources only grow, readers only shrink."""
        whole = self.label("trusted").join(label)
        self.readers, self.sources = whole.readers, whole.sources

    def to_json(self) -> str | None:
        """As the store keeps it; None if there is nothing to keep."""
        if self == CLEAN:
            return None
        readers = None if self.readers is None else sorted(self.readers)
        grants = [grant.to_json() for grant in self.grants]
        kept = [readers, sorted(self.sources), grants, self.frozen, self.program]
        return json.dumps(kept, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | None) -> "Guard":
        """The inverse of `to_json`."""
        if text is None:
            return cls()
        readers, sources, grants, frozen, program = json.loads(text)
        known = None if readers is None else frozenset(readers)
        return cls(known, frozenset(sources), tuple(map(Grant.from_json, grants)), frozen, program)


CLEAN = Guard()


def source(tool: Tool, arguments: Mapping[str, Any]) -> str:
    """The name of what a call reads: the tool, and of which file or address."""
    named = (arguments.get(name) for name in ("path", "url", *tool.authority))
    where = next((value for value in named if isinstance(value, str) and value), "")
    return f"{tool.name}:{where[:200]}" if where else tool.name


def typed_words(m: "Machine", process: "Process") -> str:
    """What people typed to the process: its request, their later messages, or their program."""
    if process.image == "code":
        return process.guard.program
    pages = (m.pages.get(page_id) for page_id, *_ in process.pages)
    return "\n".join(
        p.text for p in pages if p.role == "user" and p.label == "trusted" and not p.meta
    )


def grant(
    m: "Machine",
    process: "Process",
    proposals: Sequence[Mapping[str, Any]],
    *,
    first: bool = False,
    plan: bool = False,
) -> None:
    """Mints what a planner proposes; raises Denied or InvalidArguments. Staged.

    `first`: they come with the request, whatever was given with it to read. `plan`: they end with
    the turn, see `drop_plan`.
    """
    roles = {name: tool.roles for name, tool in m.tools.items()}
    typed = typed_words(m, process)
    label = TRUSTED if first else process.guard.label(process.label)
    prefix = _planned(process) if plan else f"{process.pid}."
    minted = mint(label, typed, proposals, roles, f"{prefix}{process.step}.")
    process.guard.grants += minted
    m.journal.append(process.pid, "grant", grants=[one.to_json() for one in minted])
    m.store.save(process)


def _planned(process: "Process") -> str:
    """How the ids of the grants of its own plans begin."""
    return f"{process.pid}.plan "


def drop_plan(process: "Process") -> None:
    """The request is answered: what its plan granted and nothing used is granted no more."""
    kept = (one for one in process.guard.grants if not one.id.startswith(_planned(process)))
    process.guard.grants = tuple(kept)


def plan_first(m: "Machine", process: "Process", model: Model, names: Sequence[str]) -> bool:
    """Whether these calls of a chat's model wait until it has been asked for a plan.

    This is the last moment at which it can plan: they would read what nobody vouches for. Only so
    does it cost nothing where nothing is read, and only a tool that acts beyond Cabin's own memory
    makes it worth while. Once a turn; not where a person refused a call or wants no plan.
    """
    state, own = process.image_state, process.capabilities
    if process.image != "chat" or not process.guard.label(process.label).trusted:
        return False
    if process.guard.frozen or state.get("plan") is False or state.get("planned"):
        return False
    if state.get("hand_back") or any(own.of_client(name) for name in names):
        return False
    called = [m.tools[name] for name in names if name in m.tools and own.allows_tool(name)]
    if all(tool.label == "trusted" for tool in called) or not getattr(model, "plans", False):
        return False
    return any(_acts(m, process, tool) for tool in m.offered(process))


def _acts(m: "Machine", process: "Process", tool: Tool) -> bool:
    """Whether calls of the tool may need a person's leave after something untrusted was read."""
    if m.tools.get(tool.name) is not tool or tool.effect == "pure":
        return False  # it reads, or is a syscall, or the client's
    writes = any(grant.writable for grant in process.capabilities.files)
    own_files = tool.needs == "files" and writes and m.rules.local == "grant"
    return tool.egress or tool.effect != "local" or own_files


def grant_typed(m: "Machine", process: "Process", typed: str) -> None:
    """Whoever types an address wants it to be read: the grants for that."""
    if "http" not in typed:
        return
    found = [link for link in links([typed]) if link.startswith("http") and occurs(link, typed)]
    reading = [t for t in m.tools.values() if t.effect == "pure" and t.egress and len(t.roles) == 1]
    minted = tuple(
        Grant(
            f"{process.pid}.typed {link}",
            tool.name,
            {tool.roles[0]: link},
            frozenset(tool.parameters.get("properties", ())) - {tool.roles[0]},
            uses=AGAIN,
        )
        for link in dict.fromkeys(found)
        for tool in reading
        if process.capabilities.allows_tool(tool.name)
    )
    if minted:
        process.guard.grants += minted
        m.journal.append(process.pid, "grant", grants=[one.to_json() for one in minted])
        m.store.save(process)


def decide(
    m: "Machine", process: "Process", call: str, record: "Record", tool: Tool
) -> tuple[Verdict, Request]:
    """The verdict on a call, and what was asked of the policy; journalled. Raises Denied."""
    guard = process.guard
    subject = Subject(
        guard.label(process.label),
        process.capabilities.tools,
        guard.grants,
        bool(guard.program),
        guard.frozen,
    )
    request = Request(
        tool.name,
        _values(m, process, record, subject.label),
        tool.effect,
        tool.egress,
        tool.roles,
        tool.ask,
        tool.reversible,
    )
    verdict = check(subject, request, m.rules)
    acts = tool.egress or tool.effect != "pure"
    if (acts or verdict.action != "allow") and record.get("checked") != verdict.to_json():
        facts = [subject.to_json(), request.to_json()]
        told = verdict.to_json()
        m.journal.append(process.pid, "check", call=call, facts=facts, verdict=told,
                         policy=m.rules.hash)  # fmt: skip
        record["checked"] = told
    if verdict.action == "deny":
        raise Denied(f"denied: {verdict.reason}.")
    return verdict, request


def _values(m: "Machine", process: "Process", record: "Record", label: Label) -> dict[str, Value]:
    """The arguments with their labels: those of the plan, or of all that the process has read."""
    planned: Mapping[str, Any] = record.get("v") or {}
    typed = typed_words(m, process) if process.guard.program or m.rules.strict else ""
    values = {}
    for name, value in record["a"].items():
        if name in planned:
            own, origin = planned[name]
            values[name] = Value(value, Label.from_json(own), origin)
        else:
            literal: Origin = "typed" if typed and occurs(value, typed) else "model"
            values[name] = Value(value, label, literal)
    return values


def spent(m: "Machine", process: "Process", verdict: Verdict) -> None:
    """The call is made: its grant is used up. Staged."""
    if verdict.grant:
        process.guard.grants = spend(process.guard.grants, verdict.grant)
        m.store.save(process)


def origins(m: "Machine", process: "Process", request: Request) -> dict[str, str]:
    """Where each argument that says who or what is acted on comes from, in words for a person."""
    told = {}
    for name, value in request.given():
        if request.decides(name) or not value.label.trusted:
            found = [_origin(m, process, text) for text in _leaves(value.value)]
            told[name] = "; ".join(dict.fromkeys(found)) or "the model"
    return told


def _leaves(value: Any) -> Iterator[str]:
    yield from texts(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


def _origin(m: "Machine", process: "Process", text: str) -> str:
    """The page that holds the words, quoted: what was typed before what was read."""
    if occurs(text, typed_words(m, process)):
        return "you typed it"
    for page_id, *_ in list(process.pages)[: -LOOKED_AT - 1 : -1]:
        page = m.pages.get(page_id)
        at = page.text.find(text)
        if at >= 0 and page.role in ("tool", "user") and text.strip():
            name = json.loads(page.meta).get("name", "") if page.meta else ""
            quote = page.text[max(0, at - QUOTE) : at + len(text[:QUOTE]) + QUOTE]
            return f"{name or 'what came with the request'}: “…{' '.join(quote.split())}…”"
    return "the model wrote it"
