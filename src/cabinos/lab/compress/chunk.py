"""One chunk of a file: bytes to a packed chunk and back, each chunk by itself.

A chunk is packed by the model if it reads as text, by LZMA if that is shorter, or stored.
"""

import lzma
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cabinos.lab.compress.errors import CompressError
from cabinos.lab.compress.mixer import Mixer
from cabinos.lab.compress.predictor import Lane, Predictor
from cabinos.lab.compress.rangecoder import Coder, Decoder, Encoder, Meter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LZMA", "MODEL", "STORED", "Told", "code", "pace", "pack", "reads_as_text", "unpack"]

STORED, LZMA, MODEL = 0, 1, 2  # how a chunk is packed
DULL = 48  # text that LZMA makes so many times smaller is not worth the model's time
FOREIGN = 16  # one byte in so many may be no text

SAMPLE = (
    "It was late in the afternoon when they came to the house by the river. Nobody had lived in it "
    "for years, and the garden went down to the water as it pleased. In 1848 a railway was planned "
    "here; of the 12 miles that were measured, not one was built."
)

Told = Callable[[int], None]  # bytes done


def pack(data: bytes, predictor: Predictor, *, adapt: bool, told: Told) -> tuple[int, bytes]:
    """(method, packed bytes) of one chunk."""
    best = STORED, data
    squeezed = lzma.compress(data, lzma.FORMAT_RAW, filters=_filters(len(data)))
    if len(squeezed) < len(data):
        best = LZMA, squeezed
    if reads_as_text(data) and len(best[1]) * DULL > len(data):
        encoder = Encoder()
        code(data, predictor, encoder, adapt=adapt, told=told)
        if len(packed := encoder.finish()) < len(best[1]):
            best = MODEL, packed
    else:
        told(len(data))
    return best


def code(
    data: bytes,
    predictor: Predictor,
    coder: Coder,
    *,
    adapt: bool,
    told: Told,
    after: Callable[[int, "NDArray[np.int64]"], None] | None = None,
) -> None:
    """Code `data` with any coder; `after` gets each leaf once it is coded, and its odds."""
    leaves = predictor.speller.spell(data)
    words = predictor.speller.words
    mixer = Mixer(len(words), len(data)) if adapt else None
    at = 0
    for block in predictor.sums(leaves):
        done = 0
        for row in block:
            leaf = leaves[at]
            predictor.tree.walk(row.data, coder, mixer, leaf)
            if mixer is not None:
                mixer.follow(leaf)
            if after is not None:
                after(leaf, row)
            done += len(words[leaf])
            at += 1
        told(done)


@dataclass(slots=True)
class _Open:
    """A chunk that is being unpacked by the model."""

    number: int
    size: int
    lane: Lane
    decoder: Decoder
    mixer: Mixer | None
    data: bytearray


def pace(predictor: Predictor, *, adapt: bool) -> float:
    """Bytes a second that this machine packs now, measured on a few sentences."""
    sample = SAMPLE.encode()
    began = time.perf_counter()
    code(sample, predictor, Meter(), adapt=adapt, told=lambda _: None)
    return len(sample) / (time.perf_counter() - began)


def unpack(
    chunks: Sequence[tuple[int, int, bytes]],
    predictor: Predictor | None,
    *,
    adapt: bool,
    told: Told,
) -> list[bytes]:
    """The bytes of chunks (method, size, packed), those of the model side by side.

    Damaged ones give other bytes, which the caller must check. Raises CompressError if what is
    packed cannot be read at all.
    """
    results = [b""] * len(chunks)
    with ExitStack() as stack:
        lanes: list[_Open] = []
        for number, (method, size, packed) in enumerate(chunks):
            if method == MODEL:
                assert predictor is not None
                lane = predictor.lane()
                stack.callback(lane.sequence.free)
                mixer = Mixer(len(predictor.speller.words), size) if adapt else None
                lanes.append(_Open(number, size, lane, Decoder(packed), mixer, bytearray()))
            else:
                results[number] = packed if method == STORED else _lzma(packed, size)
                told(size)
        while lanes:
            assert predictor is not None
            told(_step(lanes, predictor))
            for lane_ in [lane_ for lane_ in lanes if len(lane_.data) >= lane_.size]:
                results[lane_.number] = bytes(lane_.data)
                lanes.remove(lane_)
    return results


def _step(lanes: Sequence[_Open], predictor: Predictor) -> int:
    """One more token in each lane; the bytes they stand for."""
    done = 0
    for open_, row in zip(lanes, predictor.next_sums([o.lane for o in lanes]), strict=True):
        leaf = predictor.tree.walk(row.data, open_.decoder, open_.mixer)
        if open_.mixer is not None:
            open_.mixer.follow(leaf)
        open_.lane.leaves.append(leaf)
        open_.data += predictor.speller.words[leaf]
        done += len(predictor.speller.words[leaf])
    return done


def reads_as_text(data: bytes) -> bool:
    """Whether most of it is UTF-8 without control characters."""
    text = data.decode(errors="replace")
    foreign = text.count("\ufffd") + sum(map(data.count, b"\0\1\2\3\4\5\6\7"))
    return foreign * FOREIGN <= len(data) and bool(data)


def _filters(size: int) -> list[dict[str, Any]]:
    return [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": max(4096, size)}]


def _lzma(packed: bytes, size: int) -> bytes:
    try:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_filters(size))
        return decoder.decompress(packed, size + 1)
    except (lzma.LZMAError, EOFError) as error:
        raise CompressError(f"a chunk is damaged ({error}).") from None
