"""What a search looks through, in memory: a row of numbers for each passage of the index.

A scan of all vectors is exact, needs no structure that could be out of date, and 100,000 vectors of
256 signed bytes are 26 MB.

What all vectors have in common says nothing about any of them, so passages are compared without it
(Mu and Viswanath 2018, arXiv:1702.01417): each vector v is taken as (v - m) / |v - m|, with m the
mean of the index. As if PRIOR passages more with nothing in common were there, so that a handful
of notes is not made strangers to each other.
"""

import sqlite3

import numpy as np
from numpy.typing import NDArray

__all__ = ["Columns", "Floats", "packed"]

CHUNK = 512  # vectors that are widened at once: they stay in the cache
GROWTH = 1.25
PRIOR = 100
NONE = np.float32(1e-9)  # the norm of a vector that says nothing

Floats = NDArray[np.float32]


def packed(vectors: Floats) -> list[bytes]:
    """Each row as signed bytes, its largest component 127: a column's value."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=1e-12)
    return [row.tobytes() for row in np.rint(vectors * (127 / largest)).astype(np.int8)]


class Columns:
    """The passages of an index in the order of their ids, read once and then only what is new."""

    def __init__(self, width: int) -> None:
        self.width = width  # of a vector; those of another width are none
        self.count = 0
        self._ids: NDArray[np.int64] = np.empty(0, np.int64)
        self._sources: NDArray[np.int64] = np.empty(0, np.int64)
        self._lengths: Floats = np.empty(0, np.float32)
        self._rows: NDArray[np.int8] = np.empty((0, width), np.int8)
        self._norms: Floats = np.empty(0, np.float32)
        self._mean: Floats = np.zeros(width, np.float32)
        self._shared: Floats = np.empty(0, np.float32)  # the product of each vector and the mean
        self._seen: tuple[int, int] | None = None  # of the file: others' commits, our changes
        self._filled: str | None = None

    @property
    def ids(self) -> NDArray[np.int64]:
        """The passages, ascending; the other columns are in this order."""
        return self._ids[: self.count]

    @property
    def sources(self) -> NDArray[np.int64]:
        """The source of each."""
        return self._sources[: self.count]

    @property
    def lengths(self) -> Floats:
        """The number of words of each."""
        return self._lengths[: self.count]

    # ---- what the file says ----------------------------------------------------------------------

    def refresh(self, db: sqlite3.Connection) -> None:
        """Takes in what was committed since the last time."""
        seen = (int(db.execute("PRAGMA data_version").fetchone()[0]), db.total_changes)
        if seen == self._seen:
            return
        row = db.execute("SELECT value FROM meta WHERE key = 'filled'").fetchone()
        filled = row[0] if row else None
        if filled != self._filled:  # passages that are here have got their vectors since
            self.count, self._filled = 0, filled
        # Read from the index by source, which is many times smaller than the passages.
        there = np.fromiter((row[0] for row in db.execute("SELECT id FROM passage")), np.int64)
        self._keep(np.isin(self.ids, there, assume_unique=True))
        rows = db.execute(
            "SELECT passage.id, source, sz, vector FROM passage "
            "JOIN passage_index_docsize ON passage_index_docsize.id = passage.id "
            "WHERE passage.id > ? ORDER BY passage.id",
            (int(self.ids[-1]) if self.count else 0,),
        )
        self._append(rows.fetchall())
        self._centre()
        self._seen = seen

    def forget(self) -> None:
        """Lets go of everything: the vectors in the file are others now."""
        self.count, self._seen = 0, None

    def _keep(self, mask: NDArray[np.bool_]) -> None:
        if mask.all():
            return
        count = int(mask.sum())
        for array in (self._ids, self._sources, self._lengths, self._rows, self._norms):
            array[:count] = array[: self.count][mask]
        self.count = count

    def _append(self, rows: list[tuple[int, int, bytes, bytes | None]]) -> None:
        start, end = self.count, self.count + len(rows)
        if end > len(self._ids):
            self._reserve(max(end, int(start * GROWTH)))
        self._ids[start:end] = [row[0] for row in rows]
        self._sources[start:end] = [row[1] for row in rows]
        self._lengths[start:end] = [_words(row[2]) for row in rows]
        none = bytes(self.width)
        vectors = [row[3] if row[3] and len(row[3]) == self.width else none for row in rows]
        self._rows[start:end] = np.frombuffer(b"".join(vectors), np.int8).reshape(
            len(rows), self.width
        )
        for at in range(start, end, CHUNK):
            wide = self._rows[at : min(at + CHUNK, end)].astype(np.float32)
            norms = np.sqrt(np.einsum("rw,rw->r", wide, wide))
            self._norms[at : at + len(wide)] = np.maximum(norms, NONE)
        self.count = end

    def _reserve(self, size: int) -> None:
        for name in ("_ids", "_sources", "_lengths", "_rows", "_norms"):
            old = getattr(self, name)
            new = np.empty((size, *old.shape[1:]), old.dtype)
            new[: self.count] = old[: self.count]
            setattr(self, name, new)

    def _centre(self) -> None:
        total = np.zeros(self.width, np.float32)
        for start in range(0, self.count, CHUNK):
            part = slice(start, min(start + CHUNK, self.count))
            total += (1 / self._norms[part]) @ self._rows[part].astype(np.float32)
        self._mean = total / np.float32(self.count + PRIOR)
        self._shared = self.cosines(self._mean)

    # ---- comparison ------------------------------------------------------------------------------

    def cosines(self, query: Floats) -> Floats:
        """The cosine of each vector with `query`, which has length 1; 0 where there is none."""
        result = np.empty(self.count, np.float32)
        wide = np.empty((min(CHUNK, self.count), self.width), np.float32)  # once: it is the cost
        for start in range(0, self.count, CHUNK):
            end = min(start + CHUNK, self.count)
            part = wide[: end - start]
            part[...] = self._rows[start:end]
            np.dot(part, query, out=result[start:end])
        result /= self._norms[: self.count]
        return result

    def centred(self, vectors: Floats) -> Floats:
        """Vectors of length 1 without what all have in common, of length 1 again."""
        rest = vectors - self._mean
        unit: Floats = rest / np.maximum(np.linalg.norm(rest, axis=-1, keepdims=True), NONE)
        return unit

    def centred_cosines(self, query: Floats, cosines: Floats, places: NDArray[np.int64]) -> Floats:
        """The `cosines` with `query` of the passages at `places`, had all vectors been centred.

        (q - m)·(v - m) = q·v - q·m - v·m + m·m, so that nothing has to be scanned again.
        """
        shared, square = self._shared[places], self._mean @ self._mean
        result: Floats = cosines - shared + (square - query @ self._mean)
        result /= np.sqrt(np.maximum(1 - 2 * shared + square, NONE))
        result /= np.maximum(np.linalg.norm(query - self._mean), NONE)
        result[self._norms[places] <= NONE] = 0
        return result

    def vectors(self, places: NDArray[np.int64]) -> Floats:
        """The centred vectors of some passages; 0 where there is none: (places, width)."""
        norms = self._norms[places, None]
        rows = self._rows[places].astype(np.float32) / norms
        return self.centred(rows) * (norms > NONE)


def _words(sizes: bytes) -> int:
    """How many words FTS5 counted in a passage: a varint for each column, seven bits a byte."""
    total = number = 0
    for byte in sizes:
        number = number << 7 | byte & 127
        if byte < 128:
            total, number = total + number, 0
    return total
