"""After a kill, and at the end: what the world, the journal and the files say to each other.

Read from the files themselves, without the kernel's help.
"""

import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cabinos.store.database import Store
from cabinos.store.journal import Journal
from errands import KINDS, OUTSIDE, WORKERS, everything
from tests.fixtures.world import Effect


def journal(store: Path) -> list[tuple[str, dict[str, Any]]]:
    """(kind, body) of every row, read without the kernel's help."""
    if not store.exists():
        return []
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        try:
            rows = connection.execute("SELECT kind, body, pid FROM journal ORDER BY seq").fetchall()
        except sqlite3.OperationalError:  # killed before there were tables
            return []
    return [(kind, {**json.loads(body), "pid": pid}) for kind, body, pid in rows]


def interrupted(store: Path) -> set[str]:
    """Arguments of raw calls without a check whose last intent has no result."""
    waiting: dict[tuple[int, str], str] = {}
    for kind, body in journal(store):
        place = (body["pid"], body.get("call", "0"))  # "0": the only call of a step
        if kind == "intent" and body["tool"] == "post":
            waiting[place] = body["arguments"]["what"]
        elif kind in KINDS:
            waiting.pop(place, None)
    return set(waiting.values())


def without_intent(store: Path, effects: list[Effect]) -> list[str]:
    """Effects that happened though no intent of theirs is on disk."""
    intended = {b["arguments"]["what"] for kind, b in journal(store) if kind == "intent"}
    return [
        f"{e.argument} happened without an intent" for e in effects if e.argument not in intended
    ]


@dataclass(frozen=True)
class Reckoning:
    """What one world's work came to."""

    doubts: int  # questions to a person, each about one raw call
    happened: int  # of them: the effect had happened
    wrong: list[str]


def compare(store: Path, notes: Path, effects: list[Effect], under_way: set[str]) -> Reckoning:
    """Everything that is wrong at the end; `under_way`: raw calls that a death interrupted."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        asked = connection.execute(
            "SELECT json_extract(detail, '$.arguments.what'), answer FROM ask WHERE kind = 'doubt'"
        ).fetchall()
    wrong = astray(notes, effects) + unfinished(store) + unapproved(store, effects)
    if hidden := under_way - {what for what, _ in asked}:
        wrong.append(f"in doubt, but never shown: {hidden}")
    happened = sum(answer == "happened" for _, answer in asked)
    return Reckoning(len(asked), happened, wrong + damaged(store))


def astray(notes: Path, effects: list[Effect]) -> list[str]:
    """Effects outside that did not happen just once, and files that are not as they should be."""
    wrong = []
    happened = Counter(effect.argument for effect in effects)
    for name, what in everything():
        if name in OUTSIDE and happened.pop(what, 0) != 1:
            wrong.append(f"{name} {what} did not happen just once")
        if name == "note" and (notes / what).read_text() != f"noted {what}":
            wrong.append(f"note {what} is damaged")
    return wrong + [f"nobody asked for {what}" for what in happened]


def unfinished(store: Path) -> list[str]:
    """Workers that did not end as they should, and children too many."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        ended = connection.execute(
            "SELECT title, state, text FROM process LEFT JOIN page ON page.id = result "
            "WHERE parent IS NULL ORDER BY pid"
        ).fetchall()
        children = connection.execute("SELECT count(*) FROM process WHERE parent = 1").fetchone()[0]
    wrong = [
        f"{title}: {state}, {text!r}"
        for worker, (title, state, text) in enumerate(ended)
        if state != "exited" or text != f"done {worker}"
    ]
    if len(ended) != WORKERS or children > 1:
        wrong.append(f"{len(ended)} processes with {children} children")
    return wrong


def unapproved(store: Path, effects: list[Effect]) -> list[str]:
    """Effects that a person should have approved: asked about not once, or done before."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT json_extract(detail, '$.arguments.what'), answered FROM ask "
            "WHERE kind = 'approval' AND answer = 'approved'"
        ).fetchall()
    done, approved = {e.argument: e.time for e in effects}, dict(rows)
    signed = [what for name, what in everything() if name == "sign"]
    wrong = [
        f"sign {what} was not approved and then done"
        for what in signed
        if done.get(what, 0.0) < approved.get(what, float("inf"))
    ]
    if len(rows) != len(signed):
        wrong.append(f"{len(rows)} approvals of {len(signed)} calls")
    return wrong


def damaged(store: Path) -> list[str]:
    """Whether the journal's chain is broken."""
    opened = Store.open(store, read_only=True)
    try:
        Journal(opened).verify()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return [str(error)]
    finally:
        opened.abandon()
    return []
