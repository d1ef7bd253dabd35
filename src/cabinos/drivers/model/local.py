"""The engine in this process as a model: many thoughts at once, each of which can give way.

A thought is one request of the engine's scheduler. Its text streams through a splitter, so that
nobody sees markup; where tools are on offer, a call once begun is decoded under their grammar. When
its quantum is spent and somebody waits, the request is paused: its KV goes to disk if the pages are
wanted, and it continues with the very tokens it would have had.
"""

import asyncio
import threading
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cabinos.drivers.model.brain import BUILT_IN
from cabinos.drivers.model.prompt import Prompter
from cabinos.drivers.model.telling import Teller
from cabinos.drivers.model.tool_calls import Splitter
from cabinos.engine.errors import ContextOverflow as EngineOverflow
from cabinos.engine.errors import EngineError, InvalidRequest, OutOfPages
from cabinos.kernel.driver import Message, ThinkRequest, Thought, Tool, ToolCall
from cabinos.kernel.errors import ContextOverflow, ModelError

if TYPE_CHECKING:
    from cabinos.engine.constraints import Constraint
    from cabinos.engine.model import Model
    from cabinos.engine.request import Completion, Handle
    from cabinos.engine.scheduler import Scheduler, SchedulerStats

__all__ = ["Answer", "LocalModel", "LocalSettings"]

TEMPERATURE = 0.7  # unless the settings, or the file, say something else
TOP_P = 0.95  # of every thought that is not greedy
PLANS = 3_000_000_000  # parameters from which a model is trusted to write a plan: a rule of thumb
ROOM = 32_768  # tokens of keys and values that all slots get together, if one window needs no more


@dataclass(frozen=True)
class LocalSettings:
    """A GGUF file and how to run it."""

    path: Path
    window: int | None = None  # tokens of prompt and answer; None: the file's context length
    slots: int = 4  # thoughts at once
    kv_tokens: int | None = None  # room for keys and values of all thoughts; the rest is swapped
    threads: int | None = None  # None: as many as there are CPUs
    temperature: float | None = None  # of thoughts that ask for none; None: the file's, or 0.7
    tools_shown: int | None = None  # few tools at a time, for a small model; None: the file's word
    plans: bool | None = None  # it can write a plan; None: if it is large enough
    thinking: bool = False  # let a model think that does so only if asked
    swap_dir: Path | None = None  # None: the system's temporary directory


@dataclass(frozen=True)
class Answer:
    """A thought, and what the engine was given and drew to have it: token for token."""

    thought: Thought
    prompt: list[int]
    completion: "Completion"
    constraint: "Constraint | None"  # what the draw was confined to


@dataclass(frozen=True)
class _Started:
    """A request under way."""

    prompt: list[int]
    handle: "Handle"
    constraint: "Constraint | None"


