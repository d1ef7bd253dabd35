"""The arithmetic coder: decisions with known odds become bytes, and bytes decisions.

A range coder (Martin 1979; Subbotin's carryless variants differ only in how they meet a carry). A
decision between 0 and 1, of which `zeros` of `total` chances are 0, splits the current range in
that proportion. All is integers, so the same odds give the same bytes on every machine.

The range is kept above 2^56 and totals are below 2^45, so a decision costs at most 2^-11 bits more
than its odds imply, and 2^-25 on average.
"""

from math import log2
from typing import Protocol

__all__ = ["Coder", "Decoder", "Encoder", "Meter"]

WORD, SHIFT = 64, 56  # bits of the state, and below its first byte
FULL, LOW = (1 << WORD) - 1, (1 << SHIFT) - 1


class Coder(Protocol):
    """What a model needs of a coder, whichever way it goes."""

    def decide(self, zeros: int, total: int, one: bool) -> bool:
        """The decision: `one` when packing; when unpacking, what was packed (`one` is ignored).

        `zeros` of `total` chances are for 0; 0 < zeros < total < 2^45.
        """


class Encoder:
    """Decisions to bytes."""

    def __init__(self) -> None:
        self._low, self._range = 0, FULL
        self._bytes = bytearray()

    def decide(self, zeros: int, total: int, one: bool) -> bool:
        """See `Coder`."""
        split = self._range // total * zeros
        if one:
            self._low += split
            self._range -= split
        else:
            self._range = split
        while self._range <= LOW:
            self._shift()
        return one

    def finish(self) -> bytes:
        """All the bytes: as many as are needed to point into the last range, and no more."""
        for used in range(8, WORD + 1, 8):
            unit = 1 << (WORD - used)
            point = -(-self._low // unit) * unit
            if point < self._low + self._range:
                break
        self._low = point
        for _ in range(used // 8):
            self._shift()
        return bytes(self._bytes).rstrip(b"\0")  # beyond its end the decoder reads zeros

    def _shift(self) -> None:
        """Give out the first byte of `low`, and its carry to the bytes before."""
        if self._low > FULL:
            at = len(self._bytes) - 1
            while self._bytes[at] == 0xFF:  # there is always one below: the sum is less than 1
                self._bytes[at] = 0
                at -= 1
            self._bytes[at] += 1
            self._low &= FULL
        self._bytes.append(self._low >> SHIFT)
        self._low = (self._low & LOW) << 8
        self._range <<= 8


class Decoder:
    """Bytes to decisions. Of damaged bytes it makes other decisions, never an error."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, WORD // 8
        self._code = int.from_bytes(data[: self._at].ljust(self._at, b"\0"), "big")
        self._range = FULL

    def decide(self, zeros: int, total: int, one: bool = False) -> bool:
        """See `Coder`."""
        split = self._range // total * zeros
        one = self._code >= split
        if one:
            self._code -= split
            self._range -= split
        else:
            self._range = split
        while self._range <= LOW:
            following = self._data[self._at] if self._at < len(self._data) else 0
            self._code = (self._code << 8 | following) & FULL
            self._at += 1
            self._range <<= 8
        return one


class Meter:
    """Packs nothing, and says how many bits it would take."""

    def __init__(self) -> None:
        self.bits = 0.0

    def decide(self, zeros: int, total: int, one: bool) -> bool:
        """See `Coder`."""
        self.bits -= log2((total - zeros if one else zeros) / total)
        return one
