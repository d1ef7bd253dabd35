"""The packed file: who packed it, the chunks one after the other, and a digest of the whole.

    "CBZ" · version · flags · varint chunk size · identity (16) · probe (4) · CRC-32 of all that
    each chunk: method + 1 · varint size · varint packed size · CRC-32 of its bytes · packed bytes
    the end:    0 · BLAKE2b of all chunks as they stand there (8)

Numbers are little-endian; varints are LEB128. The identity is the first half of the SHA-256 of the
model's file; the probe is a digest of what the engine computes from it. Everything that is read is
checked before it is used: a chunk is at most `LARGEST` bytes, and what it unpacks to is given out
only if its checksum is right.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from cabinos.lab.compress.chunk import LZMA, MODEL, STORED
from cabinos.lab.compress.errors import CompressError

__all__ = ["LARGEST", "Chunk", "Header", "Reader", "Writer"]

MAGIC, VERSION = b"CBZ", 1
ADAPTS = 1  # flag: the model's odds were mixed with what the text teaches
LARGEST = 1 << 24  # bytes of a chunk
SMALLEST = 1 << 10


@dataclass(frozen=True, slots=True)
class Header:
    """What a decoder has to know beforehand."""

    chunk: int  # bytes of a chunk but the last
    adapt: bool
    identity: bytes
    probe: bytes

    def packed(self) -> bytes:
        """Its bytes."""
        flags = ADAPTS if self.adapt else 0
        data = MAGIC + bytes([VERSION, flags]) + _varint(self.chunk) + self.identity + self.probe
        return data + struct.pack("<I", zlib.crc32(data))


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk as it stands in the file."""

    method: int
    size: int
    crc: int
    packed: bytes

    def record(self) -> bytes:
        """Its bytes in the file."""
        head = bytes([self.method + 1]) + _varint(self.size) + _varint(len(self.packed))
        return head + struct.pack("<I", self.crc) + self.packed


class Writer:
    """Writes a packed file."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self._file = file
        self._digest = hashlib.blake2b(digest_size=8)
        self.written = file.write(header.packed())

    def chunk(self, method: int, data: bytes, packed: bytes) -> None:
        """Add a chunk of the bytes `data`."""
        record = Chunk(method, len(data), zlib.crc32(data), packed).record()
        self._digest.update(record)
        self.written += self._file.write(record)

    def finish(self) -> None:
        """Add the end."""
        self.written += self._file.write(b"\0" + self._digest.digest())


class Reader:
    """Reads a packed file; `name` is for messages. Raises CompressError if it is none."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        self._digest = hashlib.blake2b(digest_size=8)
        if self._take(3) != MAGIC:
            raise CompressError(f"{name}: was not packed by `cabin compress`.")
        version, flags = self._take(2)
        if version != VERSION or flags & ~ADAPTS:
            raise CompressError(f"{name}: is of version {version}, and this is cabin's version "
                                f"{VERSION}. Unpack it with the cabin that packed it.")  # fmt: skip
        size = self._number()
        self.header = Header(size, bool(flags & ADAPTS), self._take(16), self._take(4))
        if self._take(4) != self.header.packed()[-4:] or not SMALLEST <= size <= LARGEST:
            raise self.damaged("its first bytes have changed")

    def chunks(self) -> Iterator[Chunk]:
        """The chunks in order; at the end it is checked that nothing follows."""
        while kind := self._take(1)[0]:
            method, size, length = kind - 1, self._number(), self._number()
            if method not in (STORED, LZMA, MODEL) or not 0 < size <= self.header.chunk:
                raise self.damaged("a chunk says that it is what it cannot be")
            if length > size or (method == STORED and length != size):
                raise self.damaged("a chunk is longer than what it was packed from")
            (crc,) = struct.unpack("<I", self._take(4))
            chunk = Chunk(method, size, crc, self._take(length))
            self._digest.update(chunk.record())
            yield chunk
        if self._take(8) != self._digest.digest():
            raise self.damaged(
                "the whole is not what was packed: chunks are missing or out of order"
            )
        if self._file.read(1):
            raise self.damaged("something follows after its end")

    def verify(self, chunk: Chunk, data: bytes) -> bytes:
        """`data`, which `chunk` was unpacked to. Raises CompressError if it is not what it was."""
        if len(data) != chunk.size or zlib.crc32(data) != chunk.crc:
            raise self.damaged("a chunk does not unpack to what it was packed from")
        return data

    def damaged(self, problem: str) -> CompressError:
        """The error to raise."""
        return CompressError(f"{self._name}: damaged: {problem}. Get another copy of the file.")

    def _take(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise CompressError(f"{self._name}: truncated: it ends before its end mark. Get the "
                                "whole file.")  # fmt: skip
        return data

    def _number(self) -> int:
        number = 0
        for shift in range(0, 35, 7):
            byte = self._take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
        raise self.damaged("a length is beyond all bounds")


def _varint(number: int) -> bytes:
    data = bytearray()
    while number >= 0x80:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*data, number])
