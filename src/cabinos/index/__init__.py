"""Retrieval: one `search()` for files, notes, pages, tools and skills."""

from collections.abc import Sequence
from pathlib import Path

from cabinos.index.errors import SearchError
from cabinos.index.index import Hit, Index, Passage, Source

__all__ = ["Hit", "Index", "Passage", "SearchError", "Source", "open_index", "search"]


def open_index(path: Path | None = None) -> Index:
    """The user's index, or the one at `path`; made if there is none. Raises SearchError."""
    from cabinos.index.database import default_path

    return Index(path or default_path(), None)


def search(
    query: str, limit: int = 8, *, kinds: Sequence[str] = (), under: Sequence[Path] = ()
) -> list[Hit]:
    """The passages of the user's index that fit the query best; see `Index.search`."""
    with open_index() as index:
        return index.search(query, limit, kinds=kinds, under=under)
