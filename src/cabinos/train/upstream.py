"""The rows of a source, from the public repository that the manifest pins.

One archive of the commit for most; file by file where few are all that is needed; and for the
textbooks, whose archives are mostly pictures, each section by itself. The rows come out exactly as
the manifest's hash expects, which is what is verified.
"""

import json
import re
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cabinos.train.download import download, get
from cabinos.train.errors import SourceError
from cabinos.train.measured import READERS
from cabinos.train.sources import Progress, Source, flush_left

__all__ = ["GitHub", "from_repository"]

AT_ONCE = 8  # sections of a textbook
FEW = 20  # files that are fetched one by one


@dataclass(frozen=True)
class GitHub:
    """Where repositories are served; `at` gives another server with the same paths."""

    archives: str = "https://codeload.github.com"
    files: str = "https://raw.githubusercontent.com"
    trees: str = "https://api.github.com/repos"

    @classmethod
    def at(cls, base: str) -> "GitHub":
        """A mirror that serves all three under one address."""
        base = base.rstrip("/")
        return cls(base, base, base)

    def archive(self, repository: str, commit: str) -> str:
        """All files of a commit, as .tar.gz."""
        return f"{self.archives}/{repository}/tar.gz/{commit}"

    def file(self, repository: str, commit: str, path: str) -> str:
        """One file."""
        return f"{self.files}/{repository}/{commit}/{path}"

    def tree(self, repository: str, commit: str) -> str:
        """The names of all files, as JSON."""
        return f"{self.trees}/{repository}/git/trees/{commit}?recursive=1"


def from_repository(
    source: Source, folder: Path, hub: GitHub, progress: Progress | None = None
) -> Iterator[bytes]:
    """The rows of `source`, one line at a time; what is fetched is kept in `folder` until done.

    Raises SourceError if it cannot be fetched, or is not what was pinned.
    """
    for row in _rows(source, folder, hub, progress):
        yield (json.dumps(row, ensure_ascii=False) + "\n").encode()


def _rows(
    source: Source, folder: Path, hub: GitHub, progress: Progress | None
) -> Iterator[dict[str, Any]]:
    if source.books:
        return _textbooks(source, folder, hub)
    if len(source.paths) <= FEW and not any("*" in path for path in source.paths):
        return _few_files(source, folder, hub, progress)
    return _archive(source, folder, hub, progress)


def _few_files(
    source: Source, folder: Path, hub: GitHub, progress: Progress | None
) -> Iterator[dict[str, Any]]:
    for path in source.paths:
        local = folder / source.name / path
        download(hub.file(source.repository, source.commit, path), local, _tell(source, progress))
        text = _decode(local.read_bytes(), source, path)
        if source.name in READERS:
            yield from READERS[source.name](path, text)
        elif path.endswith(".jsonl"):
            yield from map(json.loads, text.splitlines())
        else:
            yield {"text": text}


def _archive(
    source: Source, folder: Path, hub: GitHub, progress: Progress | None
) -> Iterator[dict[str, Any]]:
    """The files of an archive that match the source's patterns, in the order of their paths."""
    local = folder / source.name / "archive.tar.gz"
    download(hub.archive(source.repository, source.commit), local, _tell(source, progress))
    wanted = re.compile("|".join(map(_pattern, source.paths)))
    found = {}
    try:
        with tarfile.open(local) as archive:
            for member in archive:
                path = member.name.partition("/")[2]  # below the archive's own top folder
                file = archive.extractfile(member) if wanted.fullmatch(path) else None
                if file is not None:
                    found[path] = _decode(file.read(), source, path)
    except (tarfile.TarError, EOFError, OSError) as error:
        local.unlink(missing_ok=True)
        raise SourceError(
            f"{local}: not a whole archive ({error}); it was removed. Run it again."
        ) from None
    shape = SHAPES.get(source.name, _plain_row)
    for path in sorted(found):
        if source.name in READERS:
            yield from READERS[source.name](path, found[path])
        else:
            yield shape(path, found[path])


def _pattern(glob: str) -> str:
    """A glob as a regular expression: `**` crosses folders, `*` does not."""
    parts = re.split(r"(\*\*|\*)", glob)
    return "".join({"**": ".*", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts)


def _plain_row(path: str, text: str) -> dict[str, Any]:
    return {"path": path, "text": text}


def _book_row(_: str, text: str) -> dict[str, Any]:
    """A classic begins with its title, author and year, and a line."""
    head, _line, body = text.partition("-------\n")
    fields = dict(re.findall(r"^#+ (Title|Author|Year): *(.*)$", head, re.MULTILINE))
    year = re.search(r"\d+", fields.get("Year", ""))
    return {
        "title": fields.get("Title", ""),
        "author": fields.get("Author", ""),
        "year": int(year[0]) if year else None,
        "text": body.strip(),
    }


SHAPES: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "classics": _book_row,
    "rust_book": lambda path, text: _plain_row(path.removeprefix("src/"), text),
    "algorithms_python": lambda path, text: _plain_row(path.replace("__", "/"), text),
}
"""Sources whose rows are not simply {"path", "text"}."""


def _textbooks(source: Source, folder: Path, hub: GitHub) -> Iterator[dict[str, Any]]:
    organisation = source.repository.partition("*")[0]
    for title, commit in source.books.items():
        repository = organisation + title
        tree = json.loads(get(hub.tree(repository, commit)))
        paths = sorted(
            entry["path"]
            for entry in tree["tree"]
            if re.fullmatch(r"modules/[^/]+/index\.cnxml", entry["path"])
        )

        def section(
            path: str, title: str = title, repository: str = repository, commit: str = commit
        ) -> str:
            local = folder / source.name / title / path
            download(hub.file(repository, commit, path), local)
            return section_text(_decode(local.read_bytes(), source, path))

        with ThreadPoolExecutor(AT_ONCE) as pool:
            sections = list(pool.map(section, paths))
        yield {"title": title, "commit": commit, "text": "\n\n".join(sections)}


def section_text(cnxml: str) -> str:
    """The text of a section in OpenStax's markup, formulas left out."""
    text = re.sub(r"<m:math.*?</m:math>", " ", cnxml, flags=re.DOTALL)
    text = text.replace("<title>", "\n\n")
    text = re.sub(r"</(?:para|title|item|figure|note|row)>", "\n", text)
    text = re.sub(r"<[^>]+>", "", text)
    text = re.sub(r"[ \t]+", " ", text)
    return flush_left(re.sub(r"\n\s*\n", "\n\n", text).strip())


def _decode(data: bytes, source: Source, path: str) -> str:
    try:
        return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{source.name}: {path} is not UTF-8 ({error.reason} at byte {error.start}). This is "
            "not the file that the manifest pins."
        ) from None


def _tell(source: Source, progress: Progress | None) -> Callable[[int], None] | None:
    if progress is None:
        return None
    return lambda so_far: progress(source.name, so_far, 0)
