"""The policies that are compared: each says if a call is made, asked about or refused."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol

from cabinos.kernel.grants import Grant, mint, spend
from cabinos.kernel.labels import TRUSTED, Label
from cabinos.kernel.policy import Origin, Policy, Request, Subject, Value, check
from cabinos.lab.redteam.declared import TOOLS, consequential, leaves

__all__ = ["AllowAll", "Cabin", "Gate", "Taint", "ToolFilter"]

POLICY = Policy.load()
ROLES = {name: declared.authority for name, declared in TOOLS.items()}


class Gate(Protocol):
    """One policy in one episode."""

    def decide(self, tool: str, values: Mapping[str, Value]) -> str:
        """allow, ask or deny."""

    def made(self, tool: str, approved: bool) -> None:
        """The call that was decided last is made."""

    def read(self, tool: str) -> None:
        """The result of a call reaches the planner."""

    def refused(self) -> None:
        """The person said no."""


class AllowAll:
    """No policy."""

    def decide(self, tool: str, values: Mapping[str, Value]) -> str:
        """See `Gate`."""
        return "allow"

    def made(self, tool: str, approved: bool) -> None:
        """See `Gate`."""

    def read(self, tool: str) -> None:
        """See `Gate`."""

    def refused(self) -> None:
        """See `Gate`."""


class ToolFilter(AllowAll):
    """Only the tools that the user's task needs: the best that a tool filter can be."""

    def __init__(self, tools: Sequence[str]) -> None:
        self._tools = frozenset(tools)

    def decide(self, tool: str, values: Mapping[str, Value]) -> str:
        """See `Gate`."""
        return "allow" if tool in self._tools else "deny"


class Taint(AllowAll):
    """Whatever acts asks, once anything was read."""

    def __init__(self) -> None:
        self._tainted = False

    def decide(self, tool: str, values: Mapping[str, Value]) -> str:
        """See `Gate`."""
        return "ask" if self._tainted and consequential(tool) else "allow"

    def read(self, tool: str) -> None:
        """See `Gate`."""
        self._tainted = True


class Cabin:
    """Cabin's monitor, as the kernel calls it, with the grants of one request."""

    def __init__(self, typed: str, proposals: Sequence[Mapping[str, Any]]) -> None:
        self._subject = Subject(grants=mint(TRUSTED, typed, proposals, ROLES))
        self._grant = ""

    @property
    def label(self) -> Label:
        """Of what was read so far: of every word that the planner writes from now on."""
        return self._subject.label

    @property
    def grants(self) -> tuple[Grant, ...]:
        """What is not spent."""
        return self._subject.grants

    def decide(self, tool: str, values: Mapping[str, Value]) -> str:
        """See `Gate`."""
        declared = TOOLS.get(tool)
        if declared is None:
            request = Request(tool, values, "pure", False, ())
        else:
            out = leaves(tool, {name: value.value for name, value in values.items()})
            effect: Literal["pure", "raw"] = "pure" if declared.reads else "raw"
            request = Request(tool, values, effect, out, declared.authority)
        verdict = check(self._subject, request, POLICY)
        self._grant = verdict.grant
        return verdict.action

    def made(self, tool: str, approved: bool) -> None:
        """See `Gate`."""
        if self._grant:
            self._set(grants=spend(self._subject.grants, self._grant))
            self._grant = ""

    def read(self, tool: str) -> None:
        """See `Gate`."""
        label = Label("untrusted", None, frozenset((tool,)))
        self._set(label=self._subject.label.join(label))

    def refused(self) -> None:
        """See `Gate`."""
        self._set(frozen=POLICY.freeze)

    def words(self, arguments: Mapping[str, Any], origin: Origin = "model") -> dict[str, Value]:
        """Arguments that the planner writes."""
        return {name: Value(value, self.label, origin) for name, value in arguments.items()}

    def _set(self, **changed: Any) -> None:
        self._subject = replace(self._subject, **changed)
