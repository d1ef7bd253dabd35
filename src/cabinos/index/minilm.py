"""all-MiniLM-L6-v2, a sentence encoder, with NumPy alone: BERT's encoder, forwards only.

Devlin et al. 2018 (arXiv:1810.04805) over the attention of Vaswani et al. 2017 (arXiv:1706.03762);
six layers of 384, made a sentence encoder by the mean over tokens (Reimers and Gurevych 2019,
arXiv:1908.10084). The weights (Apache-2.0) do not come with Cabin: give the folder with
`model.safetensors` and `tokenizer.json`.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cabinos.index.errors import SearchError

__all__ = ["MiniLM"]

WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # SHA-256
HEADS, LAYERS, WIDTH = 12, 6, 384
EPSILON = 1e-12  # of its layer norms
TOKENS = 1024  # tokens that go through at once: their activations stay in the cache
LONGEST = 256  # tokens of a text; what follows is not read, as with sentence-transformers

Floats = NDArray[np.float32]


class MiniLM:
    """The model, read from a folder."""

    name = "all-MiniLM-L6-v2"
    width = WIDTH
    batch = 32
    near = 0.25

    def __init__(self, folder: Path) -> None:
        """Raises SearchError if the files are missing, damaged or others."""
        from tokenizers import Tokenizer

        self._weights = _read(folder / "model.safetensors")
        vocabulary = folder / "tokenizer.json"
        if not vocabulary.is_file():
            raise SearchError(f"{vocabulary}: no such file; {self.name} needs it.")
        try:
            self._tokenizer = Tokenizer.from_file(str(vocabulary))
        except Exception as error:  # the library raises nothing more particular
            raise SearchError(f"{vocabulary}: cannot be read: {error}.") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(LONGEST)

    def encode(self, texts: Sequence[str]) -> Floats:
        """A vector of length 1 for each text: (len(texts), 384)."""
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        return self.encode_ids(ids)

    def encode_ids(self, ids: Sequence[Sequence[int]]) -> Floats:
        """The same for texts that are tokens already, with [CLS] and [SEP]."""
        vectors = np.empty((len(ids), WIDTH), np.float32)
        order = sorted(range(len(ids)), key=lambda at: len(ids[at]))  # little padding
        start = 0
        while start < len(order):
            end = start + 1
            while end < len(order) and (end + 1 - start) * len(ids[order[end]]) <= TOKENS:
                end += 1
            x, mask = self.hidden([ids[at] for at in order[start:end]])
            mean = np.einsum("btd,bt->bd", x, mask) / mask.sum(1, keepdims=True)
            vectors[order[start:end]] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
            start = end
        return vectors

    def hidden(self, ids: Sequence[Sequence[int]]) -> tuple[Floats, Floats]:
        """What the last layer says of each token, (texts, longest, 384), and 1 where one is."""
        w = self._weights
        longest = max(map(len, ids))
        tokens = np.zeros((len(ids), longest), np.int64)
        mask: Floats = np.zeros((len(ids), longest), np.float32)
        for row, sequence in enumerate(ids):
            tokens[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        bias = ((mask - 1) * np.float32(1e9))[:, None, None, :]  # no attention to padding
        x = w["embeddings.word_embeddings.weight"][tokens]
        x += w["embeddings.position_embeddings.weight"][:longest]
        x += w["embeddings.token_type_embeddings.weight"][0]
        x = self._norm(x, "embeddings.LayerNorm")
        for layer in range(LAYERS):
            at = f"encoder.layer.{layer}."
            mixed = self._attend(x, bias, at + "attention.self.")
            x = self._norm(
                x + self._linear(mixed, at + "attention.output.dense"),
                at + "attention.output.LayerNorm",
            )
            inner = _gelu(self._linear(x, at + "intermediate.dense"))
            x = self._norm(x + self._linear(inner, at + "output.dense"), at + "output.LayerNorm")
        return x, mask

    def _attend(self, x: Floats, bias: Floats, at: str) -> Floats:
        """Softmax(Q Kᵀ / √d + bias) V, for all heads."""
        batch, length, _ = x.shape

        def heads(name: str) -> Floats:
            y = self._linear(x, at + name).reshape(batch, length, HEADS, WIDTH // HEADS)
            return np.ascontiguousarray(y.transpose(0, 2, 1, 3))

        scores: Floats = heads("query") @ heads("key").transpose(0, 1, 3, 2)
        scores *= np.float32((WIDTH // HEADS) ** -0.5)
        scores += bias
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(-1, keepdims=True)
        mixed: Floats = scores @ heads("value")
        return mixed.transpose(0, 2, 1, 3).reshape(batch, length, WIDTH)

    def _linear(self, x: Floats, name: str) -> Floats:
        flat = x.reshape(-1, x.shape[-1]) @ self._weights[name + ".weight"].T
        flat += self._weights[name + ".bias"]
        return flat.reshape(*x.shape[:-1], -1)

    def _norm(self, x: Floats, name: str) -> Floats:
        x = x - x.mean(-1, keepdims=True)
        x /= np.sqrt(np.einsum("btd,btd->bt", x, x)[..., None] / WIDTH + np.float32(EPSILON))
        x *= self._weights[name + ".weight"]
        x += self._weights[name + ".bias"]
        return x


def _gelu(x: Floats) -> Floats:
    """Φ(x) times x, with erf by formula 7.1.26 of Abramowitz and Stegun, within 1.5e-7."""
    z = np.abs(x)
    z *= np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(0.3275911) * z)
    poly = np.full_like(t, 1.061405429)
    for c in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        poly *= t
        poly += np.float32(c)
    poly *= t
    np.multiply(z, -z, out=z)
    poly *= np.exp(z, out=z)  # 1 - erf(|x| / √2)
    half: Floats = x * np.float32(0.5)
    half += np.abs(half) * (1 - poly)
    return half


def _read(path: Path) -> dict[str, Floats]:
    """The float32 tensors of the file, by name: a JSON header behind its length, then the bytes.

    Only the one file that Cabin knows is read, so its header needs no suspicion. Raises SearchError
    if it is another or missing.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise SearchError(f"{path}: no such file; {MiniLM.name} needs it.") from None
    except OSError as error:
        raise SearchError(f"{path}: cannot be read: {error.strerror}.") from error
    if hashlib.sha256(data).hexdigest() != WEIGHTS:
        raise SearchError(f"{path}: not the weights of {MiniLM.name} that Cabin knows.")
    base = 8 + int.from_bytes(data[:8], "little")
    tensors: dict[str, Floats] = {}
    for name, entry in json.loads(data[8:base]).items():
        if entry.get("dtype") == "F32":
            begin, end = entry["data_offsets"]
            flat = np.frombuffer(data, "<f4", (end - begin) // 4, base + begin)
            tensors[name] = flat.reshape(entry["shape"])
    return tensors
