"""What the index says of granted folders, as long as it is true.

The index answers only if all of the folders are in it, and each file there has the size and time
that it has in the index: otherwise whoever asks reads the files themselves. A file is reached
through the grant, as ever, so that what the index remembers of a file that a link has replaced is
not told.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cabinos.drivers.beneath import Place, shown
from cabinos.drivers.lines import passages_of
from cabinos.drivers.ranking import stems
from cabinos.index import Hit, Index, SearchError, open_index
from cabinos.index.database import default_path
from cabinos.index.scan import scan
from cabinos.index.update import roots
from cabinos.kernel.capability import FileGrant
from cabinos.kernel.errors import Denied, ToolError

__all__ = ["Found", "find"]

CANDIDATES = 4  # passages of the index for each that is asked for


@dataclass(frozen=True, slots=True)
class Found:
    """A piece of a file that says something about the query."""

    where: str  # path as processes see it, and line
    text: str


def find(grants: Sequence[FileGrant], query: str, limit: int) -> list[Found] | None:
    """What the index has, the best first; None if it does not know all of what there is."""
    if not default_path().is_file():
        return None
    with suppress(SearchError), open_index() as index:
        known = roots(index)
        if not all(any(g.root.is_relative_to(root) for root in known) for g in grants):
            return None
        if not all(_is_current(index, grant.root) for grant in grants):
            return None
        under = [grant.root for grant in grants]
        hits = index.search(query, limit * CANDIDATES, kinds=["file"], under=under)
        found = [piece for hit in hits if (piece := _piece(hit, grants, query))]
        return list(dict.fromkeys(found))[:limit]
    return None


def _is_current(index: Index, root: Path) -> bool:
    """Whether the index has seen every file beneath a folder as it is now."""
    rows = index.rows("SELECT name, size, modified FROM source WHERE kind = 'file'")
    known = {name: (size, modified) for name, size, modified in rows}
    complaints: list[str] = []
    try:
        current = all(
            known.get(file.path) == (file.size, file.modified)
            for file in scan(root, complaints.append)
        )
    except OSError:
        return False
    return current and not complaints


def _piece(hit: Hit, grants: Sequence[FileGrant], query: str) -> Found | None:
    """The lines of a passage that hold most words of the query; None if the file is not there."""
    path = Path(hit.name)
    grant = next((grant for grant in grants if path.is_relative_to(grant.root)), None)
    if grant is None:
        return None
    place = Place(grant, path.relative_to(grant.root).parts)
    try:
        place.open().close()
    except (ToolError, Denied, OSError):
        return None
    wanted = set(stems(query))
    pieces = list(passages_of(hit.passage.text))
    line, text = max(pieces, key=lambda piece: len(wanted & set(stems(piece[1]))))
    where = "/".join(map(shown, place.path.split("/")))
    return Found(f"{where}:{hit.passage.line + line - 1}", text)
