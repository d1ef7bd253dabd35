"""Signatures in minisign's format (jedisct1.github.io/minisign): Ed25519 over BLAKE2b-512.

Whatever is signed here can be checked with the `minisign` program, and the other way round. Secret
keys are read and written without a password, as `minisign -W` does: guard the file. Ed25519 itself
(RFC 8032) is the `cryptography` package's.
"""

import base64
import binascii
import os
import secrets
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from cabinos.brain.errors import BrainError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["PublicKey", "SecretKey", "Signature"]

ED25519, PREHASHED, BLAKE2B, NO_PASSWORD = b"Ed", b"ED", b"B2", b"\0\0"
KEY_ID, SEED, KEY, SIGNED = 8, 32, 32, 64  # bytes of each
PUBLIC_SIZE = 2 + KEY_ID + KEY
SECRET_SIZE = 2 + 2 + 2 + 32 + 8 + 8 + KEY_ID + SEED + KEY + 32
NEEDS = "signatures need the package cryptography: pip install 'cabinos[sign]'"
UNTRUSTED, TRUSTED = "untrusted comment: ", "trusted comment: "


@dataclass(frozen=True, slots=True)
class Signature:
    """What a .minisig file holds."""

    key_id: bytes
    prehashed: bool
    value: bytes  # of the message
    comment: str  # signed as well
    comment_value: bytes  # of the first signature and the comment

    @classmethod
    def read(cls, path: Path) -> "Signature":
        """Raises BrainError if there is none, or it is damaged."""
        lines = _lines(path, 4)
        raw, over = _decode(lines[1], path), _decode(lines[3], path)
        if len(raw) != 2 + KEY_ID + SIGNED or raw[:2] not in (ED25519, PREHASHED):
            raise BrainError(f"{path}: not a minisign signature.")
        if not lines[2].startswith(TRUSTED) or len(over) != SIGNED:
            raise BrainError(f"{path}: its trusted comment is missing or damaged.")
        comment = lines[2].removeprefix(TRUSTED)
        head = 2 + KEY_ID
        return cls(raw[2:head], raw[:2] == PREHASHED, raw[head:], comment, over)

    def text(self) -> str:
        """As it stands in the file."""
        head = (PREHASHED if self.prehashed else ED25519) + self.key_id
        return (
            f"{UNTRUSTED}signature of key {_shown(self.key_id)}\n{_encode(head + self.value)}\n"
            f"{TRUSTED}{self.comment}\n{_encode(self.comment_value)}\n"
        )


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key to check signatures with."""

    id: bytes
    value: bytes

    @classmethod
    def read(cls, path: Path) -> "PublicKey":
        """From a .pub file. Raises BrainError if there is none, or it is damaged."""
        return cls.parse(_lines(path, 2)[1], path)

    @classmethod
    def parse(cls, text: str, where: Path | str = "the key") -> "PublicKey":
        """From the one line that `minisign -P` takes."""
        raw = _decode(text.strip(), where)
        if len(raw) != PUBLIC_SIZE or raw[:2] != ED25519:
            raise BrainError(f"{where}: not a minisign public key.")
        return cls(raw[2 : 2 + KEY_ID], raw[2 + KEY_ID :])

    def line(self) -> str:
        """The key as one line of text."""
        return _encode(ED25519 + self.id + self.value)

    def text(self) -> str:
        """As it stands in a .pub file."""
        return f"{UNTRUSTED}minisign public key {_shown(self.id)}\n{self.line()}\n"

    def verify(self, message: bytes, signature: Signature) -> None:
        """Raises BrainError unless this key signed `message` and the comment."""
        try:
            from cryptography.exceptions import InvalidSignature
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        except ImportError:
            raise BrainError(NEEDS) from None
        if signature.key_id != self.id:
            raise BrainError(f"signed by key {_shown(signature.key_id)}, not by {_shown(self.id)}.")
        signed = blake2b(message).digest() if signature.prehashed else message
        key = Ed25519PublicKey.from_public_bytes(self.value)
        try:
            key.verify(signature.value, signed)
            key.verify(signature.comment_value, signature.value + signature.comment.encode())
        except InvalidSignature:
            raise BrainError("the signature does not fit: what was signed was changed.") from None


@dataclass(frozen=True, slots=True, repr=False)
class SecretKey:
    """A key to sign with."""

    id: bytes
    seed: bytes

    @classmethod
    def generate(cls) -> "SecretKey":
        """A new one, from the system's random numbers."""
        return cls(secrets.token_bytes(KEY_ID), secrets.token_bytes(SEED))

    @classmethod
    def read(cls, path: Path) -> "SecretKey":
        """Raises BrainError if there is none, it is damaged, or has a password."""
        raw = _decode(_lines(path, 2)[1], path)
        if len(raw) != SECRET_SIZE or raw[:2] != ED25519 or raw[4:6] != BLAKE2B:
            raise BrainError(f"{path}: not a minisign secret key.")
        if raw[2:4] != NO_PASSWORD:
            raise BrainError(f"{path}: has a password; `minisign -C -W -s {path}` takes it off.")
        body = raw[54:]
        key = cls(body[:KEY_ID], body[KEY_ID : KEY_ID + SEED])
        if body[-32:] != key._checksum():
            raise BrainError(f"{path}: damaged: its checksum does not fit.")
        return key

    def write(self, path: Path) -> None:
        """Into a new file that only its owner may read. Raises BrainError if it is there."""
        raw = ED25519 + NO_PASSWORD + BLAKE2B + bytes(48)
        raw += self.id + self.seed + self.public().value + self._checksum()
        text = f"{UNTRUSTED}minisign secret key {_shown(self.id)}\n{_encode(raw)}\n"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
        except FileExistsError:
            raise BrainError(f"{path}: there is a key already; it is not replaced.") from None
        except OSError as error:
            raise BrainError(f"{path}: cannot be written ({error.strerror}).") from None

    def public(self) -> PublicKey:
        """The key that checks what this one signed."""
        return PublicKey(self.id, self._private().public_key().public_bytes_raw())

    def sign(self, message: bytes, comment: str) -> Signature:
        """Signs `message` and the comment, which is one line."""
        if not comment.isprintable():
            raise BrainError("the comment of a signature is one line.")
        private = self._private()
        value = private.sign(blake2b(message).digest())
        return Signature(self.id, True, value, comment, private.sign(value + comment.encode()))

    def _private(self) -> "Ed25519PrivateKey":
        try:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        except ImportError:
            raise BrainError(NEEDS) from None
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    def _checksum(self) -> bytes:
        body = ED25519 + self.id + self.seed + self.public().value
        return blake2b(body, digest_size=32).digest()


def _lines(path: Path, count: int) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise BrainError(f"{path}: no such file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BrainError(f"{path}: cannot be read ({error}).") from None
    if len(lines) < count or not lines[0].startswith(UNTRUSTED):
        raise BrainError(f"{path}: not in minisign's format.")
    return lines


def _decode(text: str, where: Path | str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BrainError(f"{where}: damaged: not base64.") from None


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _shown(key_id: bytes) -> str:
    """A key's number as minisign writes it: little-endian."""
    return key_id[::-1].hex().upper()
