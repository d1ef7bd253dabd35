"""What the answer of a process may be made of."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cabinos.kernel.grants import links
from cabinos.kernel.monitor import typed_words
from cabinos.render.answer import MOST_READ, Origin

if TYPE_CHECKING:
    from cabinos.kernel.machine import Machine
    from cabinos.kernel.process import Process

__all__ = ["origin"]


def origin(m: "Machine", process: "Process", *, before: int | None = None) -> Origin:
    """Where the words of a process that has read untrusted text may come from.

    `before`: the page that holds the words, if more has been read since.
    """
    known = frozenset(links([typed_words(m, process)]))
    sources = tuple(sorted(process.guard.sources))
    return Origin(sources, known, tuple(_read(m, process, before)))


def _read(m: "Machine", process: "Process", before: int | None) -> Iterator[tuple[str, str]]:
    """(source, text) of what others wrote, the latest first, as far as it is looked through."""
    left = MOST_READ
    mapped = [page_id for page_id, *_ in process.pages]
    if before in mapped:
        mapped = mapped[: mapped.index(before)]
    for page_id in reversed(mapped):
        page = m.pages.get(page_id)
        if page.label == "trusted" or page.role == "assistant":
            continue
        meta = json.loads(page.meta) if page.meta else {}
        text = m.pages.get(meta["original"]).text if "original" in meta else page.text
        yield ", ".join(meta.get("from", ())) or meta.get("name", ""), text
        left -= len(text)
        if left <= 0:
            return
