"""The small sentence encoder in the box: a vector for each word piece; a text is their mean.

Potion-style static embeddings: distilled from all-MiniLM-L6-v2 and fitted to find paragraphs by
`tools/static_vectors.py`, which says how. Word order is lost and a text costs a microsecond a word.
"""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

import numpy as np
from numpy.typing import NDArray

from cabinos.index.errors import SearchError

__all__ = ["StaticEncoder", "built_in"]

LONGEST = 512  # pieces of a text; what follows is not read
CHARACTERS = 8 * LONGEST  # of it that are looked at
BATCH = 1024  # texts at once

Floats = NDArray[np.float32]


class StaticEncoder:
    """The table and the pieces, read from a folder."""

    batch = 2000

    def __init__(self, folder: Traversable) -> None:
        """Raises SearchError if a file is missing or is not what the manifest says."""
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

        try:
            manifest = json.loads(folder.joinpath("manifest.json").read_text(encoding="utf-8"))
            rows = _array(folder, "vectors.npy")
            scales = _array(folder, "scales.npy")
            pieces = folder.joinpath("pieces.txt").read_text(encoding="utf-8").split("\n")[:-1]
            if not len(rows) == len(scales) == len(pieces):
                raise ValueError(f"{len(rows)} vectors for {len(pieces)} pieces")
            self.near = float(manifest["near"])
            self.name = f"static-{manifest['sha256']['vectors.npy'][:16]}"
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SearchError(
                f"{folder}: the word vectors are damaged ({error}). Install cabinos again."
            ) from error
        self.width = rows.shape[1]
        self._table: Floats = rows.astype(np.float32) * scales.astype(np.float32)[:, None]
        vocabulary = {piece: number for number, piece in enumerate(pieces)}
        self._tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106
        self._tokenizer.normalizer = normalizers.BertNormalizer()
        self._tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    def encode(self, texts: Sequence[str]) -> Floats:
        """A vector of length 1 for each text, 0 for one without words: (len(texts), width)."""
        vectors = np.zeros((len(texts), self.width), np.float32)
        for start in range(0, len(texts), BATCH):
            part = [text[:CHARACTERS] for text in texts[start : start + BATCH]]
            lists = [one.ids[:LONGEST] for one in self._tokenizer.encode_batch_fast(part)]
            lengths = np.array([len(ids) for ids in lists])
            some = np.flatnonzero(lengths)
            if not len(some):
                continue
            pieces = np.concatenate([np.asarray(lists[at], np.int64) for at in some])
            begins = np.cumsum(lengths[some]) - lengths[some]
            vectors[start + some] = np.add.reduceat(self._table[pieces], begins)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        return vectors


@cache
def built_in() -> StaticEncoder:
    """The encoder that comes with Cabin."""
    return StaticEncoder(files("cabinos.index").joinpath("static"))


def _array(folder: Traversable, name: str) -> NDArray[np.generic]:
    with folder.joinpath(name).open("rb") as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
