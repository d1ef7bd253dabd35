"""The pager: decides whose KV is in the page pool, on disk, or nowhere.

When pages are wanted, the prefix cache gives first, then paused branches, then those that rank
lowest: their KV goes to disk, which costs milliseconds where computing it again would cost seconds.
"""

from collections.abc import Sequence as Items
from pathlib import Path

from cabinos.engine.branch import Branch
from cabinos.engine.errors import EngineError
from cabinos.engine.model import Model, Sequence
from cabinos.engine.prefix_cache import PrefixCache
from cabinos.engine.queue import Seat
from cabinos.engine.swap import SwapFile


class Pager:
    """Belongs to the scheduler's thread. `queue` arguments are all its seats, by rank."""

    def __init__(self, model: Model, cache: PrefixCache | None, swap_dir: Path | None) -> None:
        self.preemptions = 0
        self.swapped_bytes = 0
        self._model = model
        self._cache = cache
        self._swap_dir = swap_dir

    def pages(self, tokens: int) -> int:
        """How many pages hold `tokens` positions."""
        return -(-tokens // self._model.page_tokens)

    def growth(self, branch: Branch, tokens: int) -> int:
        """The most pages `tokens` more take: new ones, and a copy of the last one if shared."""
        old = branch.computed
        return self.pages(old + tokens) - self.pages(old) + (old % self._model.page_tokens > 0)

    def admit(self, seat: Seat, queue: Items[Seat], reserved: int) -> bool:
        """Gives a branch its sequence, if pages for all its tokens and `reserved` more can be had.

        Its KV comes from its swap file, or as far as possible from the prefix cache.
        """
        branch = seat.branch
        sequence, cached = None, 0
        if self._cache is not None and branch.swap is None:
            sequence, cached = self._cache.match(branch.tokens)
        need = self.pages(len(branch.tokens)) - self.pages(cached) + reserved
        if not self._reclaim(need, seat, queue):
            if self._cache is not None and sequence is not None:
                self._cache.give_back(sequence)
            return False
        if branch.swap is not None:
            sequence = self._restore(branch.swap)
            branch.swap.close()
            branch.swap = None
        branch.sequence = sequence if sequence is not None else self._model.sequence()
        if branch.generated == 0:
            seat.request.cached_tokens = max(seat.request.cached_tokens, cached)
        return True

    def evict(self, pages: int) -> bool:
        """Empties the prefix cache until `pages` pages are free; says whether they are."""
        return self._cache is not None and self._cache.make_room(pages)

    def free_some(self, queue: Items[Seat]) -> bool:
        """Frees a cache entry's pages, or else one branch's; False if nobody holds any."""
        if self.evict(self._model.pages_free + 1):
            return True
        holders = _last_to_keep(queue)
        if holders:
            self._page_out(holders[-1])
        return bool(holders)

    def _reclaim(self, need: int, seat: Seat, queue: Items[Seat]) -> bool:
        """Makes `need` pages free at the cost of the cache, of the paused and of ranks below."""
        if self._model.pages_free >= need:
            return True
        lower = _last_to_keep([s for s in queue if s.request.paused or s.rank > seat.rank])
        # Shared pages are counted more than once, so this only rules out what is hopeless.
        most = sum(self.pages(branch.computed) for branch in lower)
        most += self._cache.pages if self._cache is not None else 0
        if self._model.pages_free + most < need:
            return False
        if self.evict(need):
            return True
        while lower and self._model.pages_free < need:
            self._page_out(lower.pop())
        return self._model.pages_free >= need

    def _page_out(self, branch: Branch) -> None:
        """Writes a branch's KV to disk and frees its pages; without disk it is computed again."""
        assert branch.sequence is not None
        try:
            branch.swap = SwapFile(branch.sequence, self._swap_dir)
            self.swapped_bytes += branch.swap.size
        except OSError:
            branch.swap = None
        branch.sequence.free()
        branch.sequence = None
        self.preemptions += 1

    def _restore(self, swap: SwapFile) -> Sequence | None:
        try:
            return swap.restore(self._model)
        except EngineError:  # damaged on disk, or someone outside took the pages: compute it again
            return None


def _last_to_keep(queue: Items[Seat]) -> list[Branch]:
    """Those who hold KV, by rank, then those of them that are paused: the last goes first."""
    holders = [seat for seat in queue if seat.branch.sequence is not None]
    return [seat.branch for seat in sorted(holders, key=lambda seat: seat.request.paused)]
