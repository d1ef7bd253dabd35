"""Pages that stay on this machine: a model elsewhere is a way out, like a mail or an address.

A page that its readers do not let go to a model is not shown to it. A person is asked once, for all
such pages of the process; what they release is mapped again with the model among its readers, and
what they do not is mapped as a line that says so. Both are journalled, and the pages themselves
stay as they are.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cabinos.kernel.driver import Model
from cabinos.kernel.memory import readers_of
from cabinos.kernel.outcome import Blocked, Record
from cabinos.kernel.process import Process
from cabinos.store.pages import Page

if TYPE_CHECKING:
    from cabinos.kernel.machine import Machine

__all__ = ["Held", "held_back", "let_out", "named", "release"]

Held = Sequence[tuple[int, Page]]  # (place in the page table, page)
QUOTE = 120  # characters of a page that a person is shown
HIDDEN = (
    "[This is private: {model} is not on this machine, and the person did not let it see this. "
    "Tell them so if you need it.]"
)


def held_back(m: "Machine", process: Process, model: Model) -> Held:
    """The pages of a process that may not go to the model; none if that is on this machine."""
    bound = process.guard.readers  # of all that it has read
    if model.local or bound is None or model.name in bound:
        return ()
    pages = enumerate(m.pages.get(page_id) for page_id, *_ in process.pages)
    return [(at, page) for at, page in pages if not _may_read(model, page)]


def _may_read(model: Model, page: Page) -> bool:
    readers = readers_of(page)
    return readers is None or model.name in readers


def let_out(
    m: "Machine", process: Process, call: str, record: Record, model: Model
) -> Blocked | None:
    """Sees to it that the model is shown nothing that it may not read, before it thinks.

    None if so; Blocked while a person is asked what it may.
    """
    held = held_back(m, process, model)
    if not held:
        return None
    pages = [page.id for _, page in held]
    bound = hashlib.sha256(json.dumps([process.pid, call, model.name, pages]).encode()).digest()
    asked = record.get("bound") == bound.hex()
    answer = record.pop("answer", None) if asked else None  # of these very pages
    if answer is None and not process.guard.frozen:
        if not asked:
            m.asks.close(record.get("ask"))
            record.pop("answer", None)
            question = (
                f"Allow {model.name} to see what is private? Because {model.name} is not on this "
                f"machine, and these pages are for this machine alone."
            )
            detail = {"tool": "show", "arguments": named(held), "label": process.label}
            record["bound"] = bound.hex()
            record["ask"] = m.ask(process, call, "approval", bound, question, detail)
        return Blocked(f"leave to show {model.name} what is private")
    record.pop("ask", None)
    record.pop("bound", None)
    if answer == "approved":
        release(m, process, model, held)
    else:
        _hide(m, process, model, held)
    return None


def named(held: Held) -> dict[str, Any]:
    """The pages in words for a person: where they come from, and how they begin."""
    told: dict[str, Any] = {}
    for _, page in held:
        meta = json.loads(page.meta) if page.meta else {}
        source = ", ".join(meta.get("from", ())) or meta.get("name", "") or page.role
        told.setdefault(source, " ".join(page.text[:QUOTE].split()) or "calls of tools")
    return told


def release(m: "Machine", process: Process, model: Model, held: Held) -> None:
    """A person lets the model see the pages, and what the process makes of them. Staged."""
    for at, page in held:
        readers = sorted({*(readers_of(page) or ()), model.name})
        _map(m, process, at, page, page.text, readers=readers)
    if process.guard.readers is not None:
        process.guard.readers |= {model.name}
    _note(m, process, "release", model, held)


def _hide(m: "Machine", process: Process, model: Model, held: Held) -> None:
    """Maps a line in the place of each page; of calls, the names stay. Staged."""
    for at, page in held:
        meta = json.loads(page.meta) if page.meta else {}
        calls = [[id_, name, {}, ""] for id_, name, *_ in meta.get("calls", ())]
        kept = {"calls": calls} if calls else {}
        text = HIDDEN.format(model=model.name)
        _map(m, process, at, page, text, readers=None, original=page.id, **kept)
    _note(m, process, "withhold", model, held)


def _map(m: "Machine", process: Process, at: int, page: Page, text: str, **changed: Any) -> None:
    meta = {**(json.loads(page.meta) if page.meta else {}), **changed}
    meta = {name: value for name, value in meta.items() if value is not None}
    tokens = page.tokens if text == page.text else m.count(process, text)
    made = m.pages.put(page.role, text, tokens=tokens, label=page.label, meta=meta)
    process.pages.exchange(at, made.id)


def _note(m: "Machine", process: Process, what: str, model: Model, held: Held) -> None:
    pages = [page.id for _, page in held]
    m.journal.append(process.pid, what, model=model.name, pages=pages)
    process.resident_tokens, process.messages = -1, None
    m.store.save(process)
