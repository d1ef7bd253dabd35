"""Every decision of the monitor, made again from the journal: the same, or something is wrong.

A row `check` holds all that the policy looked at, and a row `policy` the text of each policy there
was. The policy is a pure function, so the verdicts must come out the same to the last bit; if they
do not, the journal, the policy's code or its text has changed.
"""

from dataclasses import dataclass, field

from cabinos.kernel.policy import Policy, Request, Subject, check
from cabinos.store.database import Store
from cabinos.store.journal import Journal

__all__ = ["Decisions", "decide_again"]


@dataclass(slots=True)
class Decisions:
    """How many there were, and which come out differently: rows of the journal."""

    made: int = 0
    differ: list[int] = field(default_factory=list)


def decide_again(store: Store, pid: int | None = None) -> Decisions:
    """Makes the decisions about process `pid` (None: about all) again. Nothing is written."""
    journal, found = Journal(store), Decisions()
    policies: dict[str, Policy] = {}
    for entry in journal.entries():
        if entry.kind == "policy":
            policy = Policy.parse(entry.body["text"])
            policies[policy.hash] = policy
        if entry.kind != "check" or pid not in (None, entry.pid):
            continue
        found.made += 1
        subject, request = entry.body["facts"]
        known = policies.get(entry.body["policy"])
        if known is None or entry.body["verdict"] != (
            check(Subject.from_json(subject), Request.from_json(request), known).to_json()
        ):
            found.differ.append(entry.seq)
    return found
