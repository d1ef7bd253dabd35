"""Labels: where a value's words came from, and who may read them.

A label travels with every page and every value. What is made of several values has the join of
their labels: trusted only if all were, readable by those who may read all, from the sources of all.
The join is commutative, associative and idempotent (D. Denning, "A Lattice Model of Secure
Information Flow", CACM 19(5), 1976), so it does not matter in which order things were read. Nothing
in the kernel moves a label back, except a person who endorses what they have seen.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["ANYWHERE", "TRUSTED", "UNTRUSTED", "Integrity", "Label", "join"]

Integrity = Literal["trusted", "untrusted"]
ANYWHERE = "*"  # a source that stands for every source
MOST = 64  # sources that are told apart; of more, only ANYWHERE is kept


@dataclass(frozen=True, slots=True)
class Label:
    """Integrity, readers and sources. The default is what a person typed: trusted and free."""

    integrity: Integrity = "trusted"
    readers: frozenset[str] | None = None  # None: whoever the person names
    sources: frozenset[str] = frozenset()  # "files_read:docs/a.txt", "web_fetch:example.org"

    @property
    def trusted(self) -> bool:
        """Whether only a person, the kernel or trusted tools had a say in it."""
        return self.integrity == "trusted"

    def join(self, other: "Label") -> "Label":
        """The label of what is made of both."""
        if self == other:
            return self
        readers = self.readers if other.readers is None else other.readers
        if self.readers is not None and other.readers is not None:
            readers = self.readers & other.readers
        sources = self.sources | other.sources
        if ANYWHERE in sources or len(sources) > MOST:
            sources = frozenset((ANYWHERE,))
        both = self.trusted and other.trusted
        return Label("trusted" if both else "untrusted", readers, sources)

    def flows_to(self, other: "Label") -> bool:
        """Whether something of this label may be part of something of the other."""
        return self.join(other) == other

    def endorsed(self) -> "Label":
        """The same after a person has looked at it and said that it is right."""
        return Label("trusted", self.readers, self.sources)

    def within(self, allowed: Iterable[str]) -> bool:
        """Whether every source is one of `allowed`, or part of one: "web" covers "web:host"."""
        patterns = frozenset(allowed)
        return all(
            source in patterns or any(source.startswith(f"{pattern}:") for pattern in patterns)
            for source in self.sources
        )

    def to_json(self) -> list[Any]:
        """As JSON for the store and the journal; `from_json` reads it."""
        readers = None if self.readers is None else sorted(self.readers)
        return [self.integrity, readers, sorted(self.sources)]

    @classmethod
    def from_json(cls, data: Any) -> "Label":
        """The inverse of `to_json`."""
        integrity, readers, sources = data
        return cls(integrity, None if readers is None else frozenset(readers), frozenset(sources))


TRUSTED = Label()
UNTRUSTED = Label("untrusted", None, frozenset((ANYWHERE,)))  # and nothing else is known of it


def join(labels: Iterable[Label]) -> Label:
    """The join of all; of none, what nobody has touched: TRUSTED."""
    whole = TRUSTED
    for label in labels:
        whole = whole.join(label)
    return whole
