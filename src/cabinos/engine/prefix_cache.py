"""Prefix cache: the KV of token prefixes seen before, found by content.

A KV page is a pure function of the tokens up to its end (bit for bit, whatever the batch), so it
may serve any sequence that begins with the same tokens. Pages are named by a chain of hashes, like
the blocks of a ledger: h[i] = H(h[i-1] ‖ tokens of page i). An entry is a *forked* sequence that
ends on a page border; forks share pages, so entries with a common beginning store it once.
"""

from array import array
from collections import OrderedDict
from collections.abc import Sequence as Tokens
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from cabinos.engine.model import Model, Sequence


@dataclass
class PrefixCacheStats:
    """Counters since the start; `entries` and `tokens` are what is held now (shared parts once)."""

    entries: int = 0
    tokens: int = 0
    lookups: int = 0
    hits: int = 0
    tokens_reused: int = 0
    evictions: int = 0


class _Entry(NamedTuple):
    sequence: Sequence
    names: list[bytes]  # the chain of its pages


class PrefixCache:
    """Entries in order of last use. Not thread-safe: it belongs to the scheduler's thread."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._page_tokens = model.page_tokens
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()  # by the name of the last page
        self._holders: dict[bytes, set[bytes]] = {}  # page name -> keys of the entries with it
        self._stats = PrefixCacheStats()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def pages(self) -> int:
        """The pages that entries hold, shared ones counted once."""
        return len(self._holders)

    def match(self, tokens: Tokens[int]) -> tuple[Sequence | None, int]:
        """A new sequence that holds the longest cached prefix of `tokens`, and its length.

        The length is a multiple of the page size and below len(tokens): at least one token is left
        to compute, since logits are not cached. (None, 0) if nothing matches. The caller frees it.
        """
        self._stats.lookups += 1
        names = self._chain(tokens[: max(0, len(tokens) - 1)])
        for count in range(len(names), 0, -1):
            holders = self._holders.get(names[count - 1])
            if holders:
                key = next(iter(holders))
                self._entries.move_to_end(key)
                sequence = self._entries[key].sequence.fork()
                length = count * self._page_tokens
                sequence.truncate(length)
                self._stats.hits += 1
                self._stats.tokens_reused += length
                return sequence, length
        return None, 0

    def give_back(self, sequence: Sequence) -> None:
        """Takes back what the last `match` gave, as if it had not been asked for."""
        self._stats.lookups -= 1
        self._stats.hits -= 1
        self._stats.tokens_reused -= len(sequence)
        sequence.free()

    def insert(self, sequence: Sequence) -> None:
        """Remembers the full pages of `sequence`, which stays the caller's."""
        names = self._chain(sequence.tokens)
        if not names:
            return
        covering = self._holders.get(names[-1])
        if covering:  # an entry holds all of it already
            self._entries.move_to_end(next(iter(covering)))
            return
        entry = sequence.fork()
        entry.truncate(len(names) * self._page_tokens)
        for name in names:
            if name in self._entries:  # an entry that the new one extends
                self._remove(name)
        self._entries[names[-1]] = _Entry(entry, names)
        for name in names:
            self._holders.setdefault(name, set()).add(names[-1])

    def make_room(self, pages: int) -> bool:
        """Evicts the least recently used until the pool has `pages` free pages.

        Returns whether it has. An entry frees only the pages that nothing else shares.
        """
        while self._model.pages_free < pages:
            if not self._entries:
                return False
            self._remove(next(iter(self._entries)))
            self._stats.evictions += 1
        return True

    def clear(self) -> None:
        """Frees every entry."""
        while self._entries:
            self._remove(next(iter(self._entries)))

    def stats(self) -> PrefixCacheStats:
        """The counters; the caller may keep the object."""
        s = self._stats
        held = len(self._holders) * self._page_tokens
        return PrefixCacheStats(
            len(self._entries), held, s.lookups, s.hits, s.tokens_reused, s.evictions
        )

    def _remove(self, key: bytes) -> None:
        entry = self._entries.pop(key)
        for name in entry.names:
            holders = self._holders[name]
            holders.remove(key)
            if not holders:
                del self._holders[name]
        entry.sequence.free()

    def _chain(self, tokens: Tokens[int]) -> list[bytes]:
        """The names of the full pages of `tokens`."""
        data = memoryview(array("i", tokens)).cast("B")
        width = 4 * self._page_tokens
        names: list[bytes] = []
        name = b""
        for start in range(0, len(data) - width + 1, width):
            name = blake2b(data[start : start + width], key=name, digest_size=16).digest()
            names.append(name)
        return names
