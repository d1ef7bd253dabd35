"""A brain's papers: which files, made from which texts, by which command.

`NAME.gguf.manifest.json` lies beside the weights, `NAME.gguf.manifest.json.minisig` signs it. The
manifest has the SHA-256 of the weights and of the runner, so the signature covers both files of a
brain. Whoever trusts the key knows that neither was changed since.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cabinos.brain.errors import BrainError
from cabinos.brain.minisign import PublicKey, SecretKey, Signature

__all__ = ["Manifest", "Papers", "examine", "manifest_path", "sha256", "sign", "signature_path"]

FORMAT = 1
BLOCK = 1 << 20
MOST = 8 << 20  # bytes of a manifest


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is said of a brain. Hashes are SHA-256, in hexadecimal."""

    weights: str  # hash of the GGUF file
    size: int  # its bytes
    runner: str  # hash of run.c
    name: str = ""
    tokenizer: str = ""  # hash of tokenizer.json
    template: str = ""  # hash of the chat template's text
    command: str = ""  # that makes it again
    parent: str = ""  # hash of the weights it was finetuned from
    data: Sequence[Mapping[str, Any]] = field(default_factory=list)  # source, licence, hash
    format: int = FORMAT

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Raises BrainError if it is damaged, or of a later version."""
        try:
            raw = path.read_bytes()
            if len(raw) > MOST:
                raise BrainError(f"{path}: larger than a manifest ever is.")
            values = json.loads(raw)
            if values["format"] > FORMAT:
                raise BrainError(f"{path}: of format {values['format']}: update cabin.")
            return cls(**{k: v for k, v in values.items() if k in cls.__dataclass_fields__})
        except BrainError:
            raise
        except OSError as error:
            raise BrainError(f"{path}: cannot be read ({error.strerror}).") from None
        except (ValueError, TypeError, KeyError) as error:
            raise BrainError(f"{path}: damaged ({type(error).__name__}: {error}).") from None

    def text(self) -> str:
        """As it is written, and signed."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


@dataclass(frozen=True, slots=True)
class Papers:
    """What a look at a brain's papers found. `problem` is empty if all is well."""

    weights: Path
    manifest: Manifest | None
    signed_by: str  # the key, as one line; empty if there is no signature that fits
    comment: str
    problem: str


def manifest_path(weights: Path) -> Path:
    """Where a GGUF file's manifest lies."""
    return weights.with_name(weights.name + ".manifest.json")


def signature_path(weights: Path) -> Path:
    """Where the signature of the manifest lies."""
    return weights.with_name(weights.name + ".manifest.json.minisig")


def sha256(path: Path) -> str:
    """The SHA-256 of a file. Raises BrainError if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError as error:
        raise BrainError(f"{path}: cannot be read ({error.strerror}).") from None
    return digest.hexdigest()


def examine(weights: Path, runner: Path, key: PublicKey) -> Papers:
    """Whether a brain is the one that `key` signed, to the last bit."""
    manifest, signed_by, comment = None, "", ""
    try:
        if not manifest_path(weights).is_file():
            raise BrainError("it has no manifest: nobody says where it came from.")
        manifest = Manifest.read(manifest_path(weights))
        signature = Signature.read(signature_path(weights))
        key.verify(manifest_path(weights).read_bytes(), signature)
        signed_by, comment = key.line(), signature.comment
        if weights.stat().st_size != manifest.size or sha256(weights) != manifest.weights:
            raise BrainError("the weights are not those that were signed.")
        if sha256(runner) != manifest.runner:
            raise BrainError("run.c is not the one that was signed.")
    except BrainError as error:
        return Papers(weights, manifest, signed_by, comment, str(error))
    except OSError as error:
        return Papers(weights, manifest, signed_by, comment, f"cannot be read ({error.strerror}).")
    return Papers(weights, manifest, signed_by, comment, "")


def sign(weights: Path, manifest: Manifest, key: SecretKey, comment: str) -> Path:
    """Write a manifest and its signature beside the weights; each is whole or not there."""
    text = manifest.text()
    signature = key.sign(text.encode(), comment)
    for path, content in (
        (manifest_path(weights), text),
        (signature_path(weights), signature.text()),
    ):
        temporary = path.with_name(path.name + ".part")
        try:
            temporary.write_text(content, encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise BrainError(f"{path}: cannot be written ({error.strerror}).") from None
    return signature_path(weights)
