"""Whole files: read, packed and written chunk by chunk, in bounded memory."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from cabinos.lab.compress.chunk import MODEL, Told, pack, unpack
from cabinos.lab.compress.container import Chunk, Header, Reader, Writer
from cabinos.lab.compress.errors import CompressError
from cabinos.lab.compress.predictor import Predictor, digest

__all__ = ["LANES", "Opener", "compress", "decompress", "open_for"]

LANES = 8  # chunks that are unpacked side by side

Opener = Callable[[bytes], Predictor]  # the model of an identity


def compress(
    source: BinaryIO,
    target: BinaryIO,
    predictor: Predictor,
    *,
    chunk: int,
    adapt: bool = True,
    told: Told = lambda _: None,
) -> tuple[int, int]:
    """Pack `source` into `target`; (bytes read, bytes written).

    `chunk`: bytes that are packed by themselves: fewer make unpacking more parallel, more teach the
    mixer better.
    """
    header = Header(chunk, adapt, predictor.identity, predictor.probe())
    writer, read = Writer(target, header), 0
    for data in pieces(source, chunk):
        method, packed = pack(data, predictor, adapt=adapt, told=told)
        writer.chunk(method, data, packed)
        read += len(data)
    writer.finish()
    return read, writer.written


def decompress(
    source: BinaryIO,
    target: BinaryIO,
    opener: Opener,
    *,
    name: str,
    told: Told = lambda _: None,
    lanes: int = LANES,
) -> int:
    """Unpack `source` into `target`; bytes written. `opener` is called if a chunk needs the model.

    Raises CompressError if the file is damaged, or this is not the model, or not the engine, that
    packed it. What has been written until then is right, but not all.
    """
    reader = Reader(source, name)
    chunks = reader.chunks()
    predictor: Predictor | None = None
    written = 0
    try:
        while batch := list(islice(chunks, lanes)):
            if predictor is None and any(chunk.method == MODEL for chunk in batch):
                predictor = opener(reader.header.identity)
                _check_probe(predictor, reader.header, name)
            written += _unpack(batch, reader, target, predictor, told)
    finally:
        if predictor is not None:
            predictor.close()
    return written


def _unpack(
    batch: list[Chunk],
    reader: Reader,
    target: BinaryIO,
    predictor: Predictor | None,
    told: Told,
) -> int:
    packed = [(chunk.method, chunk.size, chunk.packed) for chunk in batch]
    written = 0
    for chunk, data in zip(
        batch, unpack(packed, predictor, adapt=reader.header.adapt, told=told), strict=True
    ):
        written += target.write(reader.verify(chunk, data))
    return written


def open_for(
    identity: bytes, path: Path, name: str, *, threads: int | None, lanes: int = LANES
) -> Predictor:
    """The model at `path`, if it is the one. Raises CompressError if not."""
    if digest(path) != identity:
        raise CompressError(
            f"{name}: was packed with another model than {path}: with the file whose SHA-256 "
            f"begins with {identity.hex()}. Name it: --model FILE."
        )
    return Predictor(path, threads=threads, lanes=lanes)


def _check_probe(predictor: Predictor, header: Header, name: str) -> None:
    if predictor.probe() != header.probe:
        raise CompressError(
            f"{name}: was packed with the same model, but by an engine that computes other numbers "
            "from it: another version of cabin, or, if its weights are not quantised, on another "
            "kind of processor. Unpack it there."
        )


def pieces(source: BinaryIO, size: int) -> Iterator[bytes]:
    """All of `source` in pieces of `size` bytes, however a pipe delivers them."""
    piece = bytearray()
    while data := source.read(size - len(piece)):
        piece += data
        if len(piece) == size:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)
