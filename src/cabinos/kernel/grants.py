"""Grants: what a person's request allows, written down before anything untrusted is read.

A grant is a linear capability for one call of one tool. Its `fixed` arguments must be equal, its
`open` ones carry content, its `picked` ones are chosen by an expression that the kernel evaluates.
It is minted only while the process is clean, and each fixed argument that says who or what is acted
on must occur in the words that the person typed. A grant is spent by the call it allows; a child
gets some of its parent's, and the parent then has them no more.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cabinos.kernel.errors import Denied, InvalidArguments
from cabinos.kernel.labels import Label

__all__ = ["Grant", "attenuate", "links", "mint", "occurs", "same", "spend", "split", "texts"]

# What a reader could follow or a program would fetch: an address with a scheme, a bare host name
# (but no file name, no mail address), Markdown links and images, HTML that runs or has attributes.
LINK = re.compile(
    r"[a-z][a-z0-9+.-]{0,20}://[^\s<>\"')\]]+"
    r"|\b(?:javascript|data|mailto|tel|file):[^\s<>\"')\]]+"
    r"|(?<![\w@.-])(?:[\w-]+\.)+(?!(?:docx?|xlsx?|pptx?|pdf|txt|csv|json|png|jpe?g|html?)\b)"
    r"[^\W\d_]{2,}(?![\w.@-]*[\w@])(?:[/?#:][^\s<>\"')\]]*)?"
    r"|\d{1,3}(?:\.\d{1,3}){3}(?:[:/][^\s<>\"')\]]*)?"
    r"|!?\[[^\]\n]{0,400}\]\s*[(\[:][^)\]\n]*"
    r"|<\s*(?:script|style|iframe|object|embed|form|svg|math)\b|<\s*[a-z][^<>]{0,1000}=",
    re.IGNORECASE,
)
# What no eye sees, and would hide a link from the pattern above.
HIDDEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]")
NUMBER = re.compile(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?(?![\w])")
NAMES = frozenset(("tool", "fixed", "open", "picked", "sources", "uses"))


@dataclass(frozen=True, slots=True)
class Grant:
    """One call that the request allows."""

    id: str
    tool: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    open: frozenset[str] = frozenset()
    picked: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()  # from which open arguments may be made, beside the typed
    links: frozenset[str] = frozenset()  # that were typed: content may hold these and no others
    uses: int = 1

    def to_json(self) -> list[Any]:
        """As JSON for the store and the journal; `from_json` reads it."""
        sets = [sorted(s) for s in (self.open, self.picked, self.sources, self.links)]
        return [self.id, self.tool, dict(self.fixed), *sets, self.uses]

    @classmethod
    def from_json(cls, data: Any) -> "Grant":
        """The inverse of `to_json`."""
        id_, tool, fixed, open_, picked, sources, known, uses = data
        o, p, s, k = map(frozenset, (open_, picked, sources, known))
        return cls(id_, tool, fixed, o, p, s, k, uses)


def mint(
    label: Label,
    typed: str,
    proposals: Sequence[Mapping[str, Any]],
    authority: Mapping[str, Sequence[str]],
    prefix: str = "g",
) -> tuple[Grant, ...]:
    """The grants that a planner proposes on a request of which `typed` are the person's words.

    A proposal is {"tool", "fixed", "open", "picked", "sources", "uses"}, all but the first
    optional. `authority` names, for each tool there is, the arguments that say who or what is acted
    on ("*": all of them). Raises Denied if the process has read untrusted text, or if such a
    literal was not typed; InvalidArguments for a proposal that is none.
    """
    if not label.trusted:
        raise Denied("untrusted text was read: nothing can be granted from here on.")
    known = frozenset(link for link in links([typed]) if link[0] not in "<[!")
    minted = []
    for number, proposal in enumerate(proposals):
        tool, fixed = proposal.get("tool"), proposal.get("fixed") or {}
        if not isinstance(tool, str) or tool not in authority or not isinstance(fixed, Mapping):
            raise InvalidArguments(f"a grant names a tool that there is, not {str(tool)[:80]!r}.")
        if strange := proposal.keys() - NAMES:
            raise InvalidArguments(f"a grant has no {min(strange)!r}.")
        roles = authority[tool]
        for name, value in fixed.items():
            if (name in roles or "*" in roles) and not occurs(value, typed):
                raise Denied(f"{tool}: nobody typed {name}={str(value)[:80]!r}.")
        open_, picked, sources = (_names(proposal, key) for key in ("open", "picked", "sources"))
        uses = proposal.get("uses", 1)
        if not isinstance(uses, int) or isinstance(uses, bool) or uses < 1:
            raise InvalidArguments(f"{tool}: a grant is used once or more, not {uses!r} times.")
        minted.append(
            Grant(f"{prefix}{number}", tool, dict(fixed), open_, picked, sources, known, uses)
        )
    return tuple(minted)


def _names(proposal: Mapping[str, Any], key: str) -> frozenset[str]:
    names = proposal.get(key, ())
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise InvalidArguments(f"a grant's {key} is a list of names.")
    return frozenset(names)


def spend(grants: Iterable[Grant], id_: str) -> tuple[Grant, ...]:
    """The grants that are left after one use of `id_`. Raises Denied if there is none to use."""
    left, found = [], False
    for grant in grants:
        if grant.id != id_ or found:
            left.append(grant)
            continue
        found = True
        if grant.uses > 1:
            left.append(replace(grant, uses=grant.uses - 1))
    if not found:
        raise Denied(f"the grant {id_!r} is spent.")
    return tuple(left)


def split(
    grants: Iterable[Grant], ids: Iterable[str]
) -> tuple[tuple[Grant, ...], tuple[Grant, ...]]:
    """(what the parent keeps, what the child gets). Raises Denied for one that is not there."""
    grants, wanted = tuple(grants), frozenset(ids)
    if missing := wanted - {grant.id for grant in grants}:
        raise Denied(f"there is no grant {min(missing)!r} to give.")
    kept = tuple(grant for grant in grants if grant.id not in wanted)
    return kept, tuple(grant for grant in grants if grant.id in wanted)


def attenuate(grant: Grant, fixed: Mapping[str, Any]) -> Grant:
    """The grant with some of its open arguments fixed. Raises Denied if that would widen it."""
    if strange := fixed.keys() - grant.open:
        raise Denied(f"{grant.tool}: {min(strange)!r} is not open in this grant.")
    return replace(grant, fixed={**grant.fixed, **fixed}, open=grant.open - fixed.keys())


# ---- literals ------------------------------------------------------------------------------------


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; True is not 1, and 10 is 10.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def occurs(value: Any, typed: str) -> bool:
    """Whether every literal in `value` stands in the typed words as a whole, never in a longer one.

    "x.org" does not occur in "mail.x.org", nor 10 in 100; in "x.org.They say" it does: a sentence
    begins there. What is empty, true or false is no literal.
    """
    if isinstance(value, Mapping):
        return all(occurs(item, typed) for item in value.values())
    if isinstance(value, list | tuple):
        return all(occurs(item, typed) for item in value)
    if value is None or isinstance(value, bool) or value == "":
        return True
    if isinstance(value, int | float):
        found = (float(n.replace(",", "")) for n in NUMBER.findall(typed))
        return any(number == value for number in found)
    if not isinstance(value, str):
        return False
    before = r"(?<![\w@/:.+-])" if value[0].isalnum() else ""
    after = r"(?![\w@/:+-]|\.(?![A-Z][a-z]*\s)\w)" if value[-1].isalnum() else ""
    return re.search(before + re.escape(value) + after, typed) is not None


def texts(value: Any) -> Iterable[str]:
    """All text in a JSON value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts(item)
    elif value is not None and not isinstance(value, bool | int | float):
        yield json.dumps(value, default=str)


def links(parts: Iterable[str]) -> Iterable[str]:
    """Everything in the texts that a reader could follow, or a program would fetch."""
    for part in parts:
        plain = part
        if not part.isascii():
            plain = HIDDEN.sub("", unicodedata.normalize("NFKC", part)).replace("。", ".")
        for found in LINK.findall(plain):
            yield found.rstrip(".,;:!?")
