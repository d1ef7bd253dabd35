"""Reading the pieces of a SentencePiece `tokenizer.model` without the sentencepiece library.

The file is one protobuf message (sentencepiece_model.proto):
    ModelProto.pieces = 1 (repeated): piece = 1 (string), score = 2 (float), type = 3 (enum)
Of `trainer_spec` (2) only `model_type` (3) is looked at: 1 is unigram, 2 is BPE.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cabinos.engine.errors import ModelFileError, UnsupportedModel

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
NORMAL, UNIGRAM, BPE = 1, 1, 2


class Piece(NamedTuple):
    """One token: its text (spaces are U+2581), its log-probability or rank, and its type."""

    text: str
    score: float
    type: int


def read_spm(path: Path) -> list[Piece]:
    """The pieces by id. Raises ModelFileError if damaged, UnsupportedModel if it is not BPE."""
    pieces = []
    model_type = UNIGRAM  # the default of the .proto
    try:
        for number, value in _fields(path.read_bytes()):
            if number == 1 and isinstance(value, bytes):
                pieces.append(_piece(value))
            elif number == 2 and isinstance(value, bytes):
                for spec_number, spec_value in _fields(value):
                    if spec_number == 3 and isinstance(spec_value, int):
                        model_type = spec_value
    except (IndexError, ValueError, struct.error):
        raise ModelFileError(f"{path}: not a SentencePiece model, or damaged.") from None
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror or error}).") from None
    if not pieces:
        raise ModelFileError(f"{path}: a SentencePiece model without any pieces.")
    if model_type != BPE:
        raise UnsupportedModel(f"{path}: a SentencePiece model of another kind than BPE.")
    return pieces


def _piece(message: bytes) -> Piece:
    text, score, kind = "", 0.0, NORMAL
    for number, value in _fields(message):
        if number == 1 and isinstance(value, bytes):
            text = value.decode("utf-8")
        elif number == 2 and isinstance(value, bytes):
            (score,) = struct.unpack("<f", value)
        elif number == 3 and isinstance(value, int):
            kind = value
    return Piece(text, score, kind)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The (number, value) pairs of a protobuf message; numbers as int, the rest as bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == VARINT:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if kind == BYTES:
            size, at = _varint(message, at)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind}")
        if at + size > len(message):
            raise ValueError("cut short")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("varint too long")
