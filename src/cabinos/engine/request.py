"""A request as its caller sees it: streamed deltas, the completion, and the handle to both."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from cabinos.engine.sampling import SampledToken

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Delta:
    """What one step added to one continuation.

    `text` lags behind `tokens` where a character or a possible stop string is incomplete; `tokens`
    includes end tokens and the tokens of a stop string, whose text is not part of `text`.
    """

    index: int  # which continuation, from 0
    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[SampledToken, ...] | None  # one per token, if asked for
    finish_reason: FinishReason | None  # on the last delta of a continuation


@dataclass(frozen=True, slots=True)
class Choice:
    """One whole continuation."""

    index: int
    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[SampledToken, ...] | None
    finish_reason: FinishReason

    def as_delta(self) -> Delta:
        """All of it in one delta."""
        return Delta(self.index, self.text, self.tokens, self.logprobs, self.finish_reason)


@dataclass(frozen=True, slots=True)
class Completion:
    """The answer to one request."""

    choices: tuple[Choice, ...]
    prompt_tokens: int
    cached_tokens: int  # prompt tokens whose KV came from the prefix cache
    seed: int  # the seed in use: the same request with this seed gives the same completion

    @property
    def text(self) -> str:
        """The text of the first continuation."""
        return self.choices[0].text

    @property
    def generated_tokens(self) -> int:
        """Tokens generated, over all choices."""
        return sum(len(choice.tokens) for choice in self.choices)


class Handle:
    """One submitted request. Any thread may use it, and any number of readers.

    Iterate it (`for` or `async for`) to stream deltas; `result()` or `await` it for the completion.
    A request that fails raises its EngineError in all of them, after the deltas that came before.
    """

    def __init__(self, cancel: Callable[[], None], pause: Callable[[bool], None]) -> None:
        self._cancel = cancel
        self._pause = pause
        self._changed = threading.Condition()
        self._deltas: list[Delta] = []
        self._completion: Completion | None = None
        self._error: BaseException | None = None
        self._async_readers: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    @property
    def done(self) -> bool:
        """Whether the request has been completed, has failed or has been cancelled."""
        return self._completion is not None or self._error is not None

    def cancel(self) -> None:
        """Ends the request at the next step with finish reason "cancelled"; frees its pages."""
        self._cancel()

    def pause(self) -> None:
        """Sets the request aside after the step under way, until `resume`.

        It computes nothing meanwhile, and its pages are the first to go to disk when another
        request wants them. Its tokens are those it would have had undisturbed.
        """
        self._pause(True)

    def resume(self) -> None:
        """Lets a paused request go on, at its old rank; harmless if it is not paused."""
        self._pause(False)

    def result(self, timeout: float | None = None) -> Completion:
        """Waits for the completion. Raises TimeoutError after `timeout` seconds (it goes on)."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.done, timeout):
                raise TimeoutError(f"the request was not complete after {timeout} s")
        return self._outcome()

    def __iter__(self) -> Iterator[Delta]:
        position = 0
        while True:
            with self._changed:
                while not self.done and len(self._deltas) == position:
                    self._changed.wait()
                fresh = self._deltas[position:]
                finished = self.done
            yield from fresh
            position += len(fresh)
            if finished:
                break
        self._outcome()

    async def __aiter__(self) -> AsyncIterator[Delta]:
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        position = 0
        with self._changed:
            self._async_readers[changed] = loop
        try:
            while True:
                with self._changed:
                    changed.clear()
                    fresh = self._deltas[position:]
                    finished = self.done
                for delta in fresh:
                    yield delta
                position += len(fresh)
                if finished:
                    break
                await changed.wait()
        finally:
            with self._changed:
                del self._async_readers[changed]
        self._outcome()

    def __await__(self) -> Generator[Any, None, Completion]:
        return self._wait().__await__()

    async def _wait(self) -> Completion:
        async for _ in self:
            pass
        return self._outcome()

    def _outcome(self) -> Completion:
        if self._error is not None:
            raise self._error
        assert self._completion is not None
        return self._completion

    # The scheduler's side.

    def push(self, *deltas: Delta) -> None:
        """Streams `deltas` to the readers."""
        with self._changed:
            self._deltas += deltas
            self._notify()

    def finish(self, outcome: Completion | BaseException) -> None:
        """Ends the stream."""
        with self._changed:
            if isinstance(outcome, BaseException):
                self._error = outcome
            else:
                self._completion = outcome
            self._notify()

    def _notify(self) -> None:
        self._changed.notify_all()
        for event, loop in self._async_readers.items():
            with suppress(RuntimeError):  # a loop that was closed with its reader in it
                loop.call_soon_threadsafe(event.set)
