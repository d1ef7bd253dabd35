"""The index: put sources into it, and search them by words and by meaning at once."""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cabinos.index import words as lexicon
from cabinos.index.database import connect, explained, in_transaction
from cabinos.index.encoder import Encoder
from cabinos.index.fusion import Fused, fuse
from cabinos.index.vectors import Vectors, packed

__all__ = ["Hit", "Index", "Passage", "Source"]

POOL = 200  # passages of each ranking that are fused
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
    words: tuple[str, ...] = field(default=())  # of the passage, that matched

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
    """An open index, in a file or in memory. Its methods block, and may be called by any thread."""

    def __init__(self, path: Path | None, encoder: Encoder | None) -> None:
        """Opens it (None: an empty one in memory). Raises SearchError.

        Without an encoder, words alone are searched.
        """
        self.path = path
        self.encoder = encoder
        self._db = connect(path)
        self._lock = threading.RLock()
        self._vectors = Vectors(encoder.width if encoder else 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; idempotent."""
        self._db.close()

    # ---- what is in it ---------------------------------------------------------------------------

    def put(self, sources: Iterable[Source]) -> None:
        """Replaces these sources by what they say now, all in one transaction."""
        sources = list(sources)
        vectors = iter(self._encoded([p for source in sources for p in source.passages]))
        with self._writing() as db:
            for source in sources:
                _remove(db, source.kind, source.name)
                row = (source.size, source.modified, source.digest, source.problem)
                number = db.execute(
                    "INSERT INTO source (kind, name, size, modified, digest, problem) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (source.kind, source.name, *row),
                ).lastrowid
                db.executemany(
                    "INSERT INTO passage (source, line, page, heading, text, vector) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    [
                        (number, p.line, p.page, p.heading, p.text, next(vectors))
                        for p in source.passages
                    ],
                )

    def remove(self, kind: str, names: Iterable[str]) -> int:
        """Forgets these sources with their passages; how many there were."""
        with self._writing() as db:
            return sum(_remove(db, kind, name) for name in names)

    def _encoded(self, passages: Sequence[Passage]) -> list[bytes] | list[None]:
        if self.encoder is None or not passages:
            return [None] * len(passages)
        return packed(self.encoder.encode([f"{p.heading}\n{p.text}" for p in passages]))

    # ---- search ----------------------------------------------------------------------------------

    def search(
        self,
        query: str,
        limit: int = 8,
        *,
        kinds: Sequence[str] = (),
        under: Sequence[Path] = (),
        names: Sequence[str] | None = None,
    ) -> list[Hit]:
        """The passages that fit the query best, by words and by meaning; the best first.

        `kinds`: of these kinds alone. `under`: of files in these folders, or these files. `names`:
        of sources of these names. Raises SearchError if the file is damaged.
        """
        with self._lock, self._explained():
            sources = self._sources(kinds, under, names)
            wanted = lexicon.words_of(query)
            lexical = self._lexical(wanted, sources)
            dense = self._dense(query, sources) if wanted else {}
            best = fuse(lexical, dense, POOL)[:limit]
            return self._hits(best, wanted)

    def _sources(
        self, kinds: Sequence[str], under: Sequence[Path], names: Sequence[str] | None
    ) -> set[int] | None:
        """The sources that may be searched; None: all."""
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

    def _lexical(self, wanted: list[str], sources: set[int] | None) -> dict[int, float]:
        """BM25 of the best passages that hold any of the words."""
        if not wanted:
            return {}
        found: dict[int, float] = {}
        rows = self._db.execute(
            "SELECT passage_index.rowid, -rank FROM passage_index WHERE passage_index MATCH ? "
            "ORDER BY rank" + (f" LIMIT {POOL}" if sources is None else ""),
            (lexicon.match(wanted),),
        )
        for number, score in rows:
            if sources is None or self._source_of(number) in sources:
                found[number] = score
                if len(found) == POOL:
                    break
        return found

    def _source_of(self, passage: int) -> int:
        row = self._db.execute("SELECT source FROM passage WHERE id = ?", (passage,)).fetchone()
        return int(row[0])

    def _dense(self, query: str, sources: set[int] | None) -> dict[int, float]:
        """The cosines of all passages that may be found."""
        import numpy as np

        if self.encoder is None:
            return {}
        self._vectors.refresh(self._db)
        (vector,) = self.encoder.encode([query])
        cosines = self._vectors.similarities(vector)
        ids = self._vectors.ids
        if sources is not None:
            mask = np.isin(self._vectors.sources, list(sources))
            ids, cosines = ids[mask], cosines[mask]
        return dict(zip(ids.tolist(), cosines.tolist(), strict=True))

    def _hits(self, best: Sequence[Fused], wanted: list[str]) -> list[Hit]:
        matched = self._matched([one.id for one in best], wanted)
        hits = []
        for one in best:
            kind, name, text, heading, line, page = self._db.execute(
                "SELECT kind, name, text, heading, line, page FROM passage "
                "JOIN source ON source.id = passage.source WHERE passage.id = ?",
                (one.id,),
            ).fetchone()
            passage = Passage(text, heading, line, page)
            hits.append(Hit(kind, name, passage, one, matched.get(one.id, ())))
        return hits

    def _matched(self, ids: Sequence[int], wanted: list[str]) -> dict[int, tuple[str, ...]]:
        """The words of each passage that match, as they stand there."""
        if not wanted or not ids:
            return {}
        marked = self._db.execute(
            f"SELECT rowid, highlight(passage_index, 0, '{MARK}', '{END}') || ' ' || "
            f"highlight(passage_index, 1, '{MARK}', '{END}') FROM passage_index "
            f"WHERE passage_index MATCH ? AND rowid IN ({','.join('?' * len(ids))})",
            (lexicon.match(wanted), *ids),
        )
        return {
            number: tuple(
                dict.fromkeys(part.split(END, 1)[0].lower() for part in text.split(MARK)[1:])
            )
            for number, text in marked
        }

    # ---- the file --------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._explained(), in_transaction(self._db):
            yield self._db

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise explained(error, self.path) from error


def _remove(db: sqlite3.Connection, kind: str, name: str) -> int:
    row = db.execute("SELECT id FROM source WHERE kind = ? AND name = ?", (kind, name)).fetchone()
    if row is None:
        return 0
    db.execute("DELETE FROM passage WHERE source = ?", row)
    db.execute("DELETE FROM source WHERE id = ?", row)
    return 1
