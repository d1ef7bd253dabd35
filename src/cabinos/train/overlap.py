"""Which training texts share 13 words in a row with texts that are only measured.

The measure of contamination of Brown et al. 2020 (arXiv:2005.14165, appendix C): words are letters
and digits in lower case, a match is 13 equal words in a row. Every window is compared, by a 64-bit
hash, so a match can be missed only where the texts differ.
"""

import hashlib
import json
import lzma
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cabinos.train.dedup import paragraph_digest, paragraphs
from cabinos.train.errors import CorpusError

__all__ = ["Measured", "Overlap", "find_overlap", "read_measured"]

N = 13
WORD = re.compile(r"[a-z0-9]+")
BASE = np.uint64(0x9E3779B97F4A7C15)  # odd: multiplying by it loses nothing modulo 2**64

Hashes = NDArray[np.uint64]


@dataclass
class Measured:
    """The 13-grams of texts that are only measured."""

    words: dict[str, int] = field(default_factory=dict)  # word -> 64-bit hash
    grams: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))  # sorted
    owners: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    names: list[str] = field(default_factory=list)  # owner -> name of the set


@dataclass
class Overlap:
    """What was found: windows compared, and matches by measured set; the paragraphs they are in."""

    windows: int = 0
    matches: Counter[str] = field(default_factory=Counter)
    digests: set[bytes] = field(default_factory=set)


def read_measured(folder: Path) -> Measured:
    """The 13-grams of every string in the `.jsonl` and `.jsonl.xz` files of `folder`.

    Raises CorpusError if there are none, or one is damaged.
    """
    measured, grams, owners = Measured(), [], []
    for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.xz")]):
        found = [_grams(_hashes(text, measured.words, grow=True))[0] for text in _strings(path)]
        unique = np.unique(np.concatenate([np.empty(0, np.uint64), *found]))
        owners.append(np.full(len(unique), len(measured.names)))
        grams.append(unique)
        measured.names.append(path.name.split(".")[0])
    if not grams:
        raise CorpusError(f"{folder}: no .jsonl or .jsonl.xz files to compare with.")
    joined = np.concatenate(grams)
    order = np.argsort(joined, kind="stable")
    measured.grams, measured.owners = joined[order], np.concatenate(owners)[order]
    return measured


def find_overlap(texts: Iterable[str], measured: Measured) -> Overlap:
    """Compare every 13 words in a row of `texts` with `measured`."""
    result = Overlap()
    for text in texts:
        parts = paragraphs(text)
        hashes = [_hashes(part, measured.words) for part in parts]
        grams, known = _grams(np.concatenate([np.empty(0, np.uint64), *hashes]))
        result.windows += len(grams)
        candidates = np.flatnonzero(known)
        at = np.searchsorted(measured.grams, grams[candidates])
        at = np.minimum(at, len(measured.grams) - 1)
        hit = measured.grams[at] == grams[candidates]
        if not hit.any():
            continue
        result.matches.update(measured.names[owner] for owner in measured.owners[at[hit]])
        place = np.repeat(np.arange(len(parts)), [len(h) for h in hashes])
        starts = candidates[hit]
        for index in np.unique(place[starts[:, None] + np.arange(N)]):
            if (digest := paragraph_digest(parts[index])) is not None:
                result.digests.add(digest)
    return result


def _hashes(text: str, words: dict[str, int], *, grow: bool = False) -> Hashes:
    """One hash a word: [words]; 0 for a word that is not in `words`."""
    found = WORD.findall(text.lower())
    if grow:
        for word in found:
            if word not in words:
                digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
                words[word] = int.from_bytes(digest, "big") or 1
    return np.array([words.get(word, 0) for word in found], np.uint64)


def _grams(hashes: Hashes) -> tuple[Hashes, NDArray[np.bool_]]:
    """The polynomial hash of every window [words - 12], and whether it has known words only."""
    count = max(len(hashes) - N + 1, 0)
    grams, known = np.zeros(count, np.uint64), np.ones(count, np.bool_)
    for offset in range(N):
        part = hashes[offset : offset + count]
        grams = grams * BASE + part
        known &= part != 0
    return grams, known


def _strings(path: Path) -> Iterator[str]:
    try:
        with lzma.open(path, "rb") if path.suffix == ".xz" else path.open("rb") as file:
            for line in file:
                yield from _inner_strings(json.loads(line))
    except (ValueError, EOFError, lzma.LZMAError, OSError) as error:
        raise CorpusError(f"{path}: cannot be read ({error}).") from None


def _inner_strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _inner_strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _inner_strings(inner)
