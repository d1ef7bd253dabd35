"""Retrieval: one `search()` for files, notes, pages, tools and skills."""

from collections.abc import Sequence
from pathlib import Path

from cabinos.index.errors import SearchError
from cabinos.index.index import Hit, Index, Passage, Source
from cabinos.index.packing import pack

__all__ = [
    "Hit",
    "Index",
    "Passage",
    "SearchError",
    "Source",
    "in_memory",
    "open_index",
    "pack",
    "search",
]


def open_index(path: Path | None = None) -> Index:
    """The user's index, or the one at `path`, with the encoder it was made with; made if need be.

    Raises SearchError if it cannot be used, or the encoder is gone.
    """
    from cabinos.index.database import default_path
    from cabinos.index.static import built_in

    index = Index(path or default_path(), None)
    try:
        chosen = index.rows("SELECT value FROM meta WHERE key = 'folder'")
        if not chosen:
            index.use(built_in())
            return index
        from cabinos.index.minilm import MiniLM

        index.use(MiniLM(Path(str(chosen[0][0]))))
    except SearchError as error:
        index.close()
        raise SearchError(f"{error} Or: cabin index --encoder built-in") from error
    return index


def in_memory() -> Index:
    """An empty index that nothing is left of, for what is at hand: tools, notes, pages."""
    from cabinos.index.static import built_in

    return Index(None, built_in())


def search(
    query: str, limit: int = 8, *, kinds: Sequence[str] = (), under: Sequence[Path] = ()
) -> list[Hit]:
    """The passages of the user's index that fit the query best; see `Index.search`."""
    with open_index() as index:
        return index.search(query, limit, kinds=kinds, under=under)
