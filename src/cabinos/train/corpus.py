"""The corpus: every document of the sources, cleaned, without copies, split by whole groups.

It is kept as `<folder>/corpus/<domain>-<split>.jsonl`, one {"source", "group", "text"} a line.
A group (a book, a file) is trained on or held out as a whole; which, is decided by a hash of its
name, or named in the manifest. Paragraphs that occur in held-out groups, or that share 13 words in
a row with a text that is only measured (`excluded.txt`, see `overlap.py`), are taken out of what is
trained on.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from cabinos.train.dedup import Seen, paragraph_digest, paragraphs
from cabinos.train.documents import Document, documents
from cabinos.train.errors import CorpusError
from cabinos.train.sources import Source, manifest, rows

__all__ = [
    "CorpusReport",
    "SourceReport",
    "build_corpus",
    "is_current",
    "is_held_out",
    "read_texts",
]

HELD_OUT_ONE_IN = 50  # groups, where the manifest names none
SPLITS = ("train", "held")


@dataclass
class SourceReport:
    """What became of one source."""

    source: str
    domain: str
    licence: str
    documents: int = 0
    copies: int = 0  # documents left out because they repeat others
    removed_paragraphs: int = 0  # for being measured on, or held out elsewhere
    train_bytes: int = 0  # UTF-8
    held_bytes: int = 0


CorpusReport = dict[str, SourceReport]
Tell = Callable[[str], None]


def build_corpus(folder: Path, recipe: str, tell: Tell | None = None) -> CorpusReport:
    """Write the corpus of all sources that have a domain; returns the report, by source.

    `recipe` stands for what it is made from (see `is_current`).

    Raises SourceError if a source is missing or damaged, OSError if the disk is full.
    """
    sources = [source for source in manifest().values() if source.domain is not None]
    found: list[tuple[Source, bool, Document]] = []
    for source in sources:
        if tell is not None:
            tell(f"reading {source.name}")
        found += [
            (source, is_held_out(source, document.group), document)
            for document in documents(source.name, rows(source, folder))
        ]
    report = {s.name: SourceReport(s.name, str(s.domain), s.licence) for s in sources}
    seen, forbidden = Seen(), set(excluded())
    texts: dict[tuple[str, str], list[dict[str, str]]] = {}
    for source, held, document in sorted(found, key=lambda item: not item[1]):  # held out first
        facts = report[source.name]
        if seen.is_copy(document.text):
            facts.copies += 1
            continue
        text = document.text
        if held:
            forbidden.update(d for p in paragraphs(text) if (d := paragraph_digest(p)))
            facts.held_bytes += len(text.encode())
        else:
            kept = [p for p in paragraphs(text) if paragraph_digest(p) not in forbidden]
            facts.removed_paragraphs += len(paragraphs(text)) - len(kept)
            text = "\n\n".join(kept)
            facts.train_bytes += len(text.encode())
        facts.documents += 1
        line = {"source": source.name, "group": document.group, "text": text}
        texts.setdefault((str(source.domain), SPLITS[held]), []).append(line)
    _write(folder / "corpus", texts, report, recipe)
    return report


def is_held_out(source: Source, group: str) -> bool:
    """Whether `group` of `source` is kept from training. The same on every machine."""
    if source.held_out:
        return group in source.held_out
    digest = hashlib.blake2b(f"{source.name}/{group}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % HELD_OUT_ONE_IN == 0


@cache
def excluded() -> frozenset[bytes]:
    """Digests of the paragraphs that overlap with texts that are only measured."""
    text = files("cabinos.train").joinpath("excluded.txt").read_text(encoding="ascii")
    return frozenset(bytes.fromhex(line) for line in text.split())


def _write(
    folder: Path,
    texts: dict[tuple[str, str], list[dict[str, str]]],
    report: CorpusReport,
    recipe: str,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for (domain, split), lines in texts.items():
        partial = folder / f"{domain}-{split}.part"
        with partial.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        partial.replace(folder / f"{domain}-{split}.jsonl")
    facts = {"recipe": recipe, "sources": [asdict(entry) for entry in report.values()]}
    text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")


def is_current(folder: Path, recipe: str) -> bool:
    """Whether the corpus in `folder` was made by `recipe`."""
    try:
        text = (folder / "corpus" / "report.json").read_text(encoding="utf-8")
        return bool(json.loads(text)["recipe"] == recipe)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_report(folder: Path) -> CorpusReport:
    """The report that `build_corpus` wrote. Raises CorpusError if there is none."""
    path = folder / "corpus" / "report.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return {entry["source"]: SourceReport(**entry) for entry in facts["sources"]}
    except FileNotFoundError:
        raise CorpusError(
            f"{path}: not there yet. Make the corpus first: cabin data get."
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise CorpusError(f"{path}: damaged ({error}). Run `cabin data get` again.") from None


def domains(folder: Path) -> list[str]:
    """The domains of the corpus, by size of what is trained on, largest first."""
    sizes: Counter[str] = Counter()
    for entry in read_report(folder).values():
        sizes[entry.domain] += entry.train_bytes
    return [domain for domain, _ in sizes.most_common()]


def read_texts(folder: Path, domain: str, split: str) -> Iterator[str]:
    """The texts of a domain, in the order they were written; none if the split is empty.

    Raises CorpusError if a line is damaged.
    """
    path = folder / "corpus" / f"{domain}-{split}.jsonl"
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                yield json.loads(line)["text"]
            except (ValueError, KeyError, TypeError) as error:
                raise CorpusError(
                    f"{path}, line {number}: damaged ({error}). Run `cabin data get` again."
                ) from None
