"""The journal: what happened, in order, each row chained to the one before by SHA-256.

Whoever changes, drops or reorders a row breaks the chain from there on, and `verify` says where.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cabinos.store.database import Store
from cabinos.store.encode import to_json
from cabinos.store.errors import StoreCorrupt

__all__ = ["Entry", "Journal"]

GENESIS = bytes(32)
INSERT = "INSERT INTO journal (seq, time, pid, kind, body, chain) VALUES (?, ?, ?, ?, ?, ?)"
BATCH = 1000  # rows read at once


@dataclass(frozen=True, slots=True)
class Entry:
    """One row: what happened to which process."""

    seq: int
    time: float
    pid: int
    kind: str
    body: dict[str, Any]


class Journal:
    """Appends to the journal of a store, and reads it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        last = store.rows("SELECT seq, chain FROM journal ORDER BY seq DESC LIMIT 1")
        self._seq: int
        self._chain: bytes
        self._seq, self._chain = last[0] if last else (0, GENESIS)

    def append(self, pid: int, kind: str, **body: Any) -> int:
        """Stages a row and returns its number."""
        now, text = time.time(), to_json(body)  # what cannot be JSON must leave no gap
        self._seq += 1
        self._chain = _link(self._chain, self._seq, now, pid, kind, text)
        self._store.write(INSERT, (self._seq, now, pid, kind, text, self._chain))
        return self._seq

    def entries(self, pid: int | None = None, *, after: int = 0) -> Iterator[Entry]:
        """The committed rows of a process (None: of all) after row number `after`."""
        where = "" if pid is None else "AND pid = :pid"
        query = f"SELECT seq, time, pid, kind, body FROM journal WHERE seq > :after {where} "
        while True:
            rows = self._store.rows(
                query + "ORDER BY seq LIMIT :limit", {"after": after, "pid": pid, "limit": BATCH}
            )
            for seq, moment, owner, kind, body in rows:
                try:
                    yield Entry(seq, moment, owner, kind, json.loads(body))
                except ValueError as error:
                    raise StoreCorrupt(
                        f"{self._store.path}: row {seq} of the journal is damaged: {error}."
                    ) from error
            if len(rows) < BATCH:
                return
            after = rows[-1][0]

    def verify(self) -> int:
        """Checks every link and returns how many rows there are.

        Raises StoreCorrupt with the first row that was changed, or follows one that is missing.
        """
        chain, seq, after = GENESIS, 0, 0
        while rows := self._store.rows(
            "SELECT seq, time, pid, kind, body, chain FROM journal WHERE seq > ? ORDER BY seq "
            "LIMIT ?",
            (after, BATCH),
        ):
            for number, moment, pid, kind, body, link in rows:
                seq += 1
                chain = _link(chain, number, moment, pid, kind, body)
                if number != seq or link != chain:
                    raise StoreCorrupt(
                        f"{self._store.path}: the journal's chain breaks at row {seq}: it or a row "
                        f"before it was changed or removed."
                    )
            after = rows[-1][0]
        return seq


def _link(chain: bytes, seq: int, moment: float, pid: int, kind: str, body: str) -> bytes:
    fields = f"{seq} {moment!r} {pid} {kind} {body}"
    return hashlib.sha256(chain + fields.encode("utf-8", "replace")).digest()
