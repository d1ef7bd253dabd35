"""Mail between processes, and from people: pages, delivered once and in order."""

from collections import defaultdict, deque

from cabinos.store.database import Store
from cabinos.store.pages import Page, Pages

__all__ = ["Mail"]


class Mail:
    """The mailboxes of all processes."""

    def __init__(self, store: Store, pages: Pages) -> None:
        self._store = store
        self._pages = pages
        self._boxes: defaultdict[int, deque[tuple[int, int]]] = defaultdict(deque)
        self._last = 0
        for number, recipient, page in store.rows(
            "SELECT id, recipient, page FROM message ORDER BY id"
        ):
            self._boxes[recipient].append((number, page))
            self._last = number

    def send(self, recipient: int, sender: int | None, page: Page) -> None:
        """Stages a message."""
        self._last += 1
        self._store.write(
            "INSERT INTO message (id, recipient, sender, page) VALUES (?, ?, ?, ?)",
            (self._last, recipient, sender, page.id),
        )
        self._boxes[recipient].append((self._last, page.id))

    def first(self, recipient: int) -> Page | None:
        """The oldest message."""
        box = self._boxes.get(recipient)
        return self._pages.get(box[0][1]) if box else None

    def drop(self, recipient: int) -> None:
        """Takes the oldest message out, in the same commit as what was made of it."""
        box = self._boxes[recipient]
        number, _ = box.popleft()
        if not box:
            del self._boxes[recipient]
        self._store.write("DELETE FROM message WHERE id = ?", (number,))
