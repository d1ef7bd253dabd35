"""From nothing to shards: what is missing or out of date is made, in order, the rest is kept.

sources/*.jsonl → corpus/*.jsonl → tokenizer.json → shards/*.bin
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cabinos.train import sources
from cabinos.train.corpus import build_corpus, excluded, is_current
from cabinos.train.errors import CorpusError
from cabinos.train.shards import Shard, make_tokenizer, open_shards, pack_shards
from cabinos.train.sources import Progress, Source
from cabinos.train.upstream import GitHub, from_repository

__all__ = ["get_sources", "prepare"]

Tell = Callable[[str], None]


def get_sources(
    folder: Path,
    names: Sequence[str] = (),
    *,
    origin: Path | None = None,
    hub: GitHub | None = None,
    progress: Progress | None = None,
    known: Mapping[str, Source] | None = None,
) -> list[Source]:
    """Bring the named sources (default: all) into `folder`; returns those that were not there yet.

    `known` are those to choose from, by default all that are trained on. They come from the folder
    `origin`, or else from their repositories. Raises SourceError.
    """
    fetched = []
    for source in sources.choose(names, known):
        if sources.is_complete(source, folder):
            continue
        if origin is not None:
            rows = sources.from_folder(source, origin)
        else:
            rows = from_repository(source, folder / "downloads", hub or GitHub(), progress)
        sources.store(source, folder, rows, progress)
        shutil.rmtree(folder / "downloads" / source.name, ignore_errors=True)
        fetched.append(source)
    return fetched


def prepare(folder: Path, tell: Tell | None = None) -> list[Shard]:
    """Corpus, tokenizer and shards from the sources in `folder`; what is up to date stays.

    Raises SourceError if a source is missing.
    """
    recipe = _recipe()
    if not is_current(folder, recipe):
        build_corpus(folder, recipe, tell)
        (folder / "tokenizer.json").unlink(missing_ok=True)
    if not (folder / "tokenizer.json").is_file():
        make_tokenizer(folder, tell)
    try:
        shards = open_shards(folder)
    except CorpusError:
        shards = pack_shards(folder, tell)
    return shards


def _recipe() -> str:
    """What the corpus depends on besides the code: the sources and the exclusions."""
    digest = hashlib.sha256()
    for source in sources.manifest().values():
        digest.update(f"{source.name} {source.domain} {source.sha256}\n".encode())
    for paragraph in sorted(excluded()):
        digest.update(paragraph)
    return digest.hexdigest()
