"""Device that only listens: recall by meaning, for a kernel's pages and for notes.

Where it is, the kernel's `recall` and `notes_recall` also find what says the same in other words.
What is ranked is held in memory and gone with the kernel.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cabinos.kernel.driver import Driver

if TYPE_CHECKING:
    from cabinos.index import Index
    from cabinos.kernel.machine import Machine

__all__ = ["Recall", "driver"]

MOST = 20_000  # texts that are held; then it begins anew
POOL = 50  # passages of which the texts are taken


def driver(_config: Mapping[str, Any]) -> Driver:
    """The device. It needs no configuration."""
    return Driver("recall", observe=_observe)


def _observe(machine: "Machine") -> Callable[[], None]:
    recall = Recall()
    machine.memory.rank = recall.rank

    def end() -> None:
        machine.memory.rank = None
        recall.close()

    return end


class Recall:
    """Ranks texts that are given with their numbers, and remembers what it has read of them.

    `exact`: each time all texts are given, so that those which are not are forgotten.
    """

    def __init__(self, *, exact: bool = False) -> None:
        self._exact = exact
        self._index: Index | None = None
        self._known: dict[int, int] = {}  # number of a text -> its hash
        self._lock = asyncio.Lock()

    async def rank(self, query: str, texts: Mapping[int, str]) -> Sequence[int]:
        """The numbers of the texts that fit the query, the best first; those alone that do."""
        async with self._lock:
            return await asyncio.to_thread(self._rank, query, texts)

    def close(self) -> None:
        """Lets go of all texts."""
        if self._index is not None:
            self._index.close()
        self._index, self._known = None, {}

    def _rank(self, query: str, texts: Mapping[int, str]) -> list[int]:
        from cabinos.index import Source, in_memory
        from cabinos.index.passages import passages_of

        if len(self._known) + len(texts) > MOST + len(texts.keys() & self._known.keys()):
            self.close()
        index = self._index = self._index or in_memory()
        if self._exact and (gone := self._known.keys() - texts.keys()):
            index.remove("text", map(str, gone))
            self._known = {n: known for n, known in self._known.items() if n in texts}
        new = {number: text for number, text in texts.items() if self._is_new(number, text)}
        if new:
            index.put(
                Source("text", str(number), tuple(passages_of(text, code=True)))
                for number, text in new.items()
            )
            self._known |= {number: hash(text) for number, text in new.items()}
        hits = index.search(query, POOL, names=map(str, texts))
        return list(dict.fromkeys(int(hit.name) for hit in hits))

    def _is_new(self, number: int, text: str) -> bool:
        return self._known.get(number) != hash(text)
