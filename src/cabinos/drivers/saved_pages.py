"""A folder of saved web pages that stands in for the network.

`index.json` in the folder, if there is one, says which file holds which URL. Otherwise, and for all
URLs it does not name, files lie as `wget --mirror` puts them: `host/path`, with `index.html` for a
folder and `.html` where it was added.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from cabinos.drivers.beneath import Place, walk
from cabinos.kernel.capability import FileGrant, files
from cabinos.kernel.errors import Denied, InvalidArguments, ToolError

__all__ = ["SavedPages"]

MAX_INDEX = 10 << 20  # bytes


class SavedPages:
    """Pages by their URL. All methods block."""

    def __init__(self, folder: str) -> None:
        self._grant = files(folder, "r", "saved")
        self._index = _read_index(self._grant)

    def open(self, url: str) -> tuple[str, BinaryIO]:
        """The file name and the open file of a page. Raises ToolError if it was not saved."""
        for parts in self._candidates(url):
            try:
                return parts[-1], Place(self._grant, parts).open()
            except (ToolError, Denied):
                continue
        raise ToolError(
            f"{url} is not among the saved pages, and there is no network. "
            "web_browse lists what there is."
        )

    def urls(self) -> Iterator[str]:
        """The URLs of all pages; those that the index does not name, as their files suggest."""
        yield from self._index
        named = {file.strip("/") for file in self._index.values()}
        with Place(self._grant, ()).open_folder() as folder:
            for parts, _, entry in walk(folder):
                path = "/".join(parts)
                if entry.kind == "file" and path not in named and len(parts) > 1:
                    yield f"https://{path}"

    def _candidates(self, url: str) -> Iterator[tuple[str, ...]]:
        for variant in (url, url.partition("#")[0]):
            if variant in self._index:
                yield from _plain(self._index[variant])
                return
        split = urlsplit(url)
        path = unquote(split.path)
        if split.query:
            yield from _plain(f"{split.netloc}/{path}?{split.query}")
        if path and not path.endswith("/"):
            yield from _plain(f"{split.netloc}/{path}")
            yield from _plain(f"{split.netloc}/{path}.html")
        yield from _plain(f"{split.netloc}/{path}/index.html")


def _plain(path: str) -> Iterator[tuple[str, ...]]:
    """The parts of a path; none if it climbs."""
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if parts and ".." not in parts and "\0" not in path:
        yield parts


def _read_index(grant: FileGrant) -> dict[str, str]:
    """The index, or an empty one. Raises InvalidArguments if it cannot be used."""
    where = Path(grant.root, "index.json")
    try:
        with Place(grant, ("index.json",)).open() as file:
            index = json.loads(file.read(MAX_INDEX))
    except (ToolError, Denied):
        return {}
    except ValueError as error:
        raise InvalidArguments(f"{where}: not valid JSON ({error}).") from None
    if not isinstance(index, dict) or not all(isinstance(v, str) for v in index.values()):
        raise InvalidArguments(f"{where}: must be an object of URL: file name.")
    return index
