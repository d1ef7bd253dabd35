"""Seeing the same text twice: documents that repeat earlier ones, and paragraphs by digest.

A paragraph is compared by its letters and digits only, so that editions that differ in case,
punctuation and line breaks count as equal.
"""

import hashlib
import re

__all__ = ["Seen", "paragraph_digest", "paragraphs"]

SHORT = 40  # letters and digits; headings and stock phrases prove nothing
REPEATED = 0.6  # a document is a copy if this share of it was seen before

NOT_ALPHANUMERIC = re.compile(r"[\W_]+")


def paragraphs(text: str) -> list[str]:
    """What stands between empty lines; joined by them, it is `text` again."""
    return text.split("\n\n")


def paragraph_digest(paragraph: str) -> bytes | None:
    """8 bytes that stand for the paragraph's letters and digits; None if they are too few."""
    letters = NOT_ALPHANUMERIC.sub("", paragraph.lower())
    if len(letters) < SHORT:
        return None
    return hashlib.blake2b(letters.encode(), digest_size=8).digest()


class Seen:
    """The paragraphs of all documents so far."""

    def __init__(self) -> None:
        self._digests: set[bytes] = set()

    def is_copy(self, text: str) -> bool:
        """Whether `text` mostly repeats documents seen before; if not, it is remembered."""
        sizes: dict[bytes, int] = {}
        for paragraph in paragraphs(text):
            if (digest := paragraph_digest(paragraph)) is not None:
                sizes[digest] = len(paragraph)
        if not sizes:  # nothing but short lines: only the whole can be compared
            whole = hashlib.blake2b(text.encode(), digest_size=8).digest()
            sizes[whole] = len(text)
        repeated = sum(size for digest, size in sizes.items() if digest in self._digests)
        if repeated >= REPEATED * sum(sizes.values()):
            return True
        self._digests.update(sizes)
        return False
