"""Shards: the corpus as token ids, one flat uint16 file for each domain and split.

`<folder>/shards/<domain>-<split>.bin` is every document's ids, each document behind one
end-of-text token, in an order shuffled by a fixed seed. `index.json` says what is in them and
which tokenizer made them. They are memory-mapped: a run reads only what it trains on.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cabinos.train.config import MIX
from cabinos.train.corpus import SPLITS, domains, read_texts
from cabinos.train.errors import CorpusError
from cabinos.train.tokenizer import END_OF_TEXT, encoder, open_tokenizer, sample, train

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Shard", "make_tokenizer", "open_shards", "pack_shards", "tokens_of"]

BATCH = 64  # documents encoded at once
SAMPLE = 24_000_000  # characters the tokenizer learns from
SEED = 1

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Shard:
    """One file of tokens. `bytes` is the UTF-8 length of its texts, for bits per byte."""

    domain: str
    split: str
    tokens: int
    documents: int
    bytes: int


def make_tokenizer(folder: Path, tell: Tell | None = None) -> "Tokenizer":
    """Train the tokenizer on the corpus in `folder`, and keep it as `<folder>/tokenizer.json`."""
    if tell is not None:
        tell("training the tokenizer")
    texts = [(MIX.get(d, 0.0), read_texts(folder, d, "train")) for d in domains(folder)]
    tokenizer = train(sample(texts, SAMPLE))
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def pack_shards(folder: Path, tell: Tell | None = None) -> list[Shard]:
    """Encode the corpus in `folder` with its tokenizer. Returns the index.

    Raises CorpusError if corpus or tokenizer are missing, OSError if the disk is full.
    """
    tokenizer = open_tokenizer(folder / "tokenizer.json")
    if tokenizer.get_vocab_size() > 2**16:
        raise CorpusError(f"{folder}: more than 65,536 tokens do not fit a uint16 shard.")
    plain, end = encoder(tokenizer), tokenizer.token_to_id(END_OF_TEXT)
    assert end is not None
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    shards = []
    for domain in domains(folder):
        for split in SPLITS:
            if tell is not None:
                tell(f"packing {domain} ({split})")
            texts = list(read_texts(folder, domain, split))
            order = np.random.default_rng(SEED).permutation(len(texts))
            path = folder / "shards" / f"{domain}-{split}.bin"
            tokens = _write(path, (texts[i] for i in order), plain, end)
            size = sum(len(text.encode()) for text in texts)
            shards.append(Shard(domain, split, tokens, len(texts), size))
    index = {"tokenizer": _fingerprint(folder), "shards": [asdict(shard) for shard in shards]}
    (folder / "shards" / "index.json").write_text(json.dumps(index, indent=1) + "\n")
    return shards


def _write(path: Path, texts: Iterable[str], plain: "Tokenizer", end: int) -> int:
    """Encode `texts` into `path`; returns how many tokens were written."""
    partial, count = path.with_suffix(".part"), 0
    with partial.open("wb") as file:
        for batch in _batches(iter(texts)):
            for encoding in plain.encode_batch_fast(batch, add_special_tokens=False):
                ids = np.array([end, *encoding.ids], "<u2")
                file.write(ids.tobytes())
                count += len(ids)
    partial.replace(path)
    return count


def _batches(texts: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(texts, BATCH)):
        yield batch


def _fingerprint(folder: Path) -> str:
    return hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()


def open_shards(folder: Path) -> list[Shard]:
    """The index of the shards in `folder`.

    Raises CorpusError if they are missing, damaged, or were made with another tokenizer.
    """
    path = folder / "shards" / "index.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        shards = [Shard(**entry) for entry in index["shards"]]
        tokenizer = index["tokenizer"]
    except FileNotFoundError:
        raise CorpusError(
            f"{path}: not there yet. Pack the corpus first: cabin data get."
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise CorpusError(f"{path}: damaged ({error}). Run `cabin data get` again.") from None
    if tokenizer != _fingerprint(folder):
        raise CorpusError(
            f"{folder}: the shards were made with another tokenizer.json. Pack them again: "
            "cabin data get."
        )
    return shards


def tokens_of(folder: Path, shard: Shard) -> NDArray[np.uint16]:
    """The tokens of `shard`, memory-mapped: [tokens]. Raises CorpusError if the file is short."""
    path = folder / "shards" / f"{shard.domain}-{shard.split}.bin"
    if not path.is_file() or path.stat().st_size != 2 * shard.tokens:
        raise CorpusError(f"{path}: missing or cut short. Pack the corpus again: cabin data get.")
    if shard.tokens == 0:
        return np.empty(0, np.uint16)
    return np.memmap(path, "<u2", mode="r", shape=(shard.tokens,))
