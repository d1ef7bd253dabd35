"""`Model` and `Sequence`: the engine as Python sees it. One ragged `forward` does all the work."""

import ctypes
import hashlib
import os
import struct
from array import array
from collections.abc import Sequence as Items
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from cabinos.engine.closing import Closing
from cabinos.engine.errors import InvalidRequest
from cabinos.engine.library import FACTS, library, raise_error

Logits = Literal["none", "last", "all"]
FloatArray = NDArray[np.float32]

_WANT: dict[str, int] = {"none": 0, "last": 1, "all": 2}
_SAVED = struct.Struct("<8sQIIQ")  # magic, model fingerprint, tokens, token bytes, page bytes
_MAGIC = b"cabinkv1"


class Model(Closing):
    """An open GGUF model: its weights, its threads and its pool of KV pages.

    Args:
        path: a GGUF file of a Llama-family model.
        threads: compute threads; default: the CPUs this process may use (affinity and quota).
        kv_tokens: capacity of the KV pool in positions, over all sequences; default: one context.
        kv_type: how keys and values are kept; "f32" doubles the memory and drops the rounding.
        cache: keep the repacked weights in `<path>.strips`, so that the next start only maps them.

    Raises:
        ModelFileError, UnsupportedModel, OutOfMemory: with what is wrong and where.
    """

    architecture: str
    vocab_size: int
    context_length: int
    embedding_length: int
    layer_count: int
    head_count: int
    kv_head_count: int
    head_length: int
    threads: int
    page_tokens: int
    pages_total: int
    page_bytes: int
    fingerprint: int

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int | None = None,
        kv_tokens: int | None = None,
        kv_type: Literal["bf16", "f32"] = "bf16",
        cache: bool = True,
    ) -> None:
        self._handle: int | None = None
        if (threads is not None and threads < 1) or (kv_tokens is not None and kv_tokens < 1):
            raise InvalidRequest("threads and kv_tokens must be positive")
        if kv_type not in ("bf16", "f32"):
            raise InvalidRequest(f"kv_type must be 'bf16' or 'f32', not {kv_type!r}")
        self.path = Path(path)
        self._library = library()
        self._handle = self._library.cabin_open(
            os.fsencode(self.path), threads or 0, kv_tokens or 0, kv_type == "f32", cache
        )
        if not self._handle:
            raise_error()
        facts = (ctypes.c_int64 * len(FACTS))()
        self._library.cabin_facts(self._handle, facts)
        for name, value in zip(FACTS, facts, strict=True):
            setattr(self, name, int(value))

    @property
    def pages_free(self) -> int:
        """KV pages not held by any sequence."""
        return int(self._library.cabin_pages_free(self._open()))

    def sequence(self) -> "Sequence":
        """A new, empty sequence."""
        return Sequence(self, self._library.cabin_sequence(self._open()), [])

    def forward(
        self,
        batch: Items[tuple["Sequence", Items[int]]],
        *,
        logits: Logits | Items[Logits] = "last",
    ) -> list[FloatArray | None]:
        """Appends tokens to sequences in one ragged step.

        Args:
            batch: (sequence, tokens to append) pairs; a sequence occurs at most once.
            logits: which tokens' logits are wanted, for all items or one by one.

        Returns:
            For each item None, logits [vocab] ("last") or [tokens, vocab] ("all"). They are
            bit-identical however the tokens are batched, cut into steps or threaded.

        Raises:
            OutOfPages, ContextOverflow, InvalidRequest: and no sequence has changed.
        """
        kinds = [logits] * len(batch) if isinstance(logits, str) else list(logits)
        if len(kinds) != len(batch) or not set(kinds) <= set(_WANT):
            raise InvalidRequest("logits must be 'none', 'last' or 'all', or one of these per item")
        rows = self._run(batch, kinds, hidden=False)
        results: list[FloatArray | None] = []
        start = 0
        for (_, tokens), kind in zip(batch, kinds, strict=True):
            count = {"none": 0, "last": 1, "all": len(tokens)}[kind]
            part = rows[start : start + count]
            results.append(None if kind == "none" else part[0] if kind == "last" else part)
            start += count
        return results

    def hidden_states(self, tokens: Items[int]) -> FloatArray:
        """Final hidden states, after the output norm, of a text by itself: [tokens, embedding]."""
        with self.sequence() as sequence:
            return self._run([(sequence, tokens)], ["all"], hidden=True)

    def embed(self, tokens: Items[int], *, pooling: Literal["mean", "last"] = "mean") -> FloatArray:
        """A text's embedding: pooled hidden states scaled to unit length, [embedding_length]."""
        if pooling not in ("mean", "last"):
            raise InvalidRequest(f"pooling must be 'mean' or 'last', not {pooling!r}")
        states = self.hidden_states(tokens)
        pooled: FloatArray = states.mean(axis=0) if pooling == "mean" else states[-1]
        norm = np.float32(np.linalg.norm(pooled))
        return pooled / norm if norm else pooled

    def restore(self, data: bytes) -> "Sequence":
        """The sequence that `Sequence.save` wrote, ready to go on with identical logits.

        Raises:
            InvalidRequest: the bytes are damaged, or come from another model or KV type.
            OutOfPages: the pool has no room for it.
        """
        body, digest = data[:-16], data[-16:]
        if len(body) < _SAVED.size or hashlib.blake2b(body, digest_size=16).digest() != digest:
            raise InvalidRequest("the saved sequence is truncated or damaged")
        magic, fingerprint, count, token_bytes, page_bytes = _SAVED.unpack_from(body)
        if magic != _MAGIC or fingerprint != self._identity() or page_bytes != self.page_bytes:
            raise InvalidRequest("the saved sequence belongs to another model or KV type")
        at = _SAVED.size + token_bytes
        tokens = np.frombuffer(body, np.int32, count, _SAVED.size)
        sequence = self.sequence()
        if self._library.cabin_extend(sequence._open(), count, 1):
            sequence.free()
            raise_error()
        sequence.tokens = tokens.tolist()
        pages = np.frombuffer(body, np.uint8, offset=at)
        self._library.cabin_copy_pages(sequence._open(), pages.ctypes.data, 1)
        return sequence

    def close(self) -> None:
        """Stops the threads and unmaps the weights; sequences must not be used afterwards."""
        handle, self._handle = self._handle, None
        if handle:
            self._library.cabin_close(handle)

    def __del__(self) -> None:
        self.close()

    def _open(self) -> int:
        if self._handle is None:
            raise InvalidRequest("the model is closed")
        return self._handle

    def _identity(self) -> int:
        return self.fingerprint & 0xFFFFFFFFFFFFFFFF

    def _run(
        self, batch: Items[tuple["Sequence", Items[int]]], kinds: Items[str], *, hidden: bool
    ) -> FloatArray:
        """One call of the engine; the rows wanted, in the order of the batch."""
        count = len(batch)
        counts = [len(tokens) for _, tokens in batch]
        handles = (ctypes.c_void_p * count)(*[sequence._open() for sequence, _ in batch])
        try:
            tokens = array("i")
            for _, items in batch:
                tokens.extend(items)
        except (OverflowError, TypeError) as error:
            raise InvalidRequest(f"tokens must be vocabulary ids: {error}") from None
        want = [_WANT[kind] for kind in kinds]
        rows = sum((0, 1, length)[what] for what, length in zip(want, counts, strict=True))
        out = np.empty((rows, self.embedding_length if hidden else self.vocab_size), np.float32)
        if count and self._library.cabin_forward(
            self._open(),
            count,
            handles,
            (ctypes.c_int * count)(*counts),
            tokens.buffer_info()[0],
            bytes(want),
            hidden,
            out.ctypes.data,
        ):
            raise_error()
        start = 0
        for (sequence, _), length in zip(batch, counts, strict=True):
            sequence.tokens.extend(tokens[start : start + length])
            start += length
        return out


