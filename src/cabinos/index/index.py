"""The index: put sources into it, and search them by words and by meaning at once."""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cabinos.index import words as lexicon
from cabinos.index.columns import Columns, Floats, packed
from cabinos.index.database import connect, explained, in_transaction
from cabinos.index.encoder import Encoder
from cabinos.index.fusion import DENSE, Fused, best, fuse, rank
from cabinos.index.postings import Postings
from cabinos.store.encode import clean_text

__all__ = ["Hit", "Index", "Passage", "Source"]

POOL = 200  # passages that are ranked again by what the best of them say
ALIKE = 1e-6  # a difference of scores that is no more than rounding
FEEDBACK = 1  # the best ones that join the query: see `bench/retrieval/feedback.py`
MARK = "\x02"  # before each matched word in what FTS5's highlight() returns, and
END = "\x03"  # behind it


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a source that is found as one."""

    text: str
    heading: str = ""  # those it stands under, which are searched too
    line: int = 1  # number of its first line, from 1
    page: int = 0  # of a PDF, from 1


@dataclass(frozen=True, slots=True)
class Source:
    """Where passages come from, and what shows that they are up to date."""

    kind: str  # file, note, page, tool, skill
    name: str  # unique among its kind: a file's absolute path, without links
    passages: Sequence[Passage] = ()
    size: int = 0
    modified: int = 0  # nanoseconds since 1970
    digest: bytes = b""
    problem: str = ""  # why there are no passages, for people


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found, and why."""

    kind: str
    name: str
    passage: Passage
    fused: Fused
    words: tuple[str, ...]  # of the passage, that matched; empty unless they were asked for

    @property
    def score(self) -> float:
        """Between 0 and 1, comparable within one search only."""
        return self.fused.score

    @property
    def where(self) -> str:
        """The citation: file and page, file and line, or the name alone."""
        if self.passage.page:
            return f"{self.name}, page {self.passage.page}"
        return f"{self.name}:{self.passage.line}" if self.kind == "file" else self.name


