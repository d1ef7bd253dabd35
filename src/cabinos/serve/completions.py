"""POST /v1/completions and /v1/embeddings: what models do without a chat around it.

A completion is a process whose request is a text to go on with; only models that can do so without
their chat template take it. An embedding is a plain function of a text, and no process.
"""

import base64
import struct
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from cabinos.kernel.kernel import Spawn
from cabinos.serve.body import Body, read_body, read_json
from cabinos.serve.choices import Choice, complete, merged
from cabinos.serve.encode import Json
from cabinos.serve.errors import ApiError
from cabinos.serve.service import service_of, unless_gone
from cabinos.serve.sse import DONE, KEEP_ALIVE, EventStream, sse, with_first
from cabinos.serve.turn import Turn
from cabinos.serve.wire import Count, Seed, Stop, StreamOptions, Temperature, TopP

__all__ = ["IGNORED", "REFUSED", "completions", "embeddings"]

DEFAULT_TOKENS = 16  # OpenAI's
MOST_CHOICES = 64  # prompts times n
IGNORED = frozenset(("user",))
REFUSED: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (),
    "presence_penalty": (0,),
    "suffix": ("",),
}
Embed = Callable[[Sequence[str]], Awaitable[list[list[float]]]]


class CompletionRequest(Body):
    """The parameters that are honoured."""

    model: str
    prompt: str | Annotated[list[str], Field(min_length=1)]
    echo: bool | None = None
    max_tokens: Count = None
    n: Annotated[int, Field(ge=1, le=16)] | None = None
    seed: Seed = None
    stop: Stop = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Temperature = None
    top_p: TopP = None


async def completions(request: Request) -> Response:
    """Goes on with texts."""
    service = service_of(request)
    data = await read_json(request)
    asked = read_body(CompletionRequest, data, ignored=IGNORED, refused=REFUSED)
    chosen = service.choose(asked.model)
    if chosen.cabin or not getattr(service.kernel.model(chosen.name), "raw", False):
        message = f"{asked.model} only chats; local models go on with a text."
        raise ApiError(400, message, code="unsupported_model", param="model")
    prompts = [asked.prompt] if isinstance(asked.prompt, str) else asked.prompt
    spawns = [
        _spawn(chosen.name, asked, prompt, number)
        for prompt in prompts
        for number in range(asked.n or 1)
    ]
    if len(spawns) > MOST_CHOICES:
        raise ApiError(400, f"at most {MOST_CHOICES} texts at once.", param="prompt")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(service.place(chosen.name, len(spawns)))
        handles = await service.kernel.spawn_many(spawns)
        turns = [Turn(service, handle, stays=False) for handle in handles]
        for turn in turns:
            stack.callback(turn.leave)
        echoes = [spawn.request if asked.echo else "" for spawn in spawns]
        answer = _Answer(asked, turns, echoes)
        if not asked.stream:
            return Json(await unless_gone(request, answer.whole()))
        chunks = answer.chunks()
        first = await unless_gone(request, anext(chunks))
        return EventStream(with_first(first, chunks), stack.pop_all())


def _spawn(model: str, asked: CompletionRequest, prompt: str, number: int) -> Spawn:
    if not prompt:
        raise ApiError(400, "a prompt must not be empty.", param="prompt")
    return Spawn(
        request=prompt,
        model=model,
        system="",
        tools=(),
        hand_back=True,
        whole=True,
        raw=True,
        interactive=bool(asked.stream),
        temperature=asked.temperature,
        top_p=asked.top_p,
        seed=None if asked.seed is None else asked.seed + number,
        max_tokens=asked.max_tokens or DEFAULT_TOKENS,
        stop=[asked.stop] if isinstance(asked.stop, str) else asked.stop or (),
    )


class _Answer:
    """The texts that go on from the prompts."""

    def __init__(
        self, asked: CompletionRequest, turns: Sequence[Turn], echoes: Sequence[str]
    ) -> None:
        self._turns = turns
        self._each = asked.n or 1
        self._choices = [Choice(turn, held=False) for turn in turns]
        self._echoes = echoes
        self._usage_wanted = bool(asked.stream_options and asked.stream_options.include_usage)
        self._shared = {
            "id": f"cmpl-{turns[0].pid}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": asked.model,
        }

    async def whole(self) -> dict[str, Any]:
        """All of it at once."""
        await complete(self._turns, self._choices)
        choices = [
            _choice(index, echo + choice.text, choice.finish_reason)
            for index, (choice, echo) in enumerate(zip(self._choices, self._echoes, strict=True))
        ]
        return {**self._shared, "choices": choices, "usage": self._usage()}

    async def chunks(self) -> AsyncGenerator[str]:
        """All of it as server-sent events."""
        waiting = dict(enumerate(self._echoes))
        async with aclosing(merged(self._turns)) as events:
            async for index, event in events:
                if event is None:
                    yield KEEP_ALIVE
                elif text := self._choices[index].take(event):
                    yield self._chunk(_choice(index, waiting.pop(index, "") + text, None))
        for index, choice in enumerate(self._choices):
            yield self._chunk(_choice(index, waiting.pop(index, ""), choice.finish_reason))
        if self._usage_wanted:
            yield sse({**self._shared, "choices": [], "usage": self._usage()})
        yield DONE

    def _chunk(self, choice: dict[str, Any]) -> str:
        chunk: dict[str, Any] = {**self._shared, "choices": [choice]}
        if self._usage_wanted:
            chunk["usage"] = None
        return sse(chunk)

    def _usage(self) -> dict[str, int]:
        """Tokens; those of a prompt once, however many texts go on from it."""
        read = sum(turn.usage.input for turn in self._turns[:: self._each])
        written = sum(turn.usage.output for turn in self._turns)
        return {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
        }


def _choice(index: int, text: str, finish: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}


# ---- embeddings ----------------------------------------------------------------------------------


class EmbeddingRequest(Body):
    """The parameters that are honoured."""

    model: str
    input: str | Annotated[list[str], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] | None = None


async def embeddings(request: Request) -> Response:
    """Vectors of texts, each of length 1."""
    service = service_of(request)
    data = await read_json(request)
    refused: dict[str, tuple[Any, ...]] = {"dimensions": ()}
    asked = read_body(EmbeddingRequest, data, ignored=IGNORED, refused=refused)
    chosen = service.choose(asked.model)
    model = service.kernel.model(chosen.name)
    embed: Embed | None = getattr(model, "embed", None)
    if embed is None:
        message = f"{asked.model} gives no embeddings; local models do."
        raise ApiError(400, message, code="unsupported_model", param="model")
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    if "" in texts:
        raise ApiError(400, "a text must not be empty.", param="input")
    async with service.place(chosen.name):
        vectors = await unless_gone(request, _awaited(embed(texts)))
    encode = _base64 if asked.encoding_format == "base64" else list
    read = sum(model.count(text) for text in texts)
    return Json(
        {
            "object": "list",
            "model": asked.model,
            "data": [
                {"object": "embedding", "index": index, "embedding": encode(vector)}
                for index, vector in enumerate(vectors)
            ],
            "usage": {"prompt_tokens": read, "total_tokens": read},
        }
    )


async def _awaited(work: Awaitable[list[list[float]]]) -> list[list[float]]:
    return await work


def _base64(vector: Sequence[float]) -> str:
    """Little-endian 32-bit floats, as official clients ask for."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
