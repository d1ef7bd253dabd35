"""One answer among several, put together from what happens in its process."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress

from cabinos.kernel.events import Event
from cabinos.serve.errors import ApiError
from cabinos.serve.forced import call_of
from cabinos.serve.turn import Called, Turn, said
from cabinos.serve.voice import Json, Voice

__all__ = ["Choice", "complete", "merged"]

BETWEEN = "\n\n"  # what a process says before a call of its tools, and what it says after


class Choice:
    """The text and calls of a turn so far.

    `held`: a thought may yet be rejected because it does not fit a schema; text is kept back, and
    only the last thought counts. `forced`: that thought is a call, written as JSON.
    """

    def __init__(self, turn: Turn, *, held: bool, forced: bool = False) -> None:
        self.calls: tuple[Called, ...] = ()
        self.provenance: list[Json] = []
        self._turn = turn
        self._voice = Voice(turn.handle)
        self._forced = forced
        self._held = held
        self._cut = False
        self._done: list[str] = []  # texts of complete thoughts
        self._heard = False  # something of the thought under way
        self._spoken = False  # and it was shown

    @property
    def text(self) -> str:
        """What was said."""
        return BETWEEN.join(self._done)

    @property
    def finish_reason(self) -> str:
        """Why it ended, in OpenAI's words."""
        if self.calls:
            return "tool_calls"
        return "length" if self._cut else "stop"

    def take(self, event: Event) -> str:
        """Takes note of an event; returns the text to be shown now. Raises ApiError."""
        if event.kind == "retry":
            if self._heard:
                message = f"the model broke off and was asked again ({event.data['reason']})."
                raise ApiError(502, message, code="model_error")
            return ""
        if event.kind == "thought":
            return self._complete(event)
        if event.kind != "text" or self._held or not event.data["text"]:
            return ""
        if not self._heard:
            self._voice.begin(event.data["label"])
            self._heard = True
        return self._show(self._voice.push(event.data["text"]))

    def held_text(self) -> str:
        """What was kept back."""
        return self.text if self._held else ""

    def _show(self, text: str) -> str:
        """The text, apart from what was said in the thoughts before."""
        if not text:
            return ""
        between = BETWEEN if self._done and not self._spoken else ""
        self._spoken = True
        return between + text

    def _complete(self, event: Event) -> str:
        """A whole thought; returns what of its text was not shown as it came."""
        page = event.data["page"]
        thought = said(self._turn.handle, page)
        self.calls, self._cut = thought.calls, thought.cut
        if self._held:
            self._done = []
            if self._forced:
                self._force(thought.text)
            elif thought.text:
                self._done.append(thought.text)
            return ""
        rest = ""
        if not self._heard:
            self._voice.begin(thought.label, page)
            rest = self._voice.push(thought.text)
        rest = self._show(rest + self._voice.close())
        if text := self._voice.text:
            offset = len(self.text) + len(BETWEEN) if self._done else 0
            self.provenance += self._voice.provenance(offset)
            self._done.append(text)
        self._heard = self._spoken = False
        return rest

    def _force(self, text: str) -> None:
        """Takes the call out of an answer; one that does not fit will be followed by another."""
        with suppress(ValueError, KeyError, TypeError):
            self.calls = (call_of(self._turn.pid, text),)


async def complete(turns: Sequence[Turn], choices: Sequence[Choice]) -> None:
    """Follows all turns to their end, where nothing is shown before. Raises ApiError."""
    async with aclosing(merged(turns)) as events:
        async for index, event in events:
            if event is not None and event.kind == "thought":
                choices[index].take(event)


async def merged(turns: Sequence[Turn]) -> AsyncGenerator[tuple[int, Event | None]]:
    """The events of several turns, each with its number. Raises ApiError."""
    queue: asyncio.Queue[tuple[int, Event | None] | Exception | None] = asyncio.Queue()

    async def pump(number: int, turn: Turn) -> None:
        try:
            async for event in turn.events():
                queue.put_nowait((number, event))
            queue.put_nowait(None)
        except Exception as error:  # noqa: BLE001 - raised below, where it is waited for
            queue.put_nowait(error)

    tasks = [asyncio.ensure_future(pump(number, turn)) for number, turn in enumerate(turns)]
    try:
        running = len(tasks)
        while running:
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                running -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
