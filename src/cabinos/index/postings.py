"""BM25 over the lists that SQLite's FTS5 keeps: which passage holds a word, and how often.

FTS5 can rank by itself, but does it passage by passage, from the places of all words; to read a
list for each word and sum with NumPy takes a fraction of the time.

    score(d) = Σ idf(w) · f(w, d)·(k + 1) / (f(w, d) + k·(1 - b + b·|d| / mean length))
    idf(w) = max(ln((N - n(w) + 0.5) / (n(w) + 0.5)), LEAST)

over the words w of the query, with f(w, d) how often d holds w, and n(w) of N passages hold w
(Robertson and Zaragoza 2009). All as FTS5 has it, so that a word in half of the passages counts as
good as nothing.
"""

import math
import sqlite3
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cabinos.index.columns import Columns, Floats

__all__ = ["Postings"]

K, B, LEAST = 1.2, 0.75, 1e-6  # FTS5's
LARGE = 20_000  # passages from which on words are left out that are in too many of them
COMMON = 0.1  # of the passages: such a word adds time, and next to nothing to the score


class Postings:
    """The full-text index of an open file."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        for kind in ("instance", "row"):
            db.execute(
                f"CREATE VIRTUAL TABLE temp.by_{kind} USING fts5vocab (main, passage_index, {kind})"
            )
        self._stems = sqlite3.connect(":memory:", check_same_thread=False)
        self._stems.execute(
            "CREATE VIRTUAL TABLE said USING fts5 (text, content='', tokenize='porter unicode61')"
        )
        self._stems.execute("CREATE VIRTUAL TABLE stem USING fts5vocab (said, row)")
        self._frequencies: dict[str, int] = {}  # of stems, in a large index; they may be old

    def close(self) -> None:
        """Lets go of what is not the file's; idempotent."""
        self._stems.close()

    def scores(self, words: Sequence[str], columns: Columns) -> Floats:
        """BM25 of each passage for these words, in the columns' order; 0: it holds none of them."""
        count = columns.count
        scores = np.zeros(count, np.float32)
        if not count:
            return scores
        lengths = columns.lengths
        norms = K * (1 - B + B * lengths / max(float(lengths.mean()), 1.0))
        for stem in self._rare(self.stems(words), count):
            places, often = self._list(stem, columns.ids)
            holders = len(places)
            idf = max(math.log((count - holders + 0.5) / (holders + 0.5)), LEAST)
            scores[places] += idf * often * (K + 1) / (often + norms[places])
        return scores

    def stems(self, words: Sequence[str]) -> list[str]:
        """The words as they stand in the index, each once."""
        self._stems.execute("INSERT INTO said (said) VALUES ('delete-all')")
        self._stems.execute("INSERT INTO said (rowid, text) VALUES (1, ?)", (" ".join(words),))
        return [stem for (stem,) in self._stems.execute("SELECT term FROM stem")]

    def _list(self, stem: str, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], Floats]:
        """Where the passages that hold the stem are among `ids`, and how often each holds it."""
        # One text with all of them: a Python object for each would be the cost.
        query = "SELECT group_concat(doc) FROM temp.by_instance WHERE term = ?"
        ((listed,),) = self._db.execute(query, (stem,))
        found, often = np.unique(np.fromstring(listed or "", np.int64, sep=","), return_counts=True)
        return np.searchsorted(ids, found), often.astype(np.float32)

    def _rare(self, stems: Sequence[str], count: int) -> Sequence[str]:
        """The stems that are not in a large part of a large index, or the rarest one."""
        if count < LARGE or len(stems) < 2:
            return stems
        for stem in stems:
            if stem not in self._frequencies:
                query = "SELECT doc FROM temp.by_row WHERE term = ?"
                row = self._db.execute(query, (stem,)).fetchone()
                self._frequencies[stem] = int(row[0]) if row else 0
        rare = [stem for stem in stems if self._frequencies[stem] <= COMMON * count]
        return rare or [min(stems, key=self._frequencies.__getitem__)]
