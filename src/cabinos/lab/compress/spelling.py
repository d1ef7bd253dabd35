"""Bytes to the tokens that spell them, whatever the bytes are.

Tokens are chosen as the model saw them in training, by its own tokenizer, as far as that gives back
the same bytes: text that is not UTF-8, or that the tokenizer changes (Unicode forms, a space it
puts in front), is spelled from the longest tokens that fit. Unpacking only joins tokens, so nothing
rests on how a text is cut.
"""

import re
from collections.abc import Iterable, Sequence

from cabinos.engine.tokenizer import Tokenizer

__all__ = ["Speller"]

RAW = re.compile("([\udc80-\udcff]+)")  # bytes that are not UTF-8, as Python shows them


class Speller:
    """The words a model can spell with: tokens that stand for bytes, sorted by them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        special = tokenizer.special_ids.union(tokenizer.special_tokens.values())
        spelled = ((tokenizer.token_bytes(i), i) for i in range(tokenizer.vocab_size)
                   if i not in special)  # fmt: skip
        # Of two tokens for the same bytes, SentencePiece writes the later; the first is a byte.
        tokens = {word: token for word, token in spelled if word}
        self.words = sorted(tokens)
        self.tokens = [tokens[word] for word in self.words]
        self._leaves = {word: leaf for leaf, word in enumerate(self.words)}
        self._longest = max(map(len, self.words), default=0)
        self.spells_all = all(bytes([byte]) in tokens for byte in range(256))
        """Whether every byte has a token, so that anything can be spelled."""

    def spell(self, data: bytes) -> list[int]:
        """The leaves (places in `words`) that spell `data`, if it `spells_all`."""
        leaves: list[int] = []
        for number, part in enumerate(RAW.split(data.decode("utf-8", "surrogateescape"))):
            if number % 2 or not part:
                leaves += self._leaves_of(bytes([b]) for b in part.encode(errors="surrogateescape"))
            else:
                leaves += self._tokenized(part) or self._longest_first(part.encode())
        return leaves

    def _tokenized(self, text: str) -> list[int] | None:
        """As the tokenizer cuts it; None if what it makes is not the same bytes."""
        data = text.encode()
        # A tokenizer that puts a space in front puts it before the line break, which is cut off.
        for before in ("", "\n"):
            lead = len(before) and 2
            ids = self._tokenizer.encode(before + text, add_special=False)[lead:]
            words = [self._tokenizer.token_bytes(token) for token in ids]
            if b"".join(words) == data and all(word in self._leaves for word in words):
                return self._leaves_of(words)
        return None

    def _longest_first(self, data: bytes) -> list[int]:
        leaves, at = [], 0
        while at < len(data):
            size = min(self._longest, len(data) - at)
            while data[at : at + size] not in self._leaves:
                size -= 1
            leaves.append(self._leaves[data[at : at + size]])
            at += size
        return leaves

    def _leaves_of(self, words: Iterable[bytes]) -> list[int]:
        return [self._leaves[word] for word in words]

    def join(self, leaves: Sequence[int]) -> bytes:
        """The bytes that leaves spell."""
        return b"".join(map(self.words.__getitem__, leaves))
