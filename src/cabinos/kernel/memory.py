"""Virtual memory: the context window is RAM, pages are swapped out and recalled.

A process's page table says which pages it has and which of them are resident. Appending makes room
first, so no request is ever longer than the model's window. Eviction needs no model: the oldest
groups that are not pinned become stubs, one line for each run of them; the originals stay in the
store for ever, byte for byte. It is done rarely and in bulk, down to half of the window, so that
between two evictions every request begins with the one before it and caches stay warm. `recall` is
the page fault: by handle, or by a query: its words, and its meaning where a device ranks it.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from cabinos.kernel.driver import Integrity, Message, Model, Tool, ToolCall
from cabinos.kernel.errors import ContextOverflow, ToolError
from cabinos.kernel.events import Events
from cabinos.kernel.process import Process
from cabinos.kernel.retrieval import ESCALATE
from cabinos.store.encode import read_json
from cabinos.store.pages import Page, Pages

__all__ = ["Memory", "Offer", "readers_of", "sources_of"]

OVERHEAD = 8  # tokens a chat template puts around a message, rounded up
NOTE_TOKENS = 120  # of the line that stands for a run of swapped-out pages
LOW_WATER = 0.5  # eviction goes on until this share of the room is taken
CLIP = 4  # a page takes at most 1/CLIP of the room; of a longer one an excerpt is shown
HANDLES = 6  # handles named in the line for a run
FOUND = 8  # pages that one query brings back

Rank = Callable[[str, Mapping[int, str]], Awaitable[Sequence[int]]]
"""(query, texts by their numbers) -> the numbers of those that fit it, the best first."""


@dataclass(slots=True)
class _Group:
    """Pages that leave together: a message, or an assistant's calls with their results."""

    first: int
    last: int
    tokens: int
    movable: bool


class Offer(tuple[Tool, ...]):
    """The tools a process's model is shown, and how many tokens of a window they take."""

    tokens: dict[str, int]  # by the model's name

    def __new__(cls, tools: Iterable[Tool]) -> Self:
        """An offer whose tokens are not counted yet."""
        offer = super().__new__(cls, tools)
        offer.tokens = {}
        return offer


