"""What models behind a web API have in common: patience, retries, and distrust of the answer.

A server may be slow, busy, gone in the middle of a word, or talk nonsense. Each of these ends in
bounded time as one ModelError that says what happened. A request is sent again only as long as none
of its answer has been shown, so nobody reads the same words twice.
"""

import asyncio
import json
import os
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Literal
from urllib.parse import urlsplit

from cabinos.drivers.model.estimate import estimate
from cabinos.drivers.model.tool_calls import Splitter, parse_json
from cabinos.kernel.driver import Message, ThinkRequest, Thought, Tool, ToolCall
from cabinos.kernel.errors import ContextOverflow, ModelError

__all__ = [
    "CallPart",
    "Endpoint",
    "Part",
    "RemoteModel",
    "ServerError",
    "WireNames",
    "as_unicode",
    "pick",
    "pick_count",
]

BACKOFF = 0.5  # seconds before the first retry, doubled with each further one, and jittered
LONGEST_WAIT = 30.0  # seconds; a server that wants more is left to the caller
LAST_WORDS = 5.0  # seconds for the token counts to come after the answer has ended
BUSY = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 529))  # may be better in a moment

_OVERFLOW = re.compile(
    r"context[ _-]?(length|window|size)|maximum context|too many (input )?tokens|prompt is too long"
    r"|exceed.{0,40}\b(context|token limit)|input is too long",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Endpoint:
    """Where a remote model is and what is known of it."""

    name: str
    model: str  # as its server calls it
    base_url: str
    window: int
    slots: int = 8
    price: tuple[float, float] = (0.0, 0.0)
    local: bool = False  # what it is shown stays on this machine
    plans: bool = True  # it can write a plan
    api_key_env: str | None = None
    connect_timeout: float = 10.0  # seconds
    idle_timeout: float = 120.0  # seconds without anything new
    retries: int = 4
    text_calls: bool = False  # its server leaves tool calls in the text

    def api_key(self) -> str:
        """The key, from the environment. Raises ModelError if it is not there."""
        if self.api_key_env is None:
            return ""
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise ModelError(
                f"{self.name}: the environment variable {self.api_key_env} is not set: put the API "
                f"key for {self.base_url} there."
            )
        return key

    @property
    def loopback(self) -> bool:
        """Whether the server is on this machine, where no proxy belongs in between."""
        return urlsplit(self.base_url).hostname in ("127.0.0.1", "localhost", "::1")

    def redacted(self, text: str) -> str:
        """The text on one line, without the key and at most 300 characters."""
        key = os.environ.get(self.api_key_env, "") if self.api_key_env else ""
        if key.strip():
            text = text.replace(key.strip(), "***")
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return text if len(text) <= 300 else text[:299] + "…"


class ServerError(ModelError):
    """A failed attempt. `again`: try once more at once; `after`: not before so many seconds."""

    def __init__(
        self, message: str, *, retryable: bool = False, again: bool = False, after: float = 0.0
    ) -> None:
        super().__init__(message, retryable=retryable)
        self.again = again
        self.after = after


@dataclass(frozen=True, slots=True)
class CallPart:
    """A piece of a tool call; pieces with one index belong together."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that a stream brought; all fields may be empty. Later counts replace earlier."""

    text: str = ""
    calls: tuple[CallPart, ...] = ()
    finish: Literal["", "stop", "calls", "length"] = ""
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    thinking: bool = False  # progress that is not shown

    @property
    def progress(self) -> bool:
        """Whether the answer has come any further."""
        return bool(self.text or self.calls or self.finish or self.thinking)


class RemoteModel(ABC):
    """A model of the kernel over some `_stream`; subclasses know one API each."""

    overhead = 8
    """The most tokens a message takes beyond its text, and each call beyond its JSON."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.name = endpoint.name
        self.window = endpoint.window
        self.slots = endpoint.slots
        self.local = endpoint.local
        self.plans = endpoint.plans
        self.price = endpoint.price
        self._client: Any = None  # of the SDK

    def count(self, text: str) -> int:
        """How many tokens the text takes, estimated from above: see `estimate`."""
        return estimate(text)

    def measure(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> int:
        """The tokens of a whole prompt, estimated from above."""
        texts = [message.text for message in messages]
        texts += [_as_json(call) for message in messages for call in message.calls]
        texts += [f"{tool.name}{tool.description}{json.dumps(tool.parameters)}" for tool in tools]
        return sum(estimate(text) + self.overhead for text in texts)

    async def think(self, request: ThinkRequest) -> Thought:
        """Answers; see `cabinos.kernel.driver.Model`."""
        await self._connect()
        shown = _Shown(request)
        request = replace(request, emit=shown.emit)
        attempt = 0
        while True:
            try:
                return await self._attempt(request)
            except ServerError as error:
                attempt += 1
                hopeless = not error.again or error.after > LONGEST_WAIT
                if shown.anything or hopeless or attempt > self.endpoint.retries:
                    raise ModelError(str(error), retryable=error.retryable) from None
                backoff = BACKOFF * 2 ** (attempt - 1) * secrets.SystemRandom().uniform(0.5, 1)
                await asyncio.sleep(max(error.after, min(backoff, LONGEST_WAIT)))

    async def close(self) -> None:
        """Closes the connections; idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    @abstractmethod
    def _open(self) -> Any:
        """The SDK's client, with no timeouts but for connecting, and no retries of its own."""

    @abstractmethod
    def _stream(self, request: ThinkRequest) -> AsyncGenerator[Part]:
        """Sends the request and yields what comes. Raises ServerError or ContextOverflow."""

    def connection(self, http_client: Callable[..., Any]) -> dict[str, Any]:
        """The arguments of an SDK's client, which has an HTTP client of its own kind."""
        import httpx2

        timeout = httpx2.Timeout(None, connect=self.endpoint.connect_timeout)
        return {
            "base_url": self.endpoint.base_url,
            "api_key": self.endpoint.api_key() or "none",  # or the SDK would look for one itself
            "max_retries": 0,
            "timeout": timeout,
            "http_client": http_client(timeout=timeout, trust_env=not self.endpoint.loopback),
        }

    @asynccontextmanager
    async def send(
        self, path: str, body: Mapping[str, Any], stream: type[Any]
    ) -> AsyncGenerator[Any]:
        """The answer as an SDK's `stream`; not by its `create`, which checks all messages slowly.

        Raises ServerError if the answer is no event stream, such as a page of HTML.
        """
        sending = self._client.post(path, body=body, cast_to=object, stream=True, stream_cls=stream)
        async with await sending as answer:
            kind = answer.response.headers.get("content-type", "nothing").partition(";")[0]
            if kind != "text/event-stream":
                beginning = await _beginning(answer.response)
                why = f"{kind} where an event stream was due; is base_url right? {beginning!r}"
                raise self.nonsense(why)
            yield answer

    async def _connect(self) -> None:
        """Makes the client, on a thread: to import an SDK takes a second or more."""
        if self._client is not None:
            return
        try:
            client = await asyncio.to_thread(self._open)
        except ImportError as error:
            raise ModelError(
                f"{self.name} needs the package {error.name}: pip install 'cabinos[remote]'"
            ) from None
        self._client = self._client or client  # another thought may have been faster

    # ---- one attempt -----------------------------------------------------------------------------

    async def _attempt(self, request: ThinkRequest) -> Thought:
        answer = _Answer(self.endpoint, request)
        idle = self.endpoint.idle_timeout
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(idle) as patience:
                async with aclosing(self._stream(request)) as parts:
                    async for part in parts:
                        answer.add(part)
                        if part.progress:
                            wait = min(idle, LAST_WORDS) if answer.last.finish else idle
                            patience.reschedule(loop.time() + wait)
        except TimeoutError:
            if not answer.last.finish:
                raise ServerError(
                    f"{self.name}: {self.endpoint.base_url} sent nothing for {idle:g} s "
                    f"({answer.so_far()}): it hangs, or needs a longer idle_timeout.",
                    retryable=True,
                ) from None
        thought = answer.thought()
        return replace(
            thought,
            input_tokens=thought.input_tokens or self.measure(request.messages, request.tools),
            output_tokens=thought.output_tokens or answer.estimated(),
        )

    # ---- what both SDKs have --------------------------------------------------------------

    def refused(self, status: int, body: object, headers: Mapping[str, str]) -> ModelError:
        """The error for an answer other than 200."""
        said = self.endpoint.redacted(_message_in(body))
        message = f"{self.name}: {self.endpoint.base_url} answered {status}: {said or 'no reason'}"
        if status in (400, 413, 422, 500) and _OVERFLOW.search(said):
            return ContextOverflow(f"{message} (the window is set to {self.window} tokens)")
        if status in (401, 403):
            where = self.endpoint.api_key_env
            message += f" (check the key in {where})" if where else " (set api_key_env?)"
        busy, after = status in BUSY, _retry_after(headers)
        if after > LONGEST_WAIT:
            message += f" (it asks to wait {after:.0f} s)"
        return ServerError(message, retryable=busy, again=busy, after=after)

    def lost(self, error: BaseException) -> ServerError:
        """The error for a connection that could not be made, or broke."""
        cause = error.__cause__ or error
        why = self.endpoint.redacted(str(cause) or type(cause).__name__)
        return ServerError(
            f"{self.name}: no connection to {self.endpoint.base_url}, or it broke: {why}",
            retryable=True,
            again=True,
        )

    def nonsense(self, what: str) -> ServerError:
        """The error for an answer that is not what the API promises."""
        where = self.endpoint.base_url
        return ServerError(f"{self.name}: {where} sent {self.endpoint.redacted(what)}")


async def _beginning(response: Any) -> str:
    """The first 200 characters or so of an answer."""
    beginning = b""
    async for data in response.aiter_bytes():
        beginning += data
        if len(beginning) >= 200:
            break
    return beginning[:200].decode(errors="replace")


class _Shown:
    """Remembers whether anything has been shown."""

    def __init__(self, request: ThinkRequest) -> None:
        self.anything = False
        self._emit = request.emit

    def emit(self, text: str) -> None:
        self.anything = True
        self._emit(text)


@dataclass
class _Answer:
    """What has come of one answer."""

    endpoint: Endpoint
    request: ThinkRequest
    text: list[str] = field(default_factory=list)
    calls: dict[int, CallPart] = field(default_factory=dict)
    last: Part = Part()

    def __post_init__(self) -> None:
        in_text = self.endpoint.text_calls and self.request.calls
        names = [tool.name for tool in self.request.tools] if in_text else []
        prefix = f"call_{secrets.token_hex(6)}_"
        self._splitter = Splitter(names, id_prefix=prefix)
        self._prefix = prefix

    def add(self, part: Part) -> None:
        self._show(self._splitter.push(part.text) if part.text else "")
        for piece in part.calls:
            old = self.calls.get(piece.index, CallPart(piece.index))
            self.calls[piece.index] = CallPart(
                piece.index,
                old.id or piece.id,
                old.name or piece.name,
                old.arguments + piece.arguments,
            )
        known = {
            name: value
            for name in ("finish", "input_tokens", "cached_tokens", "output_tokens")
            if (value := getattr(part, name))
        }
        self.last = replace(self.last, **known)

    def so_far(self) -> str:
        length = sum(map(len, self.text))
        return f"after {length} characters" if length or self.calls else "not even a beginning"

    def estimated(self) -> int:
        """Output tokens, where the server did not say."""
        texts = ["".join(self.text), *(f"{c.name}{c.arguments}" for c in self.calls.values())]
        return sum(map(estimate, texts))

    def thought(self) -> Thought:
        """The whole answer. Raises ServerError if it has no end or a call has no name."""
        endpoint = self.endpoint
        where = f"{endpoint.name}: {endpoint.base_url}"
        if not self.last.finish:
            raise ServerError(
                f"{where} broke off its answer ({self.so_far()}).", retryable=True, again=True
            )
        self._show(self._splitter.finish())
        calls = [self._call(part) for _, part in sorted(self.calls.items())]
        nameless = [call for call in calls if not call.name]
        if nameless:
            raw = endpoint.redacted(nameless[0].raw)
            raise ServerError(f"{where} sent half a tool call, without a name: {raw!r}")
        calls += self._splitter.calls
        cut = self.last.finish == "length" and not (calls and calls[-1].arguments is not None)
        return Thought(
            text="".join(self.text),
            calls=tuple(calls),
            finish="length" if cut else "calls" if calls else "stop",
            input_tokens=self.last.input_tokens or 0,
            cached_tokens=self.last.cached_tokens or 0,
            output_tokens=self.last.output_tokens or 0,
        )

    def _show(self, text: str) -> None:
        if text:
            self.text.append(text)
            self.request.emit(text)

    def _call(self, part: CallPart) -> ToolCall:
        try:
            arguments = parse_json(part.arguments) if part.arguments.strip() else {}
        except ValueError:
            arguments = None
        return ToolCall(
            part.id or f"{self._prefix}{part.index}",
            part.name,
            arguments if isinstance(arguments, dict) else None,
            part.arguments,
        )


class WireNames:
    """Names of tools as APIs allow them: letters, digits, _ and -, at most 64; and back again."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._wire: dict[str, str] = {}
        self._kernel: dict[str, str] = {}
        for tool in tools:
            self.of(tool.name)

    def of(self, name: str) -> str:
        """What `name` is called on the wire."""
        if name not in self._wire:
            stem = re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:60] or "_"
            wire, number = stem, 2
            while wire in self._kernel:
                wire, number = f"{stem}_{number}", number + 1
            self._wire[name] = wire
            self._kernel[wire] = name
        return self._wire[name]

    def back(self, wire: str) -> str:
        """What the kernel calls a tool; a name that is not on the wire is left as it is."""
        return self._kernel.get(wire, wire)


def as_unicode(text: str) -> str:
    """The text with lone surrogates, which no JSON body can carry, as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _as_json(call: ToolCall) -> str:
    return call.name + (json.dumps(call.arguments) if call.arguments is not None else call.raw)


def _message_in(body: object) -> str:
    """What the body of an error says: several shapes are in use."""
    while isinstance(body, Mapping):
        body = body.get("error") or body.get("message") or body.get("detail") or json.dumps(body)
    return body if isinstance(body, str) else repr(body) if body is not None else ""


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the server asks to wait: a number, or a date."""
    said = headers.get("retry-after", "")
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time())
    except ValueError:
        return 0.0


def pick(value: object, *path: str) -> Any:
    """What JSON holds under these keys, None if it is not there."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def pick_count(value: object, *path: str) -> int | None:
    """A number of tokens under these keys, None if there is none."""
    found = pick(value, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None