class Sequence:
    """Tokens and their keys and values in the model's page pool."""

    def __init__(self, model: Model, handle: int | None, tokens: list[int]) -> None:
        """Use `Model.sequence`, `Sequence.fork` or `Model.restore`."""
        if not handle:
            raise_error()
        self.model = model
        self.tokens = tokens
        self._handle = handle

    def __len__(self) -> int:
        return len(self.tokens)

    def feed(self, tokens: Items[int], *, logits: Logits = "last") -> FloatArray | None:
        """Appends tokens; see `Model.forward`, of which this is the case of one sequence."""
        return self.model.forward([(self, tokens)], logits=logits)[0]

    def fork(self) -> "Sequence":
        """A copy that shares every page until one of the two writes to its last one."""
        handle = self.model._library.cabin_fork(self._open())
        return Sequence(self.model, handle, self.tokens.copy())

    def truncate(self, length: int) -> None:
        """Forgets all but the first `length` tokens; pages left empty go back to the pool."""
        if not 0 <= length <= len(self.tokens):
            raise InvalidRequest(f"cannot truncate {len(self.tokens)} tokens to {length}")
        self.model._library.cabin_truncate(self._open(), length)
        del self.tokens[length:]

    def save(self) -> bytes:
        """Tokens, keys and values as bytes, with a checksum; `Model.restore` takes them back."""
        pages = -(-len(self.tokens) // self.model.page_tokens)
        tokens = np.array(self.tokens, np.int32).tobytes()
        header = _SAVED.pack(
            _MAGIC, self.model._identity(), len(self.tokens), len(tokens), self.model.page_bytes
        )
        body = bytearray(len(header) + len(tokens) + pages * self.model.page_bytes)
        body[: len(header) + len(tokens)] = header + tokens
        if pages:
            view = np.frombuffer(body, np.uint8, offset=len(header) + len(tokens))
            self.model._library.cabin_copy_pages(self._open(), view.ctypes.data, 0)
            del view
        return bytes(body) + hashlib.blake2b(body, digest_size=16).digest()

    def free(self) -> None:
        """Returns the pages to the pool; harmless when called again."""
        handle, self._handle = self._handle, None
        if handle and self.model._handle:
            self.model._library.cabin_free(handle)
        self.tokens = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.free()

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self.free()

    def _open(self) -> int:
        if self._handle is None:
            raise InvalidRequest("the sequence was freed")
        self.model._open()
        return self._handle
