"""Pages: what was said, read or answered. Immutable, content-addressed, never deleted here."""

import hashlib
import re
import sqlite3
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from cabinos.store.database import Store
from cabinos.store.encode import clean_text, to_json
from cabinos.store.errors import StoreCorrupt, StoreError

__all__ = ["Hit", "Page", "Pages"]

INSERT = "INSERT INTO page (id, hash, role, label, meta, tokens, text) VALUES (?, ?, ?, ?, ?, ?, ?)"
COLUMNS = "id, hash, role, label, meta, tokens, text"
FIND = f"SELECT {COLUMNS} FROM page WHERE substr(hash, 1, 8) = ? AND hash = ?"
CACHE_BYTES = 32 << 20  # beyond which the least recently used pages are let go
PAGE_OVERHEAD = 400  # bytes a cached page takes beside its text
HANDLE = 10  # hexadecimal digits of a hash that name a page to a model


class Page(NamedTuple):
    """One page. `meta` is JSON: {"calls": […]} of an assistant, {"call", "name"} of a result."""

    id: int
    hash: bytes
    role: str
    label: Literal["trusted", "untrusted"]
    meta: str | None
    tokens: int
    text: str

    @property
    def handle(self) -> str:
        """The short name by which a model recalls it."""
        return self.hash.hex()[:HANDLE]


@dataclass(frozen=True, slots=True)
class Hit:
    """A page found by words: the better, the higher the score."""

    page: Page
    score: float


class Pages:
    """Keeps each page once, and the most recently used ones at hand."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last = int(store.rows("SELECT coalesce(max(id), 0) FROM page")[0][0])
        self._by_id: OrderedDict[int, Page] = OrderedDict()
        self._by_hash: dict[bytes, int] = {}
        self._staged: dict[int, Page] = {}  # until they can be read from the file
        self._staged_at: deque[tuple[int, Page]] = deque()  # with the commits there were then
        self._bytes = 0
        self._seen: bytearray | None = None  # beginnings of hashes there are, once it is needed

    def put(
        self,
        role: str,
        text: str,
        *,
        tokens: int,
        label: Literal["trusted", "untrusted"] = "trusted",
        meta: dict[str, Any] | None = None,
    ) -> Page:
        """The page with this content: the one there is, or a new one, staged."""
        extra = to_json(meta) if meta else None
        try:
            address = _address(role, label, extra, text)
        except UnicodeEncodeError:  # half a surrogate pair
            text = clean_text(text)
            address = _address(role, label, extra, text)
        known = self._by_hash.get(address)
        if known is not None:
            return self.get(known)
        if self._may_exist(address):
            row = self._store.rows(FIND, (address[:8], address))
            if row:
                return self._keep(Page(*row[0]))
        self._last += 1
        page = Page(self._last, address, role, label, extra, tokens, text)
        self._store.add(INSERT, (page.id, address, role, label, extra, tokens, text))
        self._forget_committed()
        self._staged[page.id] = page
        self._staged_at.append((self._store.commits, page))
        return self._keep(page)

    def _may_exist(self, address: bytes) -> bool:
        """False if no page has this hash, so that the file need not be asked; notes that one will.

        Remembers 20 bits of every hash: with few pages it is nearly always right.
        """
        if self._seen is None:
            self._seen = bytearray(1 << 20)
            for (head,) in self._store.rows("SELECT substr(hash, 1, 3) FROM page"):
                self._seen[int.from_bytes(head, "big") >> 4] = 1
        place = int.from_bytes(address[:3], "big") >> 4
        seen, self._seen[place] = self._seen[place], 1
        return bool(seen)

    def get(self, page_id: int) -> Page:
        """The page with this id. Raises StoreError if there is none."""
        if page := self._by_id.get(page_id):
            self._by_id.move_to_end(page_id)
            return page
        if page := self._staged.get(page_id):
            return page
        row = self._store.rows(f"SELECT {COLUMNS} FROM page WHERE id = ?", (page_id,))
        if not row:
            raise StoreError(
                f"{self._store.path}: page {page_id} is missing: the store is damaged."
            )
        return self._keep(Page(*row[0]))

    def _keep(self, page: Page) -> Page:
        self._by_id[page.id] = page
        self._by_hash[page.hash] = page.id
        self._bytes += len(page.text) + PAGE_OVERHEAD
        while self._bytes > CACHE_BYTES and len(self._by_id) > 1:
            _, old = self._by_id.popitem(last=False)
            self._bytes -= len(old.text) + PAGE_OVERHEAD
            if old.id not in self._staged:
                del self._by_hash[old.hash]
        return page

    def _forget_committed(self) -> None:
        """Lets go of pages that were staged two commits ago: they were in the next one."""
        while self._staged_at and self._staged_at[0][0] + 2 <= self._store.commits:
            _, page = self._staged_at.popleft()
            del self._staged[page.id]
            if page.id not in self._by_id:
                self._by_hash.pop(page.hash, None)

    def verify(self) -> int:
        """Checks that every page is what its hash says, and returns how many there are.

        Raises StoreCorrupt with the first that was changed.
        """
        count, after = 0, 0
        while rows := self._store.rows(
            f"SELECT {COLUMNS} FROM page WHERE id > ? ORDER BY id LIMIT 500", (after,)
        ):
            for page_id, address, role, label, meta, _, text in rows:
                if _address(role, label, meta, text) != address:
                    raise StoreCorrupt(f"{self._store.path}: page {page_id} was changed.")
            count, after = count + len(rows), rows[-1][0]
        return count

    async def search(self, query: str, among: set[int] | None = None, limit: int = 8) -> list[Hit]:
        """Pages that hold words of `query`, the best first; `among`: of these ids alone.

        Words are matched by their stems (Porter), ranked by BM25.
        """
        words = re.findall(r"\w+", query)
        if not words:
            return []
        match = " OR ".join(f'"{word}"' for word in dict.fromkeys(words))

        def run(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
            _index_new(db)
            sql = (
                "SELECT rowid, -bm25(page_index) FROM page_index WHERE page_index MATCH ? "
                "ORDER BY bm25(page_index)"
            )
            if among is None:
                return db.execute(f"{sql} LIMIT ?", (match, limit)).fetchall()
            found = []
            for row in db.execute(sql, (match,)):
                if row[0] in among:
                    found.append(row)
                    if len(found) == limit:
                        break
            return found

        return [Hit(self.get(page_id), score) for page_id, score in await self._store.run(run)]


def _address(role: str, label: str, meta: str | None, text: str) -> bytes:
    return hashlib.sha256(f"{role} {label} {meta or ''}\n{text}".encode()).digest()


def _index_new(db: sqlite3.Connection) -> None:
    """Adds the pages that came since the last search to the index.

    The index keeps one row per page it knows, so its largest row id says how far it reaches.
    """
    reach = db.execute("SELECT coalesce(max(id), 0) FROM page_index_docsize").fetchone()[0]
    db.execute(
        "INSERT INTO page_index (rowid, text) SELECT id, text FROM page WHERE id > ?", (reach,)
    )