class Memory:
    """The windows of all processes."""

    def __init__(self, pages: Pages, events: Events) -> None:
        self.pages = pages
        self.rank: Rank | None = None  # how a device finds pages; without one, their words decide
        self._events = events

    # ---- the size of things ----------------------------------------------------------------------

    def room(self, model: Model, tools: Offer, answer: int) -> int:
        """Tokens for pages: the window without the answer and the tools' descriptions."""
        described = tools.tokens.get(model.name)
        if described is None:
            described = tools.tokens[model.name] = _described(model, tools)
        room = model.window - answer - described
        if room < model.window // CLIP:
            raise ContextOverflow(
                f"{len(tools)} tools may take {described} tokens of {model.name}'s window of "
                f"{model.window}: give the process fewer tools, or a model with a longer window."
            )
        return room

    def resident(self, process: Process) -> int:
        """Tokens of everything the process would be shown now."""
        if process.resident_tokens < 0:
            total, in_run = 0, False
            for page_id, stub, _ in process.pages:
                if not stub:
                    total += self.pages.get(page_id).tokens + OVERHEAD
                elif not in_run:
                    total += NOTE_TOKENS
                in_run = stub
            process.resident_tokens = total
        return process.resident_tokens

    # ---- appending and eviction ------------------------------------------------------------------

    def append(
        self,
        process: Process,
        page: Page,
        model: Model,
        room: int,
        *,
        pinned: bool = False,
        share: int = 1,
    ) -> Page:
        """Maps a page at the end and returns it, or the excerpt that is shown in its place.

        Room is made before. `share` pages of one group arrive together, each with its part of it.
        A process whose image's state says `whole` keeps everything as it is; ContextOverflow is
        raised if there is no room.
        """
        most = room // (CLIP * share)
        whole = process.image_state.get("whole")
        calls = page.role == "assistant" and page.meta and '"calls"' in page.meta
        if page.tokens + OVERHEAD > most and not whole and not calls:
            page = self._excerpt(page, model, most - OVERHEAD)
        tokens = page.tokens + OVERHEAD
        if self.resident(process) + tokens > room:
            if whole:
                raise ContextOverflow(
                    f"the conversation takes {self.resident(process) + tokens} tokens or more, "
                    f"and {model.name} has room for {room}."
                )
            self.evict(process, room, tokens, working=page.role == "tool")
        process.pages.append(page.id, pinned=pinned)
        process.resident_tokens += tokens
        if process.messages is not None:
            _add(process.messages, _message(page))
        process.read(page.label, sources_of(page), readers_of(page))
        return page

    def readers(self, process: Process) -> frozenset[str] | None:
        """Who may read what a model makes of the pages that it is shown now; None: anybody."""
        found: frozenset[str] | None = None
        if process.guard.readers is None:  # of all that it has read
            return found
        for page_id, stub, _ in process.pages:
            readers = None if stub else readers_of(self.pages.get(page_id))
            if readers is not None:
                found = readers if found is None else found & readers
        return found

    def instruct(self, process: Process, page: Page) -> None:
        """Maps other instructions in the place of the first page, where those of a chat are."""
        first = next(iter(process.pages), None)
        if first is not None and first[0] != page.id and self.pages.get(first[0]).role == "system":
            process.pages.replace(0, page.id)
            process.resident_tokens, process.messages = -1, None

    def evict(self, process: Process, room: int, need: int = 0, *, working: bool = True) -> int:
        """Swaps out the oldest groups until `need` fits and half of the room is free.

        The newest group stays if the process is `working` on it, and otherwise if there is room.
        Returns how many pages went. Raises ContextOverflow if what is pinned leaves too little.
        """
        if process.image_state.get("whole"):
            raise ContextOverflow(
                f"process {process.pid}: {self.resident(process)} tokens are more than the {room} "
                f"there is room for, and its client wants nothing swapped out."
            )
        target = max(int(room * LOW_WATER) - need, 0)
        groups = self._groups(process)
        kept = self.resident(process)
        gone = 0
        for group in groups:
            newest = group is groups[-1]
            if kept <= (room - need - NOTE_TOKENS if newest else target) or (newest and working):
                break
            if group.movable:
                for index in range(group.first, group.last + 1):
                    process.pages.evict(index)
                    gone += 1
                kept -= group.tokens
        process.resident_tokens, process.messages = -1, None
        if self.resident(process) + need > room:
            raise ContextOverflow(
                f"process {process.pid}: {self.resident(process)} tokens cannot be swapped out "
                f"(pinned, or in use now), and {need} more do not fit the {room} there are."
            )
        if gone:
            self._events.emit(process.pid, "fault", action="evict", pages=gone)
        return gone

    def _groups(self, process: Process) -> list[_Group]:
        """The resident part of the table in groups, oldest first."""
        groups: list[_Group] = []
        open_calls = False
        for index, (page_id, stub, pinned) in enumerate(process.pages):
            if stub:
                open_calls = False
                continue
            page = self.pages.get(page_id)
            tokens = page.tokens + OVERHEAD
            if page.role == "tool" and open_calls:
                group = groups[-1]
                group.last, group.tokens = index, group.tokens + tokens
                group.movable = group.movable and not pinned
            else:
                groups.append(_Group(index, index, tokens, not pinned))
                open_calls = page.role == "assistant"
        return groups

    def _excerpt(self, page: Page, model: Model, most: int) -> Page:
        """A page with the beginning and the end of a long one, and how to read on."""
        ratio = len(page.text) / max(1, page.tokens)  # characters a token, about
        keep = int(max(0, most - 60) * ratio)
        while True:
            head, tail = keep * 3 // 4, keep // 4
            hidden = len(page.text) - head - tail
            note = (
                f"\n[… {hidden} of {len(page.text)} characters are not shown: "
                f"recall(handle={page.handle!r}, offset={head}) reads on …]\n"
            )
            text = page.text[:head] + note + (page.text[-tail:] if tail else "")
            tokens = model.count(text)
            if tokens <= most or keep == 0:
                break
            keep = keep * 3 // 4 if keep > 40 else 0
        meta = json.loads(page.meta) if page.meta else {}
        meta["original"] = page.id
        return self.pages.put(page.role, text, tokens=tokens, label=page.label, meta=meta)

    # ---- what the model sees ---------------------------------------------------------------------

    def assemble(self, process: Process, aside: str = "") -> list[Message]:
        """The messages of a request: resident pages, and a line for each run of stubs.

        `aside` is asked beside the conversation: in the place of calls that are held back.
        """
        if process.messages is None:
            messages: list[Message] = []
            run: list[int] = []
            for page_id, stub, _ in process.pages:
                if stub:
                    run.append(page_id)
                    continue
                if run:
                    _add(messages, self._note(run))
                    run = []
                _add(messages, _message(self.pages.get(page_id)))
            if run:
                _add(messages, self._note(run))
            process.messages = messages
        messages = process.messages.copy()
        if aside:
            if messages and messages[-1].calls:
                messages.pop()
            _add(messages, Message("user", aside))
        return messages

    def newest_first(self, process: Process) -> Iterator[Message]:
        """What was said in a process, swapped out or not."""
        for page_id, *_ in reversed(list(process.pages)):
            yield _message(self.pages.get(page_id))

    def _note(self, run: list[int]) -> Message:
        pages = [self.pages.get(page_id) for page_id in run[-HANDLES:]]
        named = ", ".join(f"{page.handle} ({page.role})" for page in pages)
        more = "the last are " if len(run) > HANDLES else ""
        return Message(
            "user",
            f"[{len(run)} earlier messages are swapped out; {more}{named}. "
            f"recall(handle=…) or recall(query=…) brings one back.]",
        )

    # ---- the page fault --------------------------------------------------------------------------

    async def recall(
        self, process: Process, room: int, *, handle: str = "", query: str = "", offset: int = 0
    ) -> tuple[str, Integrity, frozenset[str] | None]:
        """(text, label, readers) of a page of this process by its handle, or of those that fit.

        Only pages the process has seen are found. Raises ToolError if there is none.
        """
        seen = self._seen(process)
        if handle:
            page = next((p for p in map(self.pages.get, seen) if p.handle == handle), None)
            if page is None:
                raise ToolError(f"no page {handle!r} belongs to this process.")
            found = [page]
        elif query:
            found = await self._search(query, seen)
            if not found:
                raise ToolError(f"nothing in this process's memory holds {query!r}.")
        else:
            raise ToolError("recall needs a handle or a query.")
        self._events.emit(process.pid, "fault", action="recall", pages=len(found))
        tainted = any(page.label == "untrusted" for page in found)
        label: Integrity = "untrusted" if tainted else "trusted"
        bound = [readers for page in found if (readers := readers_of(page)) is not None]
        readers = frozenset.intersection(*bound) if bound else None
        if handle:
            return self._part(found[0], offset, room // CLIP), label, readers
        part = room // (CLIP * len(found))
        texts = [f"[page {p.handle}, {p.role}]\n{self._part(p, 0, part)}" for p in found]
        return "\n\n".join(texts), label, readers

    async def _search(self, query: str, seen: set[int]) -> list[Page]:
        if self.rank is None:
            return [hit.page for hit in await self.pages.search(query, seen, FOUND)]
        texts = {number: self.pages.get(number).text for number in seen}
        return [self.pages.get(number) for number in (await self.rank(query, texts))[:FOUND]]

    def _part(self, page: Page, offset: int, tokens: int) -> str:
        """As much of a page from `offset` (in characters) as about `tokens` tokens hold."""
        ratio = len(page.text) / max(1, page.tokens)
        length = max(200, int(tokens * ratio * 0.8))
        part = page.text[offset : offset + length]
        end = offset + len(part)
        if end < len(page.text):
            part += f"\n[… recall(handle={page.handle!r}, offset={end}) reads on …]"
        return part

    def _seen(self, process: Process) -> set[int]:
        """The pages of the table, and the originals of the excerpts among them."""
        seen = process.pages.ids()
        for page_id in list(seen):
            meta = self.pages.get(page_id).meta
            if meta and '"original"' in meta:
                seen.add(json.loads(meta)["original"])
        return seen

    def find(self, process: Process, handle: str) -> Page:
        """The page of this process with the handle; raises ToolError if there is none."""
        for page_id in process.pages.ids():
            page = self.pages.get(page_id)
            if page.handle == handle:
                return page
        raise ToolError(f"no page {handle!r} belongs to this process.")


def _described(model: Model, tools: Offer) -> int:
    """The most tokens that the descriptions of those tools take that are shown at a time."""
    limit = getattr(model, "tools_shown", None)
    if not limit:
        texts = (f"{t.name} {t.description} {json.dumps(dict(t.parameters))}" for t in tools)
        return sum(OVERHEAD + model.count(text) for text in texts)
    escalate = any(tool.name == ESCALATE for tool in tools)
    return sum(sorted(map(model.tool_tokens, tools))[-(limit + escalate) :])  # type: ignore[attr-defined]


def sources_of(page: Page) -> frozenset[str] | None:
    """Where a page's words come from; None if nobody knows."""
    if page.label == "trusted" or page.role == "assistant":  # who wrote that has read it before
        return frozenset()
    found = (read_json(page.meta) if page.meta else {}).get("from")
    return None if found is None else frozenset(found)


def readers_of(page: Page) -> frozenset[str] | None:
    """Who may read a page beyond this machine; None: anybody."""
    if not page.meta or '"readers"' not in page.meta:
        return None
    found = read_json(page.meta).get("readers")
    return None if found is None else frozenset(found)


def _message(page: Page) -> Message:
    meta = read_json(page.meta) if page.meta else {}
    return Message(
        page.role,  # type: ignore[arg-type] # one of the four by construction
        page.text,
        tuple(ToolCall(*call) for call in meta.get("calls", ())),
        meta.get("call", ""),
        meta.get("name", ""),
    )


def _add(messages: list[Message], message: Message) -> None:
    """Appends; neighbours from the user become one, since many templates insist on turns."""
    if message.role == "system" and not message.text:
        return  # holds the place of instructions that may come
    if message.role == "user" and messages and messages[-1].role == "user":
        messages[-1] = Message("user", f"{messages[-1].text}\n\n{message.text}")
    else:
        messages.append(message)


def thought_meta(
    calls: Sequence[ToolCall],
    finish: str = "",
    client: Sequence[str] = (),
    readers: frozenset[str] | None = None,
    *,
    held: bool = False,
) -> dict[str, Any] | None:
    """What an assistant's page keeps beside its text: the calls, and that it was cut off.

    `client` are the ids of those calls that the client makes; `readers` may read it; `held`: the
    calls wait for a plan.
    """
    meta: dict[str, Any] = {}
    if calls:
        meta["calls"] = [[call.id, call.name, call.arguments, call.raw] for call in calls]
    if client:
        meta["client"] = client
    if held:
        meta["held"] = True
    if finish == "length":
        meta["finish"] = finish
    if readers is not None:
        meta["readers"] = sorted(readers)
    return meta or None
