"""What is in the data folder: bytes, tokens, licences, what was left out, and the overlap report.

A dictionary that goes to JSON as it is.
"""

from pathlib import Path
from typing import Any

from cabinos.train.config import MIX
from cabinos.train.corpus import domains, read_report, read_texts
from cabinos.train.overlap import find_overlap, read_measured
from cabinos.train.shards import open_shards
from cabinos.train.sources import manifest

__all__ = ["report"]


def report(folder: Path, against: Path | None = None) -> dict[str, Any]:
    """The report on `folder`; with `against`, also 13-grams shared with the texts in that folder.

    Raises CorpusError if the folder is not prepared.
    """
    pinned = manifest()
    facts: dict[str, Any] = {
        "sources": [
            vars(entry) | {"repository": pinned[name].repository, "commit": pinned[name].commit}
            for name, entry in read_report(folder).items()
        ],
        "domains": _domains(folder),
    }
    if against is not None:
        facts["overlap"] = _overlap(folder, against)
    return facts


def _domains(folder: Path) -> list[dict[str, Any]]:
    shards = {(shard.domain, shard.split): shard for shard in open_shards(folder)}
    rows = []
    for domain in domains(folder):
        train, held = shards[domain, "train"], shards[domain, "held"]
        rows.append({
            "domain": domain,
            "train_tokens": train.tokens,
            "held_tokens": held.tokens,
            "train_bytes": train.bytes,
            "bytes_per_token": train.bytes / max(train.tokens, 1),
            "share": MIX.get(domain, 0.0),
        })  # fmt: skip
    return rows


def _overlap(folder: Path, against: Path) -> list[dict[str, Any]]:
    measured = read_measured(against)
    rows = []
    for domain in domains(folder):
        found = find_overlap(read_texts(folder, domain, "train"), measured)
        rows.append({
            "domain": domain,
            "windows": found.windows,
            "matches": sum(found.matches.values()),
            "measured_sets": ", ".join(f"{n} {c}" for n, c in sorted(found.matches.items())) or "-",
            "paragraphs": sorted(digest.hex() for digest in found.digests),
        })  # fmt: skip
    return rows