class Index:
    """An open index, in a file or in memory. Its methods block; any thread may call them."""

    def __init__(self, path: Path | None, encoder: Encoder | None) -> None:
        """Opens it (None: an empty one in memory). Raises SearchError.

        Without an encoder, words alone are searched.
        """
        self.path = path
        self.share = DENSE  # of the vectors in the score
        self._db = connect(path)
        self._lock = threading.RLock()
        with self._explained():
            self._postings = Postings(self._db)
        self.use(encoder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; idempotent."""
        self._postings.close()
        self._db.close()

    # ---- putting in ------------------------------------------------------------------------------

    def put(self, sources: Iterable[Source]) -> None:
        """Replaces these sources by what they say now, all in one transaction."""
        sources = list(sources)
        vectors = iter(self._encoded([_said(p) for source in sources for p in source.passages]))
        with self.writing() as db:
            ours = self._is_encoders(db)
            if ours and self.encoder is not None:
                db.execute("INSERT OR IGNORE INTO meta VALUES ('encoder', ?)", (self.encoder.name,))
            for source in sources:
                remove(db, source.kind, source.name)
                number = db.execute(
                    "INSERT INTO source (kind, name, size, modified, digest, problem) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        *(source.kind, source.name, source.size, source.modified),
                        *(source.digest, source.problem),
                    ),
                ).lastrowid
                for p in source.passages:
                    vector = next(vectors)
                    db.execute(
                        "INSERT INTO passage (source, line, page, heading, text, vector) "
                        "VALUES (?, ?, ?, ?, ?, ?)",
                        (number, p.line, p.page, p.heading, p.text, vector if ours else None),
                    )

    def remove(self, kind: str, names: Iterable[str]) -> int:
        """Takes these sources out with their passages; how many there were."""
        with self.writing() as db:
            return sum(remove(db, kind, name) for name in names)

    def touch(self, kind: str, name: str, size: int, modified: int) -> None:
        """Notes that a source is up to date, though its file looks different from outside."""
        with self.writing() as db:
            db.execute(
                "UPDATE source SET size = ?, modified = ? WHERE kind = ? AND name = ?",
                (size, modified, kind, name),
            )

    def sync(self, kind: str, texts: dict[str, str]) -> None:
        """Makes the sources of a kind those of `texts`, by name; each is one passage."""
        with self._lock:
            there = dict(
                self.rows(
                    "SELECT name, text FROM source JOIN passage ON passage.source = source.id "
                    "WHERE kind = ?",
                    (kind,),
                )
            )
            if gone := there.keys() - texts.keys():
                self.remove(kind, gone)
            new = [(name, text) for name, text in texts.items() if there.get(name) != text]
            if new:
                self.put(Source(kind, name, (Passage(text),)) for name, text in new)

    # ---- vectors ---------------------------------------------------------------------------------

    def use(self, encoder: Encoder | None) -> None:
        """Lets another encoder read queries, and what is put in from now on."""
        self.encoder = encoder
        self._columns = Columns(encoder.width if encoder else 0)

    def take_encoder(self) -> None:
        """Makes the encoder the one of this index: vectors of another go, `encode_missing` fills.

        Without an encoder it does nothing.
        """
        if self.encoder is None:
            return
        with self.writing() as db:
            if not self._is_encoders(db):
                db.execute("UPDATE passage SET vector = NULL")
                db.execute("REPLACE INTO meta VALUES ('encoder', ?)", (self.encoder.name,))
                self._columns.forget()

    def encode_missing(self) -> Iterator[int]:
        """Gives vectors to passages that have none, in batches: how many are left before each."""
        missing = "FROM passage WHERE vector IS NULL"
        while self.encoder is not None:
            ((left,),) = self.rows(f"SELECT count(*) {missing}")
            if not left:
                return
            yield int(left)
            rows = self.rows(f"SELECT id, heading, text {missing} LIMIT {self.encoder.batch}")
            vectors = self._encoded([_said(Passage(text, heading)) for _, heading, text in rows])
            with self.writing() as db:
                if not self._is_encoders(db):
                    return
                db.executemany(
                    "UPDATE passage SET vector = ? WHERE id = ?",
                    [(vector, row[0]) for vector, row in zip(vectors, rows, strict=True)],
                )
                db.execute(
                    "INSERT INTO meta VALUES ('filled', 1) "
                    "ON CONFLICT (key) DO UPDATE SET value = value + 1"
                )

    def _is_encoders(self, db: sqlite3.Connection) -> bool:
        """Whether the vectors are made by this encoder. An index without any is anybody's."""
        if self.encoder is None:
            return False
        row = db.execute("SELECT value FROM meta WHERE key = 'encoder'").fetchone()
        return row is None or row[0] == self.encoder.name

    def _encoded(self, texts: Sequence[str]) -> list[bytes] | list[None]:
        if self.encoder is None or not texts:
            return [None] * len(texts)
        return packed(self.encoder.encode(texts))

    # ---- search ----------------------------------------------------------------------------------

    def search(
        self,
        query: str,
        limit: int = 8,
        *,
        kinds: Sequence[str] = (),
        under: Sequence[Path] = (),
        names: Iterable[str] | None = None,
        explain: bool = False,
    ) -> list[Hit]:
        """The passages that fit the query best, by words and by meaning; the best first.

        `kinds`: of these kinds alone. `under`: of files in these folders, or these files. `names`:
        of sources of these names. `explain`: with the words that matched, which takes as long as
        the search. Raises SearchError if the file is damaged.
        """
        query = clean_text(query)
        wanted = lexicon.words_of(query)
        if not wanted:
            return []
        with self._lock, self._explained(), self._snapshot():
            self._columns.refresh(self._db)
            ranked = self._ranked(query, wanted, self._sources(kinds, under, names), limit)
            return self._hits(ranked, wanted if explain else [])

    def _ranked(
        self, query: str, wanted: Sequence[str], sources: set[int] | None, limit: int
    ) -> list[Fused]:
        """The best passages that hold any of the words, or mean something similar."""
        columns = self._columns
        bm25 = self._postings.scores(wanted, columns)
        vector, near = self._vector(query)
        cosines = columns.cosines(vector)
        may = (bm25 > 0) | (cosines >= near)
        if sources is not None:
            may &= np.isin(columns.sources, list(sources))
        places = np.flatnonzero(may)
        bm25, cosines = bm25[places], cosines[places]
        share = self.share if (cosines >= near).any() else 0.0
        scores = fuse(bm25, columns.centred_cosines(vector, cosines, places), share)
        pool = best(scores, max(limit, POOL))
        likeness = self._likeness(vector, places[pool], scores[pool])
        scores = fuse(bm25[pool], likeness, share)
        found = []
        for at in best(scores, limit).tolist():
            words, cosine = bm25[pool[at]], cosines[pool[at]]
            found.append(
                Fused(
                    id=int(columns.ids[places[pool[at]]]),
                    score=float(scores[at]),
                    bm25=float(words),
                    lexical_rank=rank(words, bm25) if words > 0 else 0,
                    cosine=float(cosine),
                    dense_rank=rank(cosine, cosines) if cosine >= near else 0,
                    likeness=float(likeness[at]),
                )
            )
        return found

    def _vector(self, query: str) -> tuple[Floats, float]:
        """The query's, and the cosine from which on a passage has something to do with it."""
        if self.encoder is None or not self._is_encoders(self._db):
            return np.zeros(self._columns.width, np.float32), 2.0
        return self.encoder.encode([query])[0], self.encoder.near

    def _likeness(self, vector: Floats, places: NDArray[np.int64], scores: Floats) -> Floats:
        """The cosine of each of the passages, the best first, with query and best ones together.

        Rocchio's feedback, for vectors Li et al. 2023 (arXiv:2108.11044): what fits a query best is
        likely to say what it does not. Those that are as good as the best join by their mean, so
        that the order in which they were written does not matter.
        """
        found = self._columns.vectors(places)
        joins = scores >= scores[:FEEDBACK].min(initial=1) - ALIKE
        share = FEEDBACK / max(FEEDBACK, int(joins.sum()), 1)
        together = self._columns.centred(vector) + share * (scores[joins] @ found[joins])
        together /= max(float(np.linalg.norm(together)), 1e-9)
        likeness: Floats = found @ together
        return likeness

    def _sources(
        self, kinds: Sequence[str], under: Sequence[Path], names: Iterable[str] | None
    ) -> set[int] | None:
        """The sources that may be searched; None: all."""
        ((first, last),) = self._db.execute("SELECT min(kind), max(kind) FROM source")
        if first == last and first in kinds:  # there are no others
            kinds = ()
        if not kinds and not under and names is None:
            return None
        wanted = None if names is None else set(names)
        folders = [(str(path), f"{str(path).rstrip('/')}/") for path in under]
        found = set()
        for number, kind, name in self._db.execute("SELECT id, kind, name FROM source"):
            if kinds and kind not in kinds:
                continue
            if wanted is not None and name not in wanted:
                continue
            if folders and not any(name == one or name.startswith(all_) for one, all_ in folders):
                continue
            found.add(number)
        return found

    def _hits(self, ranked: Sequence[Fused], wanted: Sequence[str]) -> list[Hit]:
        matched = self._matched([one.id for one in ranked], wanted)
        hits = []
        for one in ranked:
            kind, name, text, heading, line, page = self._db.execute(
                "SELECT kind, name, text, heading, line, page FROM passage "
                "JOIN source ON source.id = passage.source WHERE passage.id = ?",
                (one.id,),
            ).fetchone()
            passage = Passage(text, heading, line, page)
            hits.append(Hit(kind, name, passage, one, matched.get(one.id, ())))
        return hits

    def _matched(self, ids: Sequence[int], wanted: Sequence[str]) -> dict[int, tuple[str, ...]]:
        """The words of each passage that match, as they stand there."""
        found: dict[int, tuple[str, ...]] = {}
        if not wanted:
            return found
        for number in ids:  # one by one, since FTS5 goes straight to a row, but not to some
            marked = self._db.execute(
                f"SELECT highlight(passage_index, 0, '{MARK}', '{END}') || ' ' || "
                f"highlight(passage_index, 1, '{MARK}', '{END}') FROM passage_index "
                "WHERE passage_index MATCH ? AND rowid = ?",
                (lexicon.match(wanted), number),
            )
            for (text,) in marked:
                words = (part.split(END, 1)[0].lower() for part in text.split(MARK)[1:])
                found[number] = tuple(dict.fromkeys(words))
        return found

    # ---- the file --------------------------------------------------------------------------------

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with self._lock, self._explained():
            return self._db.execute(sql, parameters).fetchall()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction; other programs that write wait for its end."""
        with self._lock, self._explained(), in_transaction(self._db):
            yield self._db

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Lets all that is read in the block be of one moment, whatever others write meanwhile."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("ROLLBACK")  # nothing was written

    def scrub(self) -> None:
        """After a removal: rewrites what still holds the removed words, and empties the log."""
        with self._lock, self._explained():
            self._db.execute("INSERT INTO passage_index (passage_index) VALUES ('optimize')")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise explained(error, self.path) from error


def remove(db: sqlite3.Connection, kind: str, name: str) -> int:
    """Takes a source out, within a transaction; 0 if there is none."""
    row = db.execute("SELECT id FROM source WHERE kind = ? AND name = ?", (kind, name)).fetchone()
    if row is None:
        return 0
    db.execute("DELETE FROM passage WHERE source = ?", row)
    db.execute("DELETE FROM source WHERE id = ?", row)
    return 1


def _said(passage: Passage) -> str:
    """What the encoder reads of a passage."""
    return f"{passage.heading}\n{passage.text}" if passage.heading else passage.text
