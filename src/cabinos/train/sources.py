"""Where the texts come from: the pinned manifest, and verified copies of what it names.

`sources.json` pins each source to a repository, a commit, its files and the SHA-256 of its rows;
`measured.json` does so for the sets that models are measured on, and never trained on. A source is
kept as `<folder>/sources/<name>.jsonl` (a set: `<folder>/eval/<name>.jsonl`), one JSON object a
line ({"text": …} and what names the text). The hash is over that file, so that it holds however the
rows came here: packed in a local folder (`from_folder`), or taken from the repository
(`upstream.from_repository`).
"""

import errno
import hashlib
import json
import lzma
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from cabinos.train.errors import SourceError

__all__ = [
    "Progress",
    "Source",
    "from_folder",
    "is_complete",
    "manifest",
    "measured",
    "rows",
    "store",
]

CHUNK = 1 << 20

Progress = Callable[[str, int, int], None]
"""Called while a source is written: (its name, bytes so far, bytes in all)."""


@dataclass(frozen=True)
class Source:
    """One source of the manifest. `domain` is None if it is not read as running text."""

    name: str
    repository: str
    commit: str
    paths: tuple[str, ...]  # files within the repository; `*` within a folder, `**` across folders
    licence: str
    use: str
    domain: str | None
    rows: int
    bytes: int  # of the rows' file
    sha256: str  # of the rows' file
    books: Mapping[str, str] = field(default_factory=dict)  # OpenStax: title -> commit
    held_out: tuple[str, ...] = ()  # groups that are never trained on; else chosen by hash
    place: str = "sources"  # the folder within the data folder; "eval": only measured on


@cache
def manifest() -> dict[str, Source]:
    """The pinned sources by name."""
    return _read("sources.json", "sources")


@cache
def measured() -> dict[str, Source]:
    """The pinned sets that models are only measured on, by name."""
    return _read("measured.json", "eval")


def _read(name: str, place: str) -> dict[str, Source]:
    text = files("cabinos.train").joinpath(name).read_text(encoding="utf-8")
    found = {}
    for entry in json.loads(text):
        lists = {key: tuple(entry.get(key, ())) for key in ("paths", "held_out")}
        found[entry["name"]] = Source(**entry | lists, place=place)
    return found


def path_of(source: Source, folder: Path) -> Path:
    """Where the rows of `source` are kept under the data folder `folder`."""
    return folder / source.place / f"{source.name}.jsonl"


def is_complete(source: Source, folder: Path) -> bool:
    """Whether the rows are there and are those that the manifest pins."""
    path = path_of(source, folder)
    if not path.is_file() or path.stat().st_size != source.bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == source.sha256


def rows(source: Source, folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of `source`, in order. Raises SourceError if they are missing or not UTF-8 JSON."""
    path = path_of(source, folder)
    if not path.is_file():
        option = " --eval" if source.place == "eval" else ""
        raise SourceError(f"{path}: not there yet. Get it first: cabin data get{option}.")
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line.decode("utf-8"))
            except UnicodeDecodeError as error:
                raise SourceError(
                    f"{path}, line {number}: not UTF-8 ({error.reason} at byte {error.start}). "
                    "Convert the text to UTF-8, or remove the file and get it again."
                ) from None
            except ValueError as error:
                raise SourceError(f"{path}, line {number}: not JSON ({error}).") from None
            if not isinstance(row, dict):
                raise SourceError(f"{path}, line {number}: not a JSON object.")
            yield row


def store(
    source: Source, folder: Path, chunks: Iterable[bytes], progress: Progress | None = None
) -> Path:
    """Write the rows of `source`: complete and verified, or not at all.

    Raises SourceError if the hash is not the pinned one, the disk is full or cannot be written.
    """
    path = path_of(source, folder)
    partial = path.with_suffix(".part")
    digest, written = hashlib.sha256(), 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
                digest.update(chunk)
                written += len(chunk)
                if progress is not None:
                    progress(source.name, written, source.bytes)
        if digest.hexdigest() != source.sha256:
            raise SourceError(
                f"{source.name}: the rows have SHA-256 {digest.hexdigest()} ({written:,} bytes), "
                f"but the manifest pins {source.sha256} ({source.bytes:,} bytes). The source was "
                "changed or damaged on its way; get it again, or from another place."
            )
        partial.replace(path)
    except OSError as error:
        raise SourceError(f"{path}: cannot be written ({_reason(error)}).") from None
    finally:
        partial.unlink(missing_ok=True)
    return path


def from_folder(source: Source, origin: Path) -> Iterator[bytes]:
    """The rows of `source` from `<origin>/<name>.jsonl` or `.jsonl.xz`, in chunks of bytes.

    Raises SourceError if there is no such file, or if it is truncated or damaged.
    """
    plain, packed = origin / f"{source.name}.jsonl", origin / f"{source.name}.jsonl.xz"
    path = plain if plain.is_file() else packed
    try:
        with path.open("rb") if path == plain else lzma.open(path) as file:
            if source.books:
                yield from map(_flush_left, file)
            while chunk := file.read(CHUNK):
                yield chunk
    except FileNotFoundError:
        raise SourceError(f"{origin}: holds neither {plain.name} nor {packed.name}.") from None
    except (lzma.LZMAError, EOFError, ValueError, KeyError) as error:
        raise SourceError(f"{path}: truncated or damaged ({error}). Copy the file again.") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({_reason(error)}).") from None


def flush_left(text: str) -> str:
    """`text` without blanks at the beginning of lines.

    Markup is indented at its authors' whim; so rows of textbooks are compared without that.
    """
    return re.sub(r"\n +", "\n", text)


def _flush_left(line: bytes) -> bytes:
    row = json.loads(line)
    return (json.dumps(row | {"text": flush_left(row["text"])}, ensure_ascii=False) + "\n").encode()


def choose(names: Sequence[str], known: Mapping[str, Source] | None = None) -> list[Source]:
    """The sources called `names`, by default all, of `known` (default: those to train on).

    Raises SourceError for an unknown name.
    """
    known = manifest() if known is None else known
    for name in names:
        if name not in known:
            raise SourceError(f"{name}: no such source; there are {', '.join(known)}.")
    return [known[name] for name in names or known]


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "the disk is full; free space or choose another folder"
    return error.strerror or str(error)
