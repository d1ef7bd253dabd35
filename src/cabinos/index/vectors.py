"""The vectors of all passages in memory, and those nearest to a query by a plain scan.

A scan is exact, needs no structure that could be out of date, and 100,000 vectors of 256 signed
bytes are 26 MB.
"""

import sqlite3

import numpy as np
from numpy.typing import NDArray

__all__ = ["Vectors", "packed"]

CHUNK = 512  # vectors that are widened at once: they stay in the cache
GROWTH = 1.25

Floats = NDArray[np.float32]


def packed(vectors: Floats) -> list[bytes]:
    """Each row as signed bytes, its largest component 127: a column's value."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=1e-12)
    return [row.tobytes() for row in np.rint(vectors * (127 / largest)).astype(np.int8)]


class Vectors:
    """What is in the column `vector`, read once and then only what has changed."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.count = 0
        self._ids: NDArray[np.int64] = np.empty(0, np.int64)
        self._sources: NDArray[np.int64] = np.empty(0, np.int64)
        self._rows: NDArray[np.int8] = np.empty((0, width), np.int8)
        self._norms: Floats = np.empty(0, np.float32)
        self._seen: tuple[int, int] | None = None  # of the file: others' commits, our changes

    @property
    def ids(self) -> NDArray[np.int64]:
        """The passages, ascending, in the order of `similarities`."""
        return self._ids[: self.count]

    @property
    def sources(self) -> NDArray[np.int64]:
        """The source of each."""
        return self._sources[: self.count]

    def refresh(self, db: sqlite3.Connection) -> None:
        """Takes in what was committed since the last time."""
        seen = (int(db.execute("PRAGMA data_version").fetchone()[0]), db.total_changes)
        if seen == self._seen:
            return
        query = "SELECT id FROM passage WHERE length(vector) = ? ORDER BY id"
        there = np.fromiter((row[0] for row in db.execute(query, (self.width,))), np.int64)
        self._keep(np.isin(self.ids, there, assume_unique=True))
        newest = int(self.ids[-1]) if self.count else 0
        if self.count < np.searchsorted(there, newest, side="right"):  # older ones were filled in
            self.count = newest = 0
        rows = db.execute(
            "SELECT id, source, vector FROM passage WHERE id > ? AND length(vector) = ? "
            "ORDER BY id",
            (newest, self.width),
        ).fetchall()
        self._append(rows)
        self._seen = seen

    def forget(self) -> None:
        """Lets go of everything: the vectors in the file are others now."""
        self.count, self._seen = 0, None

    def similarities(self, query: Floats) -> Floats:
        """The cosine of each vector with `query`, which has length 1."""
        result = np.empty(self.count, np.float32)
        wide = np.empty((min(CHUNK, self.count), self.width), np.float32)  # once: it is the cost
        for start in range(0, self.count, CHUNK):
            end = min(start + CHUNK, self.count)
            part = wide[: end - start]
            part[...] = self._rows[start:end]
            np.dot(part, query, out=result[start:end])
        result /= self._norms[: self.count]
        return result

    def _keep(self, mask: NDArray[np.bool_]) -> None:
        if mask.all():
            return
        count = int(mask.sum())
        for array in (self._ids, self._sources, self._rows, self._norms):
            array[:count] = array[: self.count][mask]
        self.count = count

    def _append(self, rows: list[tuple[int, int, bytes]]) -> None:
        start, end = self.count, self.count + len(rows)
        if end > len(self._ids):
            self._reserve(max(end, int(start * GROWTH)))
        self._ids[start:end] = [row[0] for row in rows]
        self._sources[start:end] = [row[1] for row in rows]
        packed_rows = np.frombuffer(b"".join([row[2] for row in rows]), np.int8)
        self._rows[start:end] = packed_rows.reshape(len(rows), self.width)
        for at in range(start, end, CHUNK):
            wide = self._rows[at : min(at + CHUNK, end)].astype(np.float32)
            norms = np.sqrt(np.einsum("rw,rw->r", wide, wide))
            self._norms[at : at + len(wide)] = np.maximum(norms, 1e-9)
        self.count = end

    def _reserve(self, size: int) -> None:
        for name in ("_ids", "_sources", "_rows", "_norms"):
            old = getattr(self, name)
            new = np.empty((size, *old.shape[1:]), old.dtype)
            new[: self.count] = old[: self.count]
            setattr(self, name, new)