class LocalModel:
    """A GGUF file. It is opened by the first `count` or `think`, and closed by `close`.

    Raises ModelError if the window is to come from the file and it cannot be read.
    """

    def __init__(self, name: str, settings: LocalSettings) -> None:
        self.name = name
        self.settings = settings
        self.window: int = settings.window or self._context_length()
        self.slots = settings.slots
        self.local = True
        self.built_in = settings.path.resolve() == BUILT_IN.resolve()
        self.raw = True  # goes on with a text, without the chat template
        self.price = (0.0, 0.0)
        self._lock = threading.RLock()
        self._loaded: Prompter | None = None
        self._scheduler: Scheduler | None = None
        self._closed = False

    # ---- facts -----------------------------------------------------------------------------------

    def count(self, text: str) -> int:
        """The tokens of a text, exactly. A message takes up to `overhead` more."""
        return self._prompter.count(text)

    @property
    def overhead(self) -> int:
        """The most tokens a message takes beyond its text, and each call beyond its JSON."""
        return self._prompter.overhead

    def measure(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> int:
        """The tokens of a whole prompt, exactly. Raises ModelError if it cannot be written."""
        try:
            return len(self._prompter.encode(messages, tools))
        except EngineError as error:
            raise self._translated(error) from None

    @property
    def assistant(self) -> bool:
        """Whether it was trained to be Cabin's, and so needs no instructions."""
        return self._prompter.traits.assistant

    @property
    def tools_shown(self) -> int | None:
        """How many tools it is shown at a time, if it is too small for all."""
        return self.settings.tools_shown or self._prompter.traits.tools_shown

    @cached_property
    def plans(self) -> bool:
        """Whether it can write a plan: as the settings say, or by its size."""
        if self.settings.plans is not None:
            return self.settings.plans
        from cabinos.engine.catalog import describe

        return self.tools_shown is None and describe(self.settings.path).parameters >= PLANS

    @property
    def temperature(self) -> float:
        """Of thoughts that ask for none: what the settings say, or the file, or the default."""
        wanted = (self.settings.temperature, self._prompter.traits.temperature, TEMPERATURE)
        return next(value for value in wanted if value is not None)

    def tool_tokens(self, tool: Tool) -> int:
        """The most tokens that a tool's description takes in a prompt."""
        asked = (Message("user", "x"),)
        return self.measure(asked, (tool,)) - self.measure(asked)

    def stats(self) -> "SchedulerStats | None":
        """The state of the engine: `waiting` is the depth of its queue. None if it is not open."""
        return self._scheduler.stats() if self._scheduler is not None else None

    # ---- thinking --------------------------------------------------------------------------------

    async def think(self, request: ThinkRequest) -> Thought:
        """Answers; see `cabinos.kernel.driver.Model`. Cancelling it ends the decoding at once."""
        return (await self.answer(request)).thought

    async def answer(self, request: ThinkRequest, *, logprobs: bool = False) -> Answer:
        """As `think`, with the tokens; with `logprobs`, what the model itself gave each of them."""
        started = await self._begin(request, logprobs)
        prompt, handle = started.prompt, started.handle
        prompter = self._prompter
        splitter = Splitter(
            [tool.name for tool in _callable(request)],
            marks=prompter.call_format.marks,
            id_prefix=f"call_{blake2b(array('i', prompt), digest_size=6).hexdigest()}_",
            thinking=prompter.opens_thinking(prompt),
        )
        said: list[str] = []
        teller = Teller(request.messages, request.tools) if prompter.traits.tells else None

        def show(text: str, *, last: bool = False) -> None:
            if teller is not None and not request.raw:
                text = teller.push(text) + (teller.finish() if last else "")
            if text:
                said.append(text)
                request.emit(text)

        try:
            async for delta in handle:
                text = delta.text
                if delta.finish_reason:
                    text = text.rstrip("\ufffd")  # a character that was cut in half
                show(text if request.raw else splitter.push(text))
                if delta.tokens and request.lease is not None:
                    spent = request.lease.over(len(delta.tokens))
                    if spent and not delta.finish_reason:
                        handle.pause()
                        await request.lease.give_way()
                        handle.resume()
            show(splitter.finish(), last=True)
            completion = await handle
        except EngineError as error:
            raise self._translated(error) from None
        finally:
            handle.cancel()
        thought = self._thought("".join(said), splitter.calls, completion)
        return Answer(thought, prompt, completion, started.constraint)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector of length 1 for each text. Raises ModelError, ContextOverflow if one is long."""
        try:
            return await asyncio.to_thread(self._embed, texts)
        except EngineError as error:
            raise self._translated(error) from None

    def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        scheduler, encode = self._open(), self._prompter.tokenizer.encode
        return [scheduler.embed(encode(text)).tolist() for text in texts]

    async def close(self) -> None:
        """Ends every thought and frees the model's memory; idempotent."""
        await asyncio.to_thread(self._close)

    def _thought(self, text: str, calls: tuple[ToolCall, ...], completion: "Completion") -> Thought:
        reason = completion.choices[0].finish_reason
        if reason == "cancelled":
            raise ModelError(f"{self.name} was closed while it answered.", retryable=True)
        finish: Literal["stop", "calls", "length"] = "calls" if calls else "stop"
        if reason == "length" and not (calls and calls[-1].arguments is not None):
            finish = "length"
        return Thought(
            text=text,
            calls=calls,
            finish=finish,
            input_tokens=completion.prompt_tokens,
            cached_tokens=completion.cached_tokens,
            output_tokens=completion.generated_tokens,
        )

    async def _begin(self, request: ThinkRequest, logprobs: bool) -> _Started:
        """Writes the prompt and submits it, on a thread: both may take a while."""
        starting = asyncio.ensure_future(asyncio.to_thread(self._submit, request, logprobs))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(_cancel_started)
            raise
        except EngineError as error:
            raise self._translated(error) from None

    def _submit(self, request: ThinkRequest, logprobs: bool) -> _Started:
        from cabinos.engine.sampling import SamplingParams

        prompter = self._prompter
        if request.raw:
            prompt = prompter.tokenizer.encode(request.messages[0].text)
        else:
            prompt = prompter.encode(request.messages, request.tools)
        if len(prompt) + request.max_tokens > self.window:
            raise ContextOverflow(
                f"{self.name}: the prompt takes {len(prompt)} tokens and the answer may take "
                f"{request.max_tokens}, together {len(prompt) + request.max_tokens}, but the "
                f"window holds {self.window}: shorten the prompt or ask for a shorter answer."
            )
        temperature = request.temperature
        small, callable_ = self.tools_shown is not None, _callable(request)
        params = SamplingParams(
            max_tokens=request.max_tokens,
            temperature=self.temperature if temperature is None else temperature,
            top_p=TOP_P if request.top_p is None else request.top_p,
            seed=request.seed,
            stop=(*request.stop, *(() if request.raw else prompter.stop)),
            logit_bias={} if request.raw else prompter.reserve(request.messages),
            show_token_ids=() if request.raw else prompter.markup,
            constraint=prompter.constraint(
                callable_, request.schema, request.messages if small and not request.raw else ()
            ),
            logprobs=0 if logprobs else None,
        )
        engine = self._open()
        try:
            return _Started(prompt, engine.submit(prompt, params), params.constraint)
        except InvalidRequest:
            if not small:
                raise
            plain = prompter.constraint(callable_, request.schema)
            handle = engine.submit(prompt, replace(params, constraint=plain))
            return _Started(prompt, handle, plain)

    # ---- opening and closing ---------------------------------------------------------------------

    @property
    def _prompter(self) -> Prompter:
        if self._loaded is None:
            with self._lock:
                try:
                    self._loaded = self._loaded or Prompter(
                        self.settings.path, thinking=self.settings.thinking
                    )
                except EngineError as error:
                    raise self._translated(error) from None
        return self._loaded

    def _open(self) -> "Scheduler":
        from cabinos.engine.scheduler import Scheduler

        with self._lock:
            if self._closed:
                raise ModelError(f"{self.name} is closed.")
            if self._scheduler is None:
                self._scheduler = Scheduler(
                    self._open_model(),
                    self._prompter.tokenizer,
                    max_batch=self.slots,
                    swap_dir=self.settings.swap_dir,
                )
            return self._scheduler

    def _open_model(self) -> "Model":
        from cabinos.engine.model import Model

        path = self.settings.path
        room = self.settings.kv_tokens or max(self.window, min(self.slots * self.window, ROOM))
        model = Model(path, threads=self.settings.threads, kv_tokens=room)
        if self.window > model.context_length:
            model.close()
            raise ModelError(
                f"{self.name}: the window is set to {self.window} tokens, but {path} was made for "
                f"{model.context_length}: set a smaller window."
            )
        return model

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            scheduler, self._scheduler = self._scheduler, None
            if scheduler is not None:
                scheduler.close()
                scheduler.model.close()

    def _context_length(self) -> int:
        from cabinos.engine.catalog import describe

        entry = describe(self.settings.path)
        if entry.error:
            raise ModelError(f"{self.name}: {entry.error}")
        return entry.context_length

    def _translated(self, error: EngineError) -> ModelError:
        """An error of the engine as one of the kernel's."""
        kind = ContextOverflow if isinstance(error, EngineOverflow | OutOfPages) else ModelError
        return kind(f"{self.name}: {error}")


def _callable(request: ThinkRequest) -> Sequence[Tool]:
    """Those of the tools that may be called now."""
    return request.tools if request.calls else ()


def _cancel_started(starting: "asyncio.Future[_Started]") -> None:
    """Ends a request whose thought was cancelled before it had begun."""
    if not starting.cancelled() and starting.exception() is None:
        starting.result().handle.cancel()
