"""The reference monitor: one pure function that says whether a call may be made.

All that it looks at is in its arguments: what the process is (`Subject`), what it wants to do
(`Request`) and the policy, which is data. The same three give the same verdict, on any machine and
in any year, so every decision in the journal can be made again. It fetches nothing, knows no clock,
and takes microseconds.

    1  what only reads is allowed; its result is labelled
    2  while only trusted words were read, what the person asked for is allowed
    3  after that, a call must match an unused grant, every literal equal
    4  who or what is acted on was typed, is trusted, or was picked by the kernel
    5  content that leaves comes from where the grant says, to whom may read it, with no new link
    6  under a strict policy, what cannot be undone asks unless it was typed literally
"""

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cabinos.kernel.errors import InvalidArguments
from cabinos.kernel.grants import Grant, links, same, texts
from cabinos.kernel.labels import TRUSTED, Label

__all__ = ["Origin", "Policy", "Request", "Subject", "Value", "Verdict", "check"]

Origin = Literal["model", "typed", "picked"]
EMPTY: tuple[Any, ...] = (None, "", [], {}, ())  # what an argument that was not given may be


@dataclass(frozen=True, slots=True)
class Policy:
    """What policy.toml says, and the SHA-256 of its text."""

    strict: bool = False
    local: Literal["grant", "allow"] = "grant"
    links: Literal["ask", "deny"] = "ask"
    freeze: bool = True
    hash: str = ""
    text: str = field(default="", repr=False, compare=False)

    @classmethod
    def parse(cls, text: str, name: str = "policy.toml") -> "Policy":
        """The policy that a TOML text says. Raises InvalidArguments, saying what is wrong."""
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InvalidArguments(f"{name}: {error}.") from None
        allowed = {
            "version": (1,),
            "strict": (True, False),
            "local": ("grant", "allow"),
            "links": ("ask", "deny"),
            "freeze": (True, False),
        }
        if strange := table.keys() - allowed.keys():
            raise InvalidArguments(f"{name}: there is no {min(strange)!r} in a policy.")
        for key, values in allowed.items():
            if not any(same(table.get(key), value) for value in values):
                names = " or ".join(str(value).lower() for value in values)
                raise InvalidArguments(f"{name}: {key} must be {names}.")
        digest = hashlib.sha256(text.encode()).hexdigest()
        return cls(table["strict"], table["local"], table["links"], table["freeze"], digest, text)

    @classmethod
    def load(cls, own: Path | None = None) -> "Policy":
        """The policy in the file `own` if there is one, and otherwise the shipped one.

        Raises InvalidArguments if it cannot be read.
        """
        shipped = Path(__file__).with_suffix(".toml")
        path = own if own is not None and own.exists() else shipped
        try:
            return cls.parse(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidArguments(f"{path}: the policy cannot be read ({error}).") from None


@dataclass(frozen=True, slots=True)
class Value:
    """An argument: the value, whose words it is made of, and how it came to be."""

    value: Any
    label: Label = TRUSTED
    origin: Origin = "model"  # "typed": a literal of the person's; "picked": by the kernel

    def to_json(self) -> list[Any]:
        """As JSON for the journal; `from_json` reads it."""
        return [self.value, self.label.to_json(), self.origin]

    @classmethod
    def from_json(cls, data: Any) -> "Value":
        """The inverse of `to_json`."""
        return cls(data[0], Label.from_json(data[1]), data[2])


@dataclass(frozen=True, slots=True)
class Subject:
    """What the monitor knows of a process."""

    label: Label = TRUSTED
    tools: frozenset[str] | None = None  # it was given; None: all
    grants: tuple[Grant, ...] = ()
    program: bool = False  # its calls are a person's program, not a model's choice
    frozen: bool = False  # a person has refused one of its calls

    def to_json(self) -> list[Any]:
        """As JSON for the journal; `from_json` reads it."""
        tools = None if self.tools is None else sorted(self.tools)
        grants = [grant.to_json() for grant in self.grants]
        return [self.label.to_json(), tools, grants, self.program, self.frozen]

    @classmethod
    def from_json(cls, data: Any) -> "Subject":
        """The inverse of `to_json`."""
        label, tools, grants, program, frozen = data
        return cls(
            Label.from_json(label),
            None if tools is None else frozenset(tools),
            tuple(map(Grant.from_json, grants)),
            program,
            frozen,
        )


@dataclass(frozen=True, slots=True)
class Request:
    """One call: what the tool declared, and the arguments."""

    tool: str
    values: Mapping[str, Value] = field(default_factory=dict)
    effect: Literal["pure", "local", "keyed", "raw"] = "raw"
    egress: bool = True
    authority: tuple[str, ...] = ("*",)  # "*": every argument
    ask: bool = False
    reversible: bool = False

    @property
    def outside(self) -> bool:
        """Whether it acts beyond Cabin's own memory and files."""
        return self.egress or self.effect in ("keyed", "raw")

    def decides(self, name: str) -> bool:
        """Whether the argument says who or what is acted on."""
        return name in self.authority or "*" in self.authority

    def given(self) -> Iterable[tuple[str, Value]]:
        """The arguments that are not empty."""
        return ((n, v) for n, v in self.values.items() if v.value not in EMPTY)

    def to_json(self) -> list[Any]:
        """As JSON for the journal; `from_json` reads it."""
        values = {name: value.to_json() for name, value in self.values.items()}
        declared = [self.effect, self.egress, list(self.authority), self.ask, self.reversible]
        return [self.tool, values, *declared]

    @classmethod
    def from_json(cls, data: Any) -> "Request":
        """The inverse of `to_json`."""
        tool, values, effect, egress, authority, ask, reversible = data
        given = {name: Value.from_json(value) for name, value in values.items()}
        return cls(tool, given, effect, egress, tuple(authority), ask, reversible)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Allow, ask a person, or deny; by which rule, why, and what it rests on."""

    action: Literal["allow", "ask", "deny"]
    rule: int = 0  # 0: capabilities, a refusal, or what the tool itself declared
    reason: str = ""  # in words for a person
    grant: str = ""  # that is spent when the call is made
    about: tuple[str, ...] = ()  # the arguments that are the reason

    def to_json(self) -> list[Any]:
        """As JSON for the journal; `from_json` reads it."""
        return [self.action, self.rule, self.reason, self.grant, list(self.about)]

    @classmethod
    def from_json(cls, data: Any) -> "Verdict":
        """The inverse of `to_json`."""
        action, rule, reason, grant, about = data
        return cls(action, rule, reason, grant, tuple(about))


READS, CLEAN, MEMORY = Verdict("allow", 1), Verdict("allow", 2), Verdict("allow", 3)


def check(subject: Subject, request: Request, policy: Policy) -> Verdict:
    """The verdict on one call."""
    tool = request.tool
    acts = request.egress or request.effect != "pure"
    if subject.tools is not None and tool not in subject.tools:
        return Verdict("deny", 0, f"this process was not given the tool {tool!r}")
    if subject.frozen and (acts or request.ask):
        return Verdict("deny", 0, "a person refused a call of this process: it may only read now")
    if request.ask:
        return Verdict("ask", 0, f"{tool} asks before each use")
    if not acts:
        return READS
    if policy.strict and not request.reversible:
        loose = tuple(name for name, value in request.given() if value.origin != "typed")
        if loose:
            return Verdict("ask", 6, f"{tool} cannot be undone", "", loose)
    if subject.label.trusted and all(value.label.trusted for value in request.values.values()):
        return CLEAN
    return _tainted(subject, request, policy)


def _tainted(subject: Subject, request: Request, policy: Policy) -> Verdict:
    """The verdict on a call that acts, and in which untrusted text may have a say."""
    if not request.outside and (
        request.reversible
        or policy.local == "allow"
        or not any(request.decides(name) for name, _ in request.given())
    ):
        return MEMORY  # what is kept there keeps its label
    if subject.program:
        return _misfit(None, request, policy) or Verdict("allow", 4)
    worst: Verdict | None = None
    for grant in subject.grants:
        if grant.tool == request.tool:
            misfit = _misfit(grant, request, policy)
            if misfit is None:
                return Verdict("allow", 5 if request.egress else 4, "", grant.id)
            near = misfit.rule > 3  # every literal is equal: who approves the call has used it
            id_ = grant.id if near else ""
            worst = Verdict(misfit.action, misfit.rule, misfit.reason, id_, misfit.about)
    doing = "sends data out" if request.egress else "changes something"
    reason = f"untrusted text was read; nobody asked that {request.tool} {doing}"
    return worst or Verdict("ask", 3, reason)


def _misfit(grant: Grant | None, request: Request, policy: Policy) -> Verdict | None:
    """Why a grant does not cover the call; None if it does. Without one: a program's own call."""
    fixed = grant.fixed if grant is not None else {}
    for name, literal in fixed.items():
        if name not in request.values or not same(request.values[name].value, literal):
            return Verdict("ask", 3, f"the request says {name}={str(literal)[:60]!r}", "", (name,))
    for name, value in request.given():
        if name in fixed:
            continue
        if request.decides(name):
            if not _authorised(grant, name, value):
                return Verdict("ask", 4, f"{name} comes from untrusted text", "", (name,))
        elif grant is not None and name not in grant.open and name not in grant.picked:
            return Verdict("ask", 3, f"nobody asked for a {name}", "", (name,))
        elif request.egress and (reason := _leak(grant, request, name, value)):
            return Verdict("ask", 5, reason, "", (name,))
        elif request.egress and (link := _new_link(grant, value)):
            reason = f"{name} has a link that nobody typed: {link[:80]}"
            return Verdict(policy.links, 5, reason, "", (name,))
    return None


def _authorised(grant: Grant | None, name: str, value: Value) -> bool:
    """Whether an argument that says who or what is acted on has it from no stranger."""
    if grant is None:
        return value.label.trusted or value.origin != "model"
    if value.label.trusted:
        return name in grant.open or name in grant.picked
    return value.origin == "picked" and name in grant.picked


def _leak(grant: Grant | None, request: Request, name: str, value: Value) -> str:
    """Why content may not go where the call sends it; "" if it may."""
    if grant is not None and not value.label.trusted and not value.label.within(grant.sources):
        return f"{name} may hold more than what was asked for"
    if value.label.readers is not None:
        to = {text for n, v in request.given() if request.decides(n) for text in texts(v.value)}
        if strangers := to - value.label.readers:
            return f"{min(strangers)[:60]} may not read what {name} is made of"
    return ""


def _new_link(grant: Grant | None, value: Value) -> str:
    """The first link in content that untrusted text had a say in and that was not typed, or ""."""
    if value.label.trusted:
        return ""
    known = grant.links if grant is not None else ()
    return next((link for link in links(texts(value.value)) if link not in known), "")
