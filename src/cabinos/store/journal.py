"""The journal: what happened, in order, each row chained to the one before by SHA-256.

Whoever changes, drops or reorders a row breaks the chain from there on, and `verify` says where.
Each commit keeps the chain's head and length beside it, so that a tail that is gone is missed.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cabinos.store.database import Statement, Store
from cabinos.store.encode import to_json
from cabinos.store.errors import StoreCorrupt

__all__ = ["Entry", "Journal"]

GENESIS = bytes(32)
LINK = 8  # bytes of its link that a row keeps: enough to find a break, which the whole head proves
HEAD = "REPLACE INTO meta (key, value) VALUES ('journal', ?)"
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
        count, self._chain = self._head()
        last = store.rows("SELECT coalesce(max(seq), 0) FROM journal")[0][0]
        self._seq = max(count, int(last))

    def append(self, pid: int, kind: str, **body: Any) -> int:
        """Stages a row and returns its number."""
        now, text = time.time(), to_json(body)  # what cannot be JSON must leave no gap
        self._seq += 1
        self._chain = _link(self._chain, self._seq, now, pid, kind, text)
        self._store.add(INSERT, (self._seq, now, pid, kind, text, self._chain[:LINK]))
        self._store.save(self)
        return self._seq

    def row(self) -> Statement:
        """The statement that keeps the chain's head; see `Store.save`."""
        return HEAD, (to_json([self._seq, self._chain.hex()]),)

    def _head(self) -> tuple[int, bytes]:
        """How many rows were committed, and the whole link of the last."""
        found = self._store.rows("SELECT value FROM meta WHERE key = 'journal'")
        if not found:
            return 0, GENESIS
        try:
            count, chain = json.loads(found[0][0])
            return int(count), bytes.fromhex(chain)
        except (ValueError, TypeError) as error:
            raise StoreCorrupt(
                f"{self._store.path}: the journal's head is damaged: {error}."
            ) from error

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

        Raises StoreCorrupt with the first row that was changed, or follows one that is missing, or
        is missing at the end.
        """
        count, head = self._head()  # a kernel that runs may add rows meanwhile
        chain, seq, after = GENESIS, 0, 0
        while rows := self._store.rows(
            "SELECT seq, time, pid, kind, body, chain FROM journal WHERE seq > ? ORDER BY seq "
            "LIMIT ?",
            (after, BATCH),
        ):
            for number, moment, pid, kind, body, link in rows:
                seq += 1
                chain = _link(chain, number, moment, pid, kind, body)
                whole = seq != count or chain == head
                if number != seq or link != chain[:LINK] or not whole:
                    raise StoreCorrupt(
                        f"{self._store.path}: the journal's chain breaks at row {seq}: it or a row "
                        f"before it was changed or removed."
                    )
            after = rows[-1][0]
        if seq < count:
            raise StoreCorrupt(
                f"{self._store.path}: the journal had {count} rows, and those after row {seq} are "
                f"missing."
            )
        return seq


def _link(chain: bytes, seq: int, moment: float, pid: int, kind: str, body: str) -> bytes:
    fields = f"{seq} {moment!r} {pid} {kind} {body}"
    return hashlib.sha256(chain + fields.encode("utf-8", "replace")).digest()
