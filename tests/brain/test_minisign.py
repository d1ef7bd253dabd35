"""Signatures as minisign makes and checks them."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabinos.brain.errors import BrainError
from cabinos.brain.minisign import PublicKey, SecretKey, Signature

# From minisign's own documentation: a key, and its signature of the bytes "test".
KEY = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
LEGACY = """\
untrusted comment: signature from minisign secret key
RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=
trusted comment: timestamp:1555779966\tfile:test
QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==
"""


def _signature(tmp_path: Path, text: str) -> Signature:
    path = tmp_path / "x.minisig"
    path.write_text(text)
    return Signature.read(path)


def test_a_signature_made_by_minisign_is_good(tmp_path: Path) -> None:
    signature = _signature(tmp_path, LEGACY)
    PublicKey.parse(KEY).verify(b"test", signature)
    with pytest.raises(BrainError, match="was changed"):
        PublicKey.parse(KEY).verify(b"Test", signature)


def test_the_comment_is_signed_as_well(tmp_path: Path) -> None:
    changed = _signature(tmp_path, LEGACY.replace("file:test", "file:best"))
    with pytest.raises(BrainError, match="was changed"):
        PublicKey.parse(KEY).verify(b"test", changed)


@given(st.binary(max_size=200), st.text(st.characters(categories=["L", "N", "P"]), max_size=40))
def test_what_is_signed_verifies_and_survives_a_file(message: bytes, comment: str) -> None:
    key = SecretKey(b"12345678", bytes(range(32)))
    signature = key.sign(message, comment)
    key.public().verify(message, signature)
    other = replace(key, seed=bytes(32))
    with pytest.raises(BrainError):
        other.public().verify(message, signature)


def test_keys_survive_a_file(tmp_path: Path) -> None:
    key = SecretKey.generate()
    path = tmp_path / "secret.key"
    key.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SecretKey.read(path) == key
    (tmp_path / "key.pub").write_text(key.public().text())
    assert PublicKey.read(tmp_path / "key.pub") == key.public()
    signature = key.sign(b"hello", "a comment")
    assert _signature(tmp_path, signature.text()) == signature
    with pytest.raises(BrainError, match="not replaced"):
        key.write(path)


def test_a_secret_key_is_not_shown() -> None:
    assert "seed" not in repr(SecretKey.generate())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "untrusted comment: x\n",
        "untrusted comment: x\n!!!\ntrusted comment: y\nAA==\n",
        LEGACY.replace("RWQf", "RWXf"),
        LEGACY.replace("trusted comment: timestamp", "comment: timestamp"),
        LEGACY[:200],
    ],
)
def test_a_damaged_signature_says_so(tmp_path: Path, text: str) -> None:
    with pytest.raises(BrainError, match="x.minisig"):
        _signature(tmp_path, text)


def test_damaged_keys_say_so(tmp_path: Path) -> None:
    with pytest.raises(BrainError, match="not a minisign public key"):
        PublicKey.parse("RWQf6LRC")
    path = tmp_path / "secret.key"
    SecretKey.generate().write(path)
    text = path.read_text().splitlines()
    path.write_text(f"{text[0]}\n{text[1][:-8]}AAAAAAA=\n")
    with pytest.raises(BrainError, match=r"secret\.key"):
        SecretKey.read(path)
    with pytest.raises(BrainError, match="no such file"):
        SecretKey.read(tmp_path / "absent.key")


def test_a_key_with_a_password_is_refused(tmp_path: Path) -> None:
    import base64

    path = tmp_path / "secret.key"
    SecretKey.generate().write(path)
    head, line = path.read_text().splitlines()
    raw = bytearray(base64.b64decode(line))
    raw[2:4] = b"Sc"
    path.write_text(f"{head}\n{base64.b64encode(raw).decode()}\n")
    with pytest.raises(BrainError, match="password"):
        SecretKey.read(path)


def test_another_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrainError, match="E7620F1842B4E81F"):
        SecretKey.generate().public().verify(b"test", _signature(tmp_path, LEGACY))
